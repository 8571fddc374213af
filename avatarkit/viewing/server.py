"""The viewer's web server: one page, and a picture for every request the page makes.

The page asks for the next picture when it has shown the last one, so slow machines drop frames instead of queuing
them. It listens on this machine only, and answers only requests that name it so (a page of another site cannot
reach it by a name of its own: DNS rebinding).
"""

from __future__ import annotations

import json
import time
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.files.errors import AvatarkitError
from avatarkit.viewing.session import Session, View

HOST = "127.0.0.1"
LARGEST_REQUEST = 1 << 16
QUALITY = 90
"""of the JPEG pictures in motion; a screenshot is a PNG."""


class Server(ThreadingHTTPServer):
    """Serves ``session`` on ``port`` (0: any free one) until ``shutdown``. Raises OSError when the port is taken."""

    daemon_threads = True

    def __init__(self, session: Session, port: int = 0) -> None:
        super().__init__((HOST, port), _Handler)
        self.session = session

    @cached_property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that was closed in the middle of an answer is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on standard error for every picture."""

    def do_GET(self) -> None:
        if not self._known():
            return
        path = self.path.partition("?")[0]
        if path == "/":
            page = files("avatarkit.viewing").joinpath("page.html").read_bytes()
            self._answer(page, "text/html; charset=utf-8")
        elif path == "/avatar":
            self._answer(json.dumps(self.server.session.description()).encode(), "application/json")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is only the page, /avatar and /image")

    def do_POST(self) -> None:
        if not self._known():
            return
        length = int(self.headers.get("Content-Length") or 0)
        if self.path not in ("/image", "/screenshot") or not 0 < length <= LARGEST_REQUEST:
            self.close_connection = True
            self._refuse(HTTPStatus.BAD_REQUEST, "POST a small JSON object to /image")
            return
        try:
            request = json.loads(self.rfile.read(length))
            if not isinstance(request, dict):
                raise AvatarkitError("a view is a JSON object")
            began = time.perf_counter()
            image = self.server.session.image(View.of(request, self.server.session.names))
            milliseconds = 1000 * (time.perf_counter() - began)
        except (ValueError, AvatarkitError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            return
        still = self.path == "/screenshot"
        data, kind = (_png(image), "image/png") if still else (_jpeg(image), "image/jpeg")
        self._answer(data, kind, {"X-Milliseconds": f"{milliseconds:.2f}"})

    def _known(self) -> bool:
        """Whether the request was made to this machine by its own name, and by no other site's page."""
        port = self.server.server_address[1]
        names = {f"{HOST}:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") in names and origin in (None, *(f"http://{name}" for name in names)):
            return True
        self.close_connection = True
        self._refuse(HTTPStatus.FORBIDDEN, "this viewer answers its own page only")
        return False

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._answer(why.encode(), "text/plain; charset=utf-8", status=status)

    def _answer(
        self,
        data: bytes,
        kind: str,
        extra: dict[str, str] | None = None,
        status: HTTPStatus = HTTPStatus.OK,
    ) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(data)), "Cache-Control": "no-store"}
        for name, value in {**headers, **(extra or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    return _encoded(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def _png(image: NDArray[np.uint8]) -> bytes:
    return _encoded(".png", image, [])


def _encoded(kind: str, image: NDArray[np.uint8], settings: list[int]) -> bytes:
    good, data = cv2.imencode(kind, np.ascontiguousarray(image[..., ::-1]), settings)
    assert good
    return bytes(data)
