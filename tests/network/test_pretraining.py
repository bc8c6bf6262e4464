"""Pretraining of a trunk: its loss, its points, checkpoints, and what is refused."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from medinr import precision
from medinr.errors import CheckpointError, ConfigError, ShapeError
from medinr.network.coordinates import plane_coordinates
from medinr.network.pretraining import PretrainSettings, pretrain
from medinr.network.sweep import Sweep
from medinr.network.trunk import Trunk, TrunkSettings, random_head
from medinr.optimise import Optimiser, OptimiserSettings

TINY = TrunkSettings(width=16, depth=3, omega=10.0)
FAST = OptimiserSettings(muon_rate=0.01, adam_rate=0.01)
SETTINGS = PretrainSettings(steps=12, checkpoint_every=5, architecture=TINY)


class _StopError(Exception):
    pass


def _scans(count: int = 3, shape: tuple[int, int] = (12, 14)) -> tuple[Tensor, Tensor]:
    points = plane_coordinates(shape, (1.0, 1.0), 8.0)
    y, x = points.T
    images = [torch.exp(-3 * ((y - 0.2 * i) ** 2 + (x + 0.1 * i) ** 2)).reshape(shape) for i in range(count)]
    return torch.stack(images), points


def _stop_at(step: int | None):
    def progress(done: int, _psnr: tuple[float, ...]) -> None:
        if done == step:
            raise _StopError

    return progress


def _steps_on(monkeypatch, images: Tensor, points: Tensor, settings: PretrainSettings) -> list[Tensor]:
    """Numbers of the points of every step of a training."""
    drawn: list[Tensor] = []
    run = Sweep.run

    def watch(self, inputs, values, **wishes):
        (numbers,) = (torch.cdist(inputs, points) < 1e-6).nonzero(as_tuple=True)[1:]
        assert torch.equal(values, images.reshape(len(images), -1).T[numbers])
        drawn.append(numbers)
        return run(self, inputs, values, **wishes)

    with monkeypatch.context() as patch:
        patch.setattr(Sweep, "run", watch)
        pretrain(images, points, settings)
    return drawn


@pytest.mark.parametrize("batch", [2150, 10_000], ids=["all", "more_than_there_are"])
def test_one_step_is_a_step_on_the_joint_loss(monkeypatch, batch):
    images, points = _scans(shape=(50, 43))
    gradients: list[Tensor] = []

    def record(self: Optimiser, factor: float) -> None:
        assert factor == 1.0
        gradients.extend(p.grad.clone() for p in parameters)

    parameters: list[nn.Parameter] = []
    build = Optimiser.__init__

    def watch(self, settings, matrices, others) -> None:
        parameters.extend([*matrices, *others])
        build(self, settings, matrices, others)

    monkeypatch.setattr(Optimiser, "__init__", watch)
    monkeypatch.setattr(Optimiser, "step", record)
    pretrain(images, points, PretrainSettings(steps=1, batch=batch, seed=4, architecture=TINY))

    generator = torch.Generator().manual_seed(4)
    trunk = Trunk(TINY, generator)
    head = random_head(16, 3, 10.0, generator).requires_grad_()
    loss = (trunk.render(points, head) - images.reshape(3, -1).T).square().mean()
    leaves = [*trunk.hidden_matrices(), trunk.weights[0], *trunk.biases, head]
    wanted = torch.autograd.grad(loss, leaves)
    assert len(gradients) == len(wanted) == 7
    for found, gradient in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-8)


def test_a_step_on_some_points_is_one_on_their_joint_loss(monkeypatch):
    images, points = _scans()
    (picked,) = _steps_on(monkeypatch, images, points, PretrainSettings(steps=1, batch=50, architecture=TINY))
    assert len(set(picked.tolist())) == 50
    chosen = images.reshape(3, -1)[:, picked].reshape(3, 50, 1)
    few, whole = (
        pretrain(x, r, PretrainSettings(steps=1, batch=50, architecture=TINY)).trunk
        for x, r in ((images, points), (chosen, points[picked]))
    )
    for one, other in zip(few.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("batch", "per_pass", "left_out"), [(42, 4, 0), (50, 3, 18), (168, 1, 0), (999, 1, 0)])
def test_every_point_is_used_once_per_pass(monkeypatch, batch, per_pass, left_out):
    images, points = _scans()
    settings = PretrainSettings(steps=3 * per_pass, batch=batch, architecture=TINY)
    drawn = _steps_on(monkeypatch, images, points, settings)
    assert {len(numbers) for numbers in drawn} == {min(batch, 168)}
    passes = [torch.cat(drawn[k * per_pass : (k + 1) * per_pass]).tolist() for k in range(3)]
    for numbers in passes:
        assert len(numbers) == len(set(numbers)) == 168 - left_out
    if left_out:
        # Not the same points every time.
        assert len(set().union(*passes)) > 168 - left_out
    if per_pass > 1:
        assert passes[0] != passes[1]
    again = _steps_on(monkeypatch, images, points, settings)
    other = _steps_on(monkeypatch, images, points, replace(settings, seed=1))
    assert all(torch.equal(a, b) for a, b in zip(drawn, again, strict=True))
    if per_pass > 1:
        assert not torch.equal(drawn[0], other[0])


def test_psnr_rises_and_is_that_of_the_returned_trunk():
    images, points = _scans()
    history: list[tuple[float, ...]] = []
    settings = PretrainSettings(steps=80, architecture=TINY, optimiser=OptimiserSettings(muon_rate=0.01))
    result = pretrain(images, points, settings, progress=lambda _, psnr: history.append(psnr))
    assert len(history) == 80
    assert all(last > first + 10 for first, last in zip(history[0], history[-1], strict=True))
    # No head can fit better than the least-squares one on the returned features.
    features = result.trunk.features(points).double()
    target = images.reshape(3, -1).T.double()
    best = features @ torch.linalg.lstsq(features, target).solution
    bound = 10 * torch.log10(target.amax(dim=0) ** 2 / (best - target).square().mean(dim=0))
    assert all(value <= limit + 1e-3 for value, limit in zip(result.psnr, bound.tolist(), strict=True))
    assert all(value > limit - 8 for value, limit in zip(result.psnr, bound.tolist(), strict=True))


def test_the_seed_determines_the_weights():
    images, points = _scans()
    runs = [pretrain(images, points, PretrainSettings(steps=3, seed=s, architecture=TINY)) for s in (1, 1, 2)]
    assert torch.equal(runs[0].trunk.weights[1], runs[1].trunk.weights[1])
    assert runs[0].psnr == runs[1].psnr
    assert not torch.equal(runs[0].trunk.weights[1], runs[2].trunk.weights[1])


@pytest.mark.parametrize("kind", ["muon", "adam"])
@pytest.mark.parametrize("interrupted_at", [7, 11])
@pytest.mark.parametrize("batch", [8192, 50])
@pytest.mark.parametrize("backbone", ["siren", "hash"])
def test_an_interrupted_training_ends_bit_for_bit_like_a_straight_one(tmp_path, kind, interrupted_at, batch, backbone):
    images, points = _scans()
    settings = replace(SETTINGS, batch=batch, optimiser=OptimiserSettings(kind=kind))
    settings = replace(settings, architecture=replace(TINY, backbone=backbone))
    straight = pretrain(images, points, settings)
    checkpoint = tmp_path / "deep" / "tiny.checkpoint"
    with pytest.raises(_StopError):
        pretrain(images, points, settings, checkpoint=checkpoint, progress=_stop_at(interrupted_at))
    steps: list[int] = []
    resumed = pretrain(images, points, settings, checkpoint=checkpoint, progress=lambda done, _: steps.append(done))
    first = interrupted_at // 5 * 5 + 1
    assert steps == list(range(first, 13))
    for name, value in straight.trunk.state_dict().items():
        assert torch.equal(value, resumed.trunk.state_dict()[name]), name
    assert resumed.psnr == straight.psnr


def test_a_finished_checkpoint_gives_the_result_without_a_step(tmp_path):
    images, points = _scans()
    checkpoint = tmp_path / "tiny.checkpoint"
    straight = pretrain(images, points, SETTINGS, checkpoint=checkpoint)
    again = pretrain(images, points, SETTINGS, checkpoint=checkpoint, progress=_stop_at(13))
    assert again.psnr == straight.psnr


def test_checkpoint_of_another_training_is_refused(tmp_path):
    images, points = _scans()
    checkpoint = tmp_path / "tiny.checkpoint"
    with pytest.raises(_StopError):
        pretrain(images, points, SETTINGS, checkpoint=checkpoint, fingerprint="one", progress=_stop_at(6))
    with pytest.raises(CheckpointError, match=r"other settings or other scans.*--overwrite"):
        pretrain(images, points, SETTINGS, checkpoint=checkpoint, fingerprint="two")


def test_damaged_checkpoint_is_refused(tmp_path):
    images, points = _scans()
    checkpoint = tmp_path / "tiny.checkpoint"
    with pytest.raises(_StopError):
        pretrain(images, points, SETTINGS, checkpoint=checkpoint, progress=_stop_at(6))
    checkpoint.write_bytes(checkpoint.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        pretrain(images, points, SETTINGS, checkpoint=checkpoint)


def test_points_and_images_must_fit():
    images, points = _scans()
    with pytest.raises(ShapeError, match=r"167 points were given for images of shape \(3, 12, 14\)"):
        pretrain(images, points[:-1], SETTINGS)
    with pytest.raises(ShapeError, match=r"\(n, y, x\)"):
        pretrain(images[0], points, SETTINGS)


def test_an_interrupted_training_is_as_exact_as_a_straight_one(tmp_path, monkeypatch):
    # The precision of products depends on the errors so far: that, too, must continue.
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: True)
    monkeypatch.setattr(precision, "EXACT_BELOW", 0.3)
    images, points = _scans()
    images = torch.zeros_like(images) + 0.5
    reduced: dict[str, list[bool]] = {}
    products = precision.Precision.products

    def watch(name):
        def watched(self, squared_error):
            context = products(self, squared_error)
            reduced.setdefault(name, []).append(self.reduced)
            return context

        return watched

    settings = PretrainSettings(steps=60, checkpoint_every=5, architecture=TINY, optimiser=FAST)
    monkeypatch.setattr(precision.Precision, "products", watch("straight"))
    straight = pretrain(images, points, settings)
    checkpoint = tmp_path / "tiny.checkpoint"
    for stop in (22, 47, None):
        monkeypatch.setattr(precision.Precision, "products", watch(f"until {stop}"))
        try:
            resumed = pretrain(images, points, settings, checkpoint=checkpoint, progress=_stop_at(stop))
        except _StopError:
            continue
    assert set(reduced["straight"]) == {True, False}
    pieces = reduced["until 22"][:20] + reduced["until 47"][:25] + reduced["until None"]
    assert pieces == reduced["straight"] == sorted(reduced["straight"], reverse=True)
    for one, other in zip(straight.trunk.parameters(), resumed.trunk.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({key: 0}, "must be 1 or more") for key in ("steps", "batch", "checkpoint_every")]
    + [({"precision": "half"}, "'half' is not one of auto, float32")],
)
def test_nonsense_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        PretrainSettings(**settings)
