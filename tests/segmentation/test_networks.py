"""The optional networks, with random weights in files of their authors' format."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from avatarkit.files.errors import AvatarkitError
from avatarkit.segmentation.bisenet import CHECKPOINT as BISENET_FILE
from avatarkit.segmentation.bisenet import MEANING, PARTS, BiSeNet, BisenetParser
from avatarkit.segmentation.modnet import CHECKPOINT as MODNET_FILE
from avatarkit.segmentation.modnet import MODNet, ModnetMatter
from avatarkit.segmentation.parsing import CLASSES, CLOTH, EARS, HAIR, OTHER, SKIN, Sample
from avatarkit.segmentation.window import GRID

torch.set_num_threads(2)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints as the authors save them: MODNet from DataParallel, BiSeNet plain."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    modnet, bisenet = folder / "modnet.ckpt", folder / "bisenet.pth"
    torch.save(nn.DataParallel(MODNet()).state_dict(), modnet)
    torch.save(BiSeNet().state_dict(), bisenet)
    return {"modnet": modnet, "bisenet": bisenet}


def image(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((32, 32, 1), np.uint8))


def test_published_sizes() -> None:
    # MODNet: 6.5 million (paper, table 3). BiSeNet: the published file has 53,289,463 bytes.
    assert sum(p.numel() for p in MODNet().parameters()) == 6_487_075
    assert sum(p.numel() for p in BiSeNet().state_dict().values()) * 4 == pytest.approx(53_289_463, rel=2e-3)
    assert any(name == MODNET_FILE.mark for name in MODNet().state_dict())
    assert any(name == BISENET_FILE.mark for name in BiSeNet().state_dict())


def test_modnet_mattes_with_the_weights_of_the_file(files: dict[str, Path]) -> None:
    with ModnetMatter((files["modnet"],)) as matter:
        matte = matter(image())
    reference = MODNet().eval()
    state = torch.load(files["modnet"], weights_only=True)
    reference.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    x = torch.from_numpy(image().astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        expected = torch.nn.functional.interpolate(reference(x), (GRID, GRID), mode="area")[0, 0].numpy()
    assert matte.shape == (GRID, GRID) and matte.dtype == np.float32
    assert np.abs(matte - expected).max() < 1e-5
    assert matte.min() >= 0 and matte.max() <= 1


def test_bisenet_gives_probabilities_of_our_classes(files: dict[str, Path]) -> None:
    parser = BisenetParser((files["modnet"], files["bisenet"]))  # picks its own of several
    picture = image()
    sample = Sample(picture[::2, ::2], np.ones((GRID, GRID), np.float32), None, np.eye(2, 3), picture)  # type: ignore[arg-type]
    likely = parser.probabilities(sample)
    assert likely.shape == (GRID, GRID, 5)
    assert np.abs(likely[..., :CLASSES].sum(-1) - 1).max() < 1e-5 and likely.min() > 0
    assert (likely[..., EARS] <= likely[..., SKIN] + 1e-6).all()  # ears are a part of the skin
    x = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None] / 255
    x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    with torch.no_grad():
        parts = parser.network(x).softmax(1)[0]
    hair, cloth = parts[PARTS.index("hair")], parts[PARTS.index("cloth")]
    person = 1 - parts[0]
    got = likely[100:140, 100:140, HAIR].mean() / likely[100:140, 100:140, CLOTH].mean()
    want = (hair / person)[200:280, 200:280].mean() / (cloth / person)[200:280, 200:280].mean()
    assert got == pytest.approx(float(want), rel=0.05)
    assert [MEANING.get(part, SKIN) for part in ("nose", "hair", "glasses", "neck")] == [
        SKIN,
        HAIR,
        OTHER,
        SKIN,
    ]


def test_features_have_the_published_strides() -> None:
    with torch.no_grad():
        features = MODNet().eval().backbone(torch.zeros(1, 3, 64, 96))
        assert [tuple(f.shape[1:]) for f in features] == [
            (16, 32, 48), (24, 16, 24), (32, 8, 12), (96, 4, 6), (1280, 2, 3)
        ]  # fmt: skip
        eighth, context8, context16 = BiSeNet().eval().cp(torch.zeros(1, 3, 64, 96))
    assert [tuple(f.shape[1:]) for f in (eighth, context8, context16)] == [
        (128, 8, 12),
        (128, 8, 12),
        (128, 4, 6),
    ]


def test_files_that_do_not_fit_are_named(files: dict[str, Path], tmp_path: Path) -> None:
    text = tmp_path / "weights.pth"
    text.write_text("not weights")
    with pytest.raises(AvatarkitError, match="not a file of PyTorch weights"):
        ModnetMatter((text,))
    with pytest.raises(AvatarkitError, match="no such file"):
        ModnetMatter((tmp_path / "absent.ckpt",))
    with pytest.raises(AvatarkitError, match="not a checkpoint of MODNet"):
        ModnetMatter((files["bisenet"],))
    state = torch.load(files["bisenet"], weights_only=True)
    state["conv_out.conv_out.weight"] = torch.zeros(11, 256, 1, 1)
    other = tmp_path / "eleven.pth"
    torch.save(state, other)
    with pytest.raises(AvatarkitError, match=r"has shape \[11, 256, 1, 1\] instead of \[19, 256, 1, 1\]"):
        BisenetParser((other,))
    del state["conv_out.conv_out.weight"]
    torch.save({"state_dict": state}, other)
    with pytest.raises(AvatarkitError, match=r"'conv_out\.conv_out\.weight' is missing"):
        BisenetParser((other,))


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (open, ("trapped", "w"))


def test_a_checkpoint_never_runs_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, write in (
        ("torch.pth", torch.save),
        ("plain.pth", lambda o, p: p.write_bytes(pickle.dumps(o, 2))),
    ):
        path = tmp_path / name
        write({"f_branch": Trap()}, path)
        with pytest.raises(AvatarkitError, match="not a file of PyTorch weights"):
            ModnetMatter((path,))
    assert not (tmp_path / "trapped").exists()


def test_without_network_and_file_the_message_says_what_to_do() -> None:
    for make, checkpoint in ((ModnetMatter, MODNET_FILE), (BisenetParser, BISENET_FILE)):
        with pytest.raises(AvatarkitError) as caught:
            make()
        assert checkpoint.url in str(caught.value) and "\n" not in str(caught.value)
        assert len(checkpoint.sha256) == 64
