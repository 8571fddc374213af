from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from avatarkit.cli import app
from avatarkit.commands import fitting
from avatarkit.files.avatar import read_header
from avatarkit.files.errors import UsageError
from avatarkit.files.track import Track
from avatarkit.files.track_io import save_track
from avatarkit.methods.nerfblendshape.config import Config
from tests.methods import synthetic

SMALL = (
    "--resolution=32",
    "--steps=12",
    "--rays=64",
    "--threads=1",
    "--quiet",
    "--samples=32",
    "--log2-size",
    "10",
)


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Track]:
    folder = tmp_path_factory.mktemp("fit")
    frames = folder / "frames of it"
    frames.mkdir()
    track = synthetic.make(frames, frames=12)
    save_track(track, folder / "me.track.npz")
    return folder / "me.track.npz", track


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["fit", *map(str, words)])


def test_a_fit_leaves_an_avatar_and_a_summary(
    person: tuple[Path, Track], fit: Callable, tmp_path: Path
) -> None:
    result = fit(person[0], "-o", "me.safetensors", "--preview", "look.png", *SMALL, "--json", "--seed=5")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout.splitlines()[-1])
    assert set(summary) >= {
        "method", "steps", "seconds", "ms_per_step", "samples_per_second", "train_psnr_head", "heldout_psnr_head",
        "heldout_psnr_frame", "perceptual", "peak_rss_mb", "output",
    }  # fmt: skip
    assert (
        summary["steps"] == 12
        and summary["method"] == "nerfblendshape"
        and summary["perceptual"] == "structure"
    )
    header = read_header(tmp_path / "me.safetensors")
    assert header["seed"] == 5 and header["config"]["log2_size"] == 10 and header["background"] == "plate"
    assert header["clip"]["sha256"] == person[1].meta["video"]["sha256"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["look.png", "me.safetensors"]


def test_resuming_needs_a_checkpoint(person: tuple[Path, Track], fit: Callable, tmp_path: Path) -> None:
    result = fit(person[0], "-o", "a.safetensors", "--resume", *SMALL)
    assert result.exit_code == 1
    assert "a.safetensors.checkpoint" in result.stderr and result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_help_lists_the_options_of_the_method(fit: Callable) -> None:
    result = fit("--method", "nerfblendshape", "--help")
    assert result.exit_code == 0
    for words in (
        "--resolution",
        "--checkpoint-every",
        "--basis-levels",
        "--mask-weight-later",
        "--preset paper",
    ):
        assert words in result.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--bogus", "1"], "--bogus"),
        (["--basis-levels"], "needs a value"),
        (["--basis-levels", "many"], "not a int"),
        (["--preset", "quick"], "choose one of"),
        (["--method", "magic"], "unknown method"),
        (["--rays", "2"], "--rays"),
    ],
)
def test_wrong_options_are_usage_errors(
    words: list[str], says: str, person: tuple[Path, Track], fit: Callable, tmp_path: Path
) -> None:
    result = fit(person[0], "-o", "a.safetensors", *words)
    assert result.exit_code == 2
    assert says in result.stderr and result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_track_without_a_face_is_exit_code_3(
    person: tuple[Path, Track], fit: Callable, tmp_path: Path
) -> None:
    track = person[1]
    save_track(replace(track, valid=track.valid & False), tmp_path / "none.track.npz")
    result = fit("none.track.npz", "-o", "a.safetensors", *SMALL)
    assert result.exit_code == 3
    assert not (tmp_path / "a.safetensors").exists()


def test_option_words_become_values() -> None:
    extra = ("--basis-levels", "7", "--outside=0.5", "--no-pose-bases", "--perceptual", "lpips")
    expected = {"basis_levels": 7, "outside": 0.5, "pose_bases": False, "perceptual": "lpips"}
    assert fitting.parse(extra, Config) == (None, expected)
    for at in (0, 2, 3, 6):  # the track may stand anywhere but between a name and its value
        assert fitting.parse((*extra[:at], "me.npz", *extra[at:]), Config) == (Path("me.npz"), expected)
    with pytest.raises(UsageError, match="unexpected argument 'stray'"):
        fitting.parse(("me.npz", "stray"), Config)
    with pytest.raises(UsageError):  # an option of the command is not one of the method
        fitting.parse(("--steps", "7"), Config)


def test_a_photo_is_fitted_as_it_is(fit: Callable, clip: Callable[[str], Path], tmp_path: Path) -> None:
    result = fit("--method", "photo", clip("photo02"), "-o", "me.safetensors", "--quiet", "--size", "128")
    assert result.exit_code == 0, result.output
    assert read_header(tmp_path / "me.safetensors")["method"] == "photo"


def test_options_that_the_method_does_not_have_are_refused_only_when_given(
    fit: Callable, clip: Callable[[str], Path], tmp_path: Path
) -> None:
    result = fit("--method", "photo", clip("photo02"), "-o", "me.safetensors", "--quiet", "--rays", "64")
    assert result.exit_code == 2 and "--rays" in result.stderr and not list(tmp_path.iterdir())


def test_what_is_neither_track_nor_picture_is_told_in_one_line(fit: Callable, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("nothing to see")
    result = fit("notes.mp4", "-o", "me.safetensors", *SMALL)
    assert result.exit_code in (1, 3) and result.stderr.count("\n") == 1
