"""The benchmark of the out-of-distribution score, on the excerpts that ship."""

import json

import numpy as np
import pytest

from benchmarks import likeness, unusual_images


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(likeness, "EACH", 1)
    monkeypatch.setattr(likeness, "PER_SCAN", 1)


def test_every_kind_is_judged_and_written(benchmark, few, excerpts, tmp_path):
    other = next((excerpts / "brain_mr").glob("*T1W*.nii.gz"))
    found = benchmark("likeness", "--scans", other, "--out", tmp_path, "--debug")
    assert found.code == 0
    rows = json.loads((tmp_path / "likeness.json").read_text())["rows"]
    assert {"photographs", *unusual_images.CHANGES, "CT as MR", other.name} <= set(rows)
    assert sum("left out" in name for name in rows) >= 3
    assert rows["photographs"]["warned"] == rows["enlarged"]["warned"] == rows["CT as MR"]["warned"] == 1.0
    assert all(row["images"] > 0 and row["least"] <= row["median"] for row in rows.values())
    assert "photographs" in found.out


@pytest.mark.parametrize("name", unusual_images.CHANGES)
def test_changes_keep_images_finite_and_differ(name):
    y, x = np.indices((64, 60))
    image = (np.hypot(y - 32, x - 30) < 25).astype(np.float32)
    one = unusual_images.CHANGES[name](image, np.random.default_rng(0))
    assert np.isfinite(one).all()
    assert one.shape != image.shape or not np.allclose(one, image)


def test_photographs_are_grey_and_as_many_as_wanted():
    found = unusual_images.photographs(20)
    assert len(found) == 20
    assert all(image.ndim == 2 and max(image.shape) <= 512 for image in found)
