"""Each method's field and losses against its equations, one sample at a time in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from avatarkit.data.clip import crop_camera
from avatarkit.data.labels import Label
from avatarkit.files.track import Track
from avatarkit.methods.concat.model import Concat
from avatarkit.methods.manerf.method import vertex_labels
from avatarkit.methods.manerf.model import DISPLACEMENT, MANeRF
from avatarkit.methods.nerface.model import NerFACE
from avatarkit.methods.neuralbody.model import DIRECTION_OCTAVES, NeuralBody
from avatarkit.methods.radiance.model import Moment, Seen, View
from avatarkit.methods.radiance.network import DENSITY_SCALE
from avatarkit.ops.encode import hash_encode
from avatarkit.ops.sh import spherical_harmonics
from avatarkit.rendering.fourier import fourier
from avatarkit.rendering.volume import Volume
from tests.methods.radiance import cases

POINTS = torch.tensor([[0.4, 0.5, 0.55], [0.52, 0.45, 0.6], [0.5, 0.6, 0.45]])
DIRECTIONS = F.normalize(torch.tensor([[0.1, 0.2, -1.0], [0.0, -0.3, -0.9], [0.3, 0.0, -1.0]]), dim=1)


def started(name: str, person: tuple[Track, Path], **options: Any) -> tuple[Any, Moment, Any]:
    """(model, the moment of a frame with an open mouth, its config) before training, weights shaken."""
    with cases.setting(*person) as place:
        trainer = place.trainer(name, **options)
        with torch.no_grad():
            for weight in trainer.model.parameters():
                weight.add_(0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
        return trainer.model, trainer.moment(6), trainer.config


def view_of(model: Any, moment: Moment) -> View:
    """A view of five made-up rays of four samples."""
    generator = torch.Generator().manual_seed(2)

    def volume() -> Volume:
        weights = torch.rand(5, 4, generator=generator) / 4
        return Volume(torch.rand(5, 3, generator=generator), weights.sum(1), weights.sum(1), weights)

    seen = Seen(volume(), volume(), 0, distortion=torch.rand(5, generator=generator))
    target, behind = (torch.rand(5, 3, generator=generator) for _ in range(2))
    return View(moment, seen, target, behind, torch.rand(5, generator=generator), 0.1, generator)


def squared_loss(view: View) -> float:
    """Eq. 10 of seed 000 by a loop, as a mean over rays."""
    total = 0.0
    for volume in (view.seen.coarse, view.seen.fine):
        assert volume is not None
        for r in range(5):
            for c in range(3):
                over = volume.color[r, c].item() + (1 - volume.alpha[r].item()) * view.behind[r, c].item()
                total += (over - view.target[r, c].item()) ** 2 / 5
    return total


def test_nerface_concatenates_expression_and_code(person: tuple[Track, Path]) -> None:
    model, moment, config = started("nerface", person, code_weight=0.5)
    assert isinstance(model, NerFACE) and moment.frame == 6
    code = model.begin(moment)
    assert torch.equal(code, torch.cat([moment.weights, model.codes.codes[6]]))
    density, rgb = model.field(model.networks[1], code)(POINTS, DIRECTIONS)
    found = model.networks[1](fourier(2 * POINTS - 1, 6), fourier(DIRECTIONS, 4), code)
    assert torch.equal(density, found[0]) and torch.equal(rgb, found[1])
    assert torch.equal(model.density(code, POINTS), density)
    # Frames that are no training frames have the mean code.
    unknown = model.begin(Moment(moment.expression, moment.weights))
    assert torch.allclose(unknown[len(moment.weights) :], model.codes.codes.mean(0))
    view = view_of(model, moment)
    size = model.codes.codes[6].detach().square().mean().item()
    assert model.loss(view, config).item() == pytest.approx(squared_loss(view) + 0.5 * size, rel=1e-5)


def test_concat_puts_the_expression_beside_the_query(person: tuple[Track, Path]) -> None:
    model, moment, config = started("concat", person)
    assert isinstance(model, Concat) and len(model.layers) == 7
    embedding = model.begin(moment)
    first, last = model.embed[0], model.embed[2]
    assert torch.allclose(
        embedding,
        last.weight @ (first.weight @ moment.weights + first.bias).clamp(min=0) + last.bias,
        atol=1e-6,
    )
    features = hash_encode(POINTS, model.table[None], torch.tensor([0, 3]), model.grid)
    density = model.density(embedding, POINTS)
    trunk = model.trunk(POINTS, embedding)
    for n in range(3):
        x = torch.cat([features[:, n].reshape(-1), embedding]).double()
        for i, layer in enumerate(model.layers):
            x = x if i == 0 else x.clamp(min=0)
            x = layer.weight.double() @ x + layer.bias.double()
        assert torch.allclose(trunk[n].double(), x, atol=1e-5)
        assert density[n].item() == pytest.approx(x[0].exp().item(), rel=1e-4)
    # In an opaque field a ray ends at once: its color is that of the first samples.
    with torch.no_grad():
        model.layers[-1].bias[0] += 12
        straight = torch.tensor([[0.0, 0.0, -1.0]])
        seen = model.render(embedding, torch.tensor([[0.5, 0.5, 2.0]]), straight)
        assert seen.fine.alpha.item() == pytest.approx(1, abs=1e-3)
        first = torch.tensor([[0.5, 0.5, 2.0 - seen.fine.depth.item()]])
        side = torch.cat([model.trunk(first, embedding)[0].clamp(min=0), spherical_harmonics(straight)[0]])
        color = torch.sigmoid(model.color.weight @ side + model.color.bias)
        assert torch.allclose(seen.fine.color[0], color, atol=0.02)
    view = view_of(model, moment)
    over = view.over(view.seen.fine)
    wanted = (over - view.target).abs().mean() + (view.seen.fine.alpha - view.matte).abs().mean()
    assert view.seen.distortion is not None
    wanted = wanted + 0.03 * view.seen.distortion.mean()
    assert model.loss(view, config).item() == pytest.approx(wanted.item(), rel=1e-6)


def test_neural_body_asks_the_diffused_codes(person: tuple[Track, Path]) -> None:
    model, moment, config = started("neuralbody", person)
    assert isinstance(model, NeuralBody)
    begun = model.begin(moment)
    places = model.vertices.neutral + model.vertices.moves(moment.expression)
    psi = model.diffusion(model.codes, places).at(POINTS)
    density, rgb = model.field(begun, POINTS, DIRECTIONS)
    assert torch.equal(model.density(begun, POINTS), density)
    part = {name: value.detach().double() for name, value in model.named_parameters()}
    for n in range(3):
        x = psi[n].detach().double()
        for i in range(3):
            x = (part[f"layers.{i}.weight"] @ x + part[f"layers.{i}.bias"]).clamp(min=0)
        raw = (part["opacity.weight"] @ x + part["opacity.bias"]).item()
        assert density[n].item() == pytest.approx(DENSITY_SCALE * np.log1p(np.exp(raw - 1)), rel=1e-4)
        whole = torch.cat(
            [
                part["geometry.weight"] @ x + part["geometry.bias"],
                fourier(DIRECTIONS[n : n + 1], DIRECTION_OCTAVES)[0],
                fourier(2 * POINTS[n : n + 1] - 1, model.own.position_octaves)[0],
                model.appearance.codes[6].detach(),
            ]
        )
        matrix = torch.cat([part["side.weight"], part["late.weight"]], 1)
        side = (matrix @ whole + part["side.bias"]).clamp(min=0)
        color = torch.sigmoid(part["color.weight"] @ side + part["color.bias"])
        assert torch.allclose(rgb[n].detach().double(), color, atol=1e-5)
    view = view_of(model, moment)
    view.seen.coarse = view.seen.fine
    assert model.loss(view, config).item() == pytest.approx(squared_loss(view) / 2, rel=1e-5)


def test_manerf_deforms_into_one_canonical_field(person: tuple[Track, Path]) -> None:
    model, moment, config = started("manerf", person)
    assert isinstance(model, MANeRF)
    begun = model.begin(moment)
    moves = model.vertices.moves(moment.expression)
    # Eq. 4 and 8: displacement, codes, labels and expression at the vertices as they are.
    labels = torch.zeros(len(moves), len(Label))
    labels[torch.arange(len(moves)), model.labels] = 1.0
    given = torch.cat([-moves / DISPLACEMENT, model.codes, labels, moment.weights.expand(len(moves), -1)], 1)
    features = model.diffusion(given, model.vertices.neutral + moves).at(POINTS)
    assert torch.allclose(begun.volume.at(POINTS), features, atol=1e-6)
    # Eq. 9 and 6.
    part = {name: value.detach().double() for name, value in model.deformation.named_parameters()}
    deep = model.own.deform_depth - 1
    canonical = model.canonical(begun, POINTS)
    for n in range(3):
        whole = torch.cat([fourier(2 * POINTS[n : n + 1] - 1, 6)[0], features[n].detach()]).double()
        x = part["first.weight"] @ whole + part["first.bias"] + part["drive.weight"] @ moment.weights.double()
        for i in range(deep):
            x = part[f"layers.{i}.weight"] @ x.clamp(min=0) + part[f"layers.{i}.bias"]
        shift = DISPLACEMENT * (part["last.weight"] @ x.clamp(min=0) + part["last.bias"])
        assert torch.allclose(canonical[n].detach().double(), POINTS[n].double() + shift, atol=1e-6)
    density, rgb = model.field(model.networks[1], begun)(POINTS, DIRECTIONS)
    code = model.appearance.codes[6]
    truth = model.networks[1](fourier(2 * canonical - 1, 6), fourier(DIRECTIONS, 4), None, code)
    assert torch.allclose(density, truth[0]) and torch.allclose(rgb, truth[1])
    assert torch.allclose(model.density(begun, POINTS), density)
    # Eq. 10 to 13.
    view = view_of(model, moment)
    state = view.generator.get_state()
    loss = model.loss(view, config).item()
    view.generator.set_state(state)
    edge = model.canonical_alpha(view.generator).detach().double()

    def penalty(values: torch.Tensor) -> float:
        return float(
            np.mean([-np.log(np.exp(-abs(w)) + np.exp(-abs(1 - w))) for w in values.reshape(-1).tolist()])
        )

    wanted = squared_loss(view) + 0.01 * penalty(view.seen.fine.weights) + 0.01 * penalty(edge)
    assert loss == pytest.approx(wanted, rel=1e-5) and ((edge >= 0) & (edge <= 1)).all()


def test_manerfs_ablations_take_out_what_they_say(person: tuple[Track, Path]) -> None:
    whole, moment, _ = started("manerf", person)
    inputs = whole.diffusion.levels[0][0].weights.shape[1]
    drivers = len(moment.weights)
    for option, fewer in (("semantic", len(Label)), ("expression_input", drivers)):
        model, same, _ = started("manerf", person, **{option: False})
        assert model.diffusion.levels[0][0].weights.shape[1] == inputs - fewer
        model.begin(same)
    model, moment, config = started("manerf", person, hard_edge=False)
    view = view_of(model, moment)
    assert model.loss(view, config).item() == pytest.approx(squared_loss(view), rel=1e-5)


def test_vertices_take_the_label_they_fall_on(person: tuple[Track, Path]) -> None:
    track, folder = person
    with cases.setting(track, folder) as place:
        trainer = place.trainer("manerf")
        model = trainer.model
        assert isinstance(model, MANeRF)
        labels = vertex_labels(place.clip, model.vertices, model.box, trainer.training)
        assert torch.equal(labels, model.labels)
        # The known person is skin on a background; nearly all of its vertices fall on it.
        assert (labels == Label.SKIN).float().mean() > 0.9 and set(labels.tolist()) <= {0, 1}
        assert place.clip.camera.width == crop_camera(track, 32).width


@pytest.mark.parametrize("name", list(cases.TINY))
def test_gradients_of_the_whole_step_are_those_of_differences(name: str, person: tuple[Track, Path]) -> None:
    """The loss falls along its own gradient by what the gradient says."""
    with cases.setting(*person) as place:
        trainer = place.trainer(name, sampling="paper")
        model = trainer.model
        batch = trainer.sampler.batch(3, patches=False)
        each = trainer.config.rays // trainer.config.batch
        origins, directions = (torch.from_numpy(part[:each]) for part in (batch.origins, batch.directions))
        target, matte = torch.from_numpy(batch.rgb[:each]), torch.from_numpy(batch.matte[:each])
        moment = trainer.moment(batch.positions[0])

        def loss() -> torch.Tensor:
            generator = torch.Generator().manual_seed(5)
            seen = model.render(model.begin(moment), origins, directions, generator, True)
            view = View(moment, seen, target, torch.zeros_like(target), matte, 0.1, generator)
            return model.loss(view, trainer.config)

        value = loss()
        weights = [w for w in model.parameters() if w.requires_grad]
        slopes = torch.autograd.grad(value, weights, allow_unused=True)
        length = sum(float(g.square().sum()) for g in slopes if g is not None) ** 0.5
        ends = []
        step = 2e-3 * value.item() / length
        for sign in (1, -2):
            with torch.no_grad():
                for w, g in zip(weights, slopes, strict=True):
                    if g is not None:
                        w.add_(g, alpha=sign * step / length)
            ends.append(loss().item())
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(length, rel=0.05)
