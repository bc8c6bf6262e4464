"""The comparison on raw k-space: no method uses the test samples; the true image predicts them to within the noise."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import raw
from medinr.config import load_task_config
from medinr.jobs.measure import open_measurement
from medinr.operators import Gaussian, birdcage_maps, point_mask, undersampled_fourier

SHAPE = (40, 36)
#: Low enough that the outer samples, which are predicted, are signal and not noise.
SIGMA = 0.001


def image():
    y, x = torch.meshgrid(torch.linspace(-1, 1, SHAPE[0]), torch.linspace(-1, 1, SHAPE[1]), indexing="ij")
    inside = (torch.hypot(x / 0.9, y) < 0.8).float() - 0.5 * (torch.hypot(x - 0.2, y / 0.6) < 0.3).float()
    return torch.polar(inside, 0.5 * y)


@pytest.fixture(scope="module")
def kspace(tmp_path_factory):
    full = undersampled_fourier(SHAPE, list(range(SHAPE[0])), birdcage_maps(SHAPE, 4))(image())
    data = Gaussian(SIGMA).sample(full, torch.Generator().manual_seed(0))
    path = tmp_path_factory.mktemp("raw") / "brain.npy"
    np.save(path, (data * point_mask(SHAPE, 2.5, 14).as_tensor()).numpy())
    path.with_name("brain.npy.yaml").write_text("kind: kspace\naxes: [coil, ky, kx]\nspacing_mm: [2, 2]\n")
    return path


@pytest.fixture(scope="module")
def scan(kspace):
    config = load_task_config("kspace")
    return raw._scan(open_measurement(kspace, config)[0])


def test_test_and_validation_samples_are_apart_and_outside_the_centre(scan):
    test, validation = raw._draw(scan, 0)
    assert not bool((test & validation).any())
    assert int(test.sum()) == pytest.approx(int(validation.sum()), abs=1)
    where = scan.points.nonzero()[test | validation] - torch.tensor(SHAPE) // 2
    assert int(where.abs().max(dim=1).values.min()) >= 7
    other, _ = raw._draw(scan, 1)
    assert not torch.equal(test, other)


def test_methods_do_not_see_what_they_predict(scan):
    test, _ = raw._draw(scan, 0)
    full, mask = scan.grid(~test)
    assert not bool(full[:, ~mask].any())
    assert int(mask.sum()) == int((~test).sum())
    assert scan.reduced(~test).data.shape[-1] == int((~test).sum())


def test_the_true_image_predicts_to_within_the_noise_and_nothing_predicts_nothing(scan):
    test, _ = raw._draw(scan, 0)
    noise = SIGMA * (2 * int(test.sum()) * len(scan.maps)) ** 0.5
    floor = noise / float(torch.linalg.vector_norm(scan.samples[:, test]))
    # The estimated maps have a phase of their own, so the image that goes with them is the least-squares one.
    best = raw.sense_cg(*scan.grid(torch.ones_like(test)), scan.maps, 1e-3, 200)
    assert scan.error(best, test) < 1.3 * floor
    assert scan.error(torch.zeros_like(best), test) == pytest.approx(1.0)


def test_the_table_and_the_file_say_the_same(benchmark, models, kspace, tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "tune_weight", lambda cases, solve, score, grid, **_: SimpleNamespace(weight=grid[-1]))
    out = tmp_path / "out"
    found = benchmark("raw", "--scan", kspace, "--model", models["MR"], "--seeds", 1, "--out", out, "--debug")
    assert found.code == 0
    facts = json.loads((out / "raw.json").read_text())
    assert set(facts["errors"]) == {"noise alone", "zero-filled", "SENSE-CG", "L1-wavelet", "TV", "medinr"}
    assert facts["errors"]["TV"][0] < facts["errors"]["zero-filled"][0]
    assert set(facts["weights"]) == {"SENSE-CG", "L1-wavelet", "TV"}
    for name, values in facts["errors"].items():
        assert f"{values[0]:.4f}" in found.out, name


def test_a_scan_is_needed(benchmark, tmp_path):
    found = benchmark("raw", "--out", tmp_path / "out")
    assert found.code == 2
    assert "--scan" in found.err
