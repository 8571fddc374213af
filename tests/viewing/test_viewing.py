"""The viewer: what a request shows, what the server answers, and the page itself in a real browser."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from avatarkit.files.errors import UsageError
from avatarkit.files.track import Track
from avatarkit.heads import arkit
from avatarkit.methods.driving import neutral_drive
from avatarkit.methods.registry import Drive
from avatarkit.methods.stage import Stage
from avatarkit.viewing.server import Server
from avatarkit.viewing.session import Clip, Session, View, grouped
from tests.commands.picture_method import picture_avatar
from tests.commands.test_render import JawAvatar

CHROMIUM = Path("/usr/bin/chromium")
JAW = arkit.INDEX["jawOpen"]


@pytest.fixture
def stage(make_track: Callable[..., Track], moving_clip: Path) -> Stage:
    track = make_track(moving_clip)
    track.expression[:] = 0
    tensors, header = picture_avatar(track, np.zeros((32, 32, 3), np.uint8)).state()
    return Stage.of(JawAvatar(tensors["picture"], header), {})


@pytest.fixture
def session(stage: Stage) -> Session:
    rest = neutral_drive(stage.avatar.header)
    drives = []
    for value in np.linspace(0, 1, 5):
        expression = rest.expression.copy()
        expression[JAW] = value
        drives.append(Drive(rest.rotation, rest.translation, expression, rest.neck, rest.jaw, rest.eyes))
    return Session(stage, [Clip("yawn", 25.0, drives, stage)])


@pytest.fixture
def server(session: Session) -> Iterator[Server]:
    with Server(session) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_every_expression_is_in_one_region() -> None:
    groups = grouped([*arkit.NAMES, "earsWiggle"])
    members = [name for _, names in groups for name in names]
    assert sorted(members) == sorted([*arkit.NAMES, "earsWiggle"]) and groups[-1] == ("other", ["earsWiggle"])


def test_a_slider_adds_to_what_plays(session: Session) -> None:
    def brightness(**request: Any) -> float:
        image = session.image(View.of({"size": 64, **request}, session.names))
        assert image.shape == (64, 64, 3)
        return float(image[32, 32, 1]) / 255

    assert brightness() == pytest.approx(0, abs=0.01)
    assert brightness(expression={"jawOpen": 0.5}) == pytest.approx(0.5, abs=0.01)
    assert brightness(clip="yawn", frame=2) == pytest.approx(0.5, abs=0.01)
    assert brightness(clip="yawn", frame=5 + 1) == pytest.approx(0.25, abs=0.01)  # it loops
    assert brightness(clip="yawn", frame=3, expression={"jawOpen": 0.6}) == pytest.approx(1, abs=0.01)


def test_head_and_camera_turn_against_each_other(session: Session) -> None:
    def red(**request: Any) -> int:
        image = session.image(
            View.of({"size": 64, "expression": {"jawOpen": 0.4}, **request}, session.names)
        ).astype(int)
        return int(image[32, 32, 0] - image[32, 32, 1])

    assert red(yaw=20) == pytest.approx(255 * np.sin(np.radians(20)), abs=4)
    # a camera that goes round to the right of the picture sees the head turned to the picture's left
    assert red(orbitYaw=20) == pytest.approx(-min(255 * np.sin(np.radians(20)), 255 * 0.4), abs=4)
    assert red(orbitYaw=20, yaw=20) == pytest.approx(0, abs=4)


def test_whole_frame_and_zoom(session: Session) -> None:
    whole = session.image(View.of({"whole": True}, session.names))
    assert whole.shape == (64, 96, 3)
    near = session.image(View.of({"whole": True, "zoom": 2, "size": 96}, session.names))
    assert near.shape == (64, 96, 3)


@pytest.mark.parametrize(
    "request_", [{"yaw": "far"}, {"expression": {"smirk": 1}}, {"zoom": float("nan")}, {"expression": 3}]
)
def test_a_view_that_cannot_be_is_refused(request_: dict[str, Any], session: Session) -> None:
    with pytest.raises(UsageError):
        View.of(request_, session.names)


def test_numbers_are_kept_inside_their_limits(session: Session) -> None:
    view = View.of({"yaw": 999, "size": 99999, "expression": {"jawOpen": 7}}, session.names)
    assert view.turn[0] == 45 and view.size == 1024 and view.expression == {"jawOpen": 1.0}


def asked(server: Server, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url[:-1] + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_server_answers_its_page_and_nobody_else(server: Server) -> None:
    status, page = asked(server, "/")
    assert status == 200 and b"<title>avatarkit view" in page
    status, told = asked(server, "/avatar")
    described = json.loads(told)
    assert described["method"] == "picture" and described["clips"][0]["frames"] == 5
    status, data = asked(server, "/image", {"expression": {"jawOpen": 0.5}, "size": 64})
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert status == 200 and image.shape == (64, 64, 3) and abs(int(image[32, 32, 1]) - 128) < 4
    assert asked(server, "/screenshot", {})[1].startswith(b"\x89PNG")
    assert asked(server, "/etc/passwd")[0] == 404
    assert asked(server, "/image", {"yaw": []})[0] == 400
    assert asked(server, "/image", ["x"])[0] == 400
    assert asked(server, "/avatar", Host="evil.example")[0] == 403
    assert asked(server, "/avatar", Origin="http://evil.example")[0] == 403


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM} (Debian: apt install chromium)")
def test_the_page_in_a_browser(server: Server) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as tool:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = tool.chromium.launch(executable_path=str(CHROMIUM), args=options)
        page = browser.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)

        def middle() -> int:
            script = (
                "() => document.querySelector('canvas').getContext('2d').getImageData(256, 256, 1, 1).data[1]"
            )
            return int(page.evaluate(script))

        def drawn(more: int = 0) -> int:
            page.wait_for_function(f"+document.body.dataset.drawn > {more}")
            return int(page.evaluate("+document.body.dataset.drawn"))

        page.goto(server.url)
        count = drawn()
        assert middle() < 5
        page.focus("#slider-jawOpen")
        page.keyboard.press("End")  # as far as it goes
        count = drawn(count)
        assert middle() > 250
        page.click("#reset")
        count = drawn(count)
        assert middle() < 5
        page.select_option("#clip", "yawn")
        drawn(count + 3)
        assert "frames/s" in page.inner_text("#rate")
        page.click("#play")
        page.goto(server.url + "?jawOpen=0.5")
        drawn()
        assert abs(middle() - 128) < 4
        browser.close()
        assert not wrong
