"""Synthetic follow-ups of made-up scans."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medinr.data import synthetic_follow_ups as follow_ups
from medinr.data.synthetic_follow_ups import make_follow_ups
from medinr.errors import IntensityError, ManifestError
from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow
from medinr.io.nifti import write_nifti
from medinr.priors.auxiliary_training import FollowUp
from medinr.volume import Volume


def manifest(folder: Path, *scans: tuple[str, str, Volume]) -> Manifest:
    """Scans as (session, contrast, volume) of one person."""
    rows = []
    for number, (session, contrast, volume) in enumerate(scans):
        path = write_nifti(volume, folder / f"scan{number}.nii.gz")
        rows.append(ManifestRow(path.name, hash_scan(path), "s1", session, "MR", contrast, "train", "CC0"))
    return Manifest(tuple(rows), folder)


@pytest.fixture
def head(synthetic) -> Volume:
    return synthetic.phantom((7, 48, 44), geometry=synthetic.affine((2.0, 2.0, 3.0)))


def brighter(volume: Volume) -> Volume:
    """Another contrast."""
    return volume.with_array(np.where(volume.array > 550, 200, 1.5 * volume.array).astype(np.float32))


def same(first: FollowUp, second: FollowUp) -> bool:
    return all(
        torch.equal(getattr(first, part), getattr(second, part)) for part in ("target", "auxiliary", "through_plane")
    )


@pytest.fixture
def unspoilt(monkeypatch):
    """Follow-ups without spots, noise, contrast and gain."""
    for name, value in {"SPOTS": 0, "NOISE": 0.0, "POWER": 0.0, "GAIN": 0.0}.items():
        monkeypatch.setattr(follow_ups, name, value)


def test_a_session_of_one_contrast_is_its_own_auxiliary_scan(head, tmp_path):
    found = make_follow_ups(manifest(tmp_path, ("a", "T1", head), ("b", "T1", head)), per_scan=2, variants=3)
    assert len(found) == 2 * 2 * 3
    for one in found:
        assert one.auxiliary.shape == one.through_plane.shape == (1, *one.target.shape)
        assert {part.dtype for part in (one.target, one.auxiliary, one.through_plane)} == {torch.float32}
        assert all(part.isfinite().all() for part in (one.target, one.auxiliary, one.through_plane))
        assert 0.9 < one.target.max() < 2
        assert 0 <= one.auxiliary.min() < 0.2 < 0.9 < one.auxiliary.max() < 4


def test_contrasts_of_a_session_are_auxiliary_scans_in_rotation(head, tmp_path):
    listed = manifest(tmp_path, ("a", "T1", head), ("a", "T2", brighter(head)), ("b", "T1", head))
    found = make_follow_ups(listed, per_scan=1, variants=3)
    assert [len(one.auxiliary) for one in found] == [1, 2, 1, 1, 2, 1, 1, 1, 1]
    only = make_follow_ups(listed, contrasts=("T1",), per_scan=1, variants=3)
    assert [len(one.auxiliary) for one in only] == [1] * 6


def test_they_are_cut_to_the_body_and_a_margin(head, tmp_path):
    (one,) = make_follow_ups(manifest(tmp_path, ("a", "T1", head)), per_scan=1, variants=1)
    middle = torch.from_numpy(head.array[3] / np.percentile(head.array[3], 99))
    rows, columns = torch.nonzero(middle > 0.3, as_tuple=True)
    assert int(rows.max() - rows.min()) < one.target.shape[0] <= 48
    assert int(columns.max() - columns.min()) < one.target.shape[1] <= 44
    assert one.target.sum() == pytest.approx(float(middle.sum()), rel=1e-4)


def test_the_same_seed_gives_the_same_follow_ups_whatever_stands_beside(head, tmp_path):
    listed = manifest(tmp_path, ("a", "T1", head), ("b", "T1", brighter(head)))
    first, again = (make_follow_ups(listed, per_scan=2, variants=2) for _ in range(2))
    assert all(same(one, other) for one, other in zip(first, again, strict=True))
    fewer = make_follow_ups(Manifest(listed.rows[1:], tmp_path), per_scan=2, variants=2)
    assert all(same(one, other) for one, other in zip(first[4:], fewer, strict=True))
    other = make_follow_ups(listed, per_scan=2, variants=2, seed=1)
    assert not any(same(one, two) for one, two in zip(first, other, strict=True))
    assert not same(first[0], first[1])


def test_it_says_how_many_sessions_are_done(head, tmp_path):
    told = []
    listed = manifest(tmp_path, ("a", "T1", head), ("b", "T1", brighter(head)))
    make_follow_ups(listed, per_scan=1, variants=1, progress=lambda *numbers: told.append(numbers))
    assert sorted(told) == [(1, 2), (2, 2)]  # by either thread first


@pytest.mark.usefixtures("unspoilt")
def test_displacements_have_the_size_that_is_said(monkeypatch, tmp_path):
    """A ramp along x tells by how many pixels each place was displaced, one along z by how many mm."""
    monkeypatch.setattr(follow_ups, "THICK_MM", np.inf)
    monkeypatch.setattr(follow_ups, "_brightness", lambda image: 1.0)
    z, _, x = np.meshgrid(*(np.arange(size, dtype=np.float32) for size in (25, 40, 40)), indexing="ij")
    pixels, millimetres = [], []
    for ramp, into in ((x, pixels), (z, millimetres)):
        volume = Volume(100 + ramp, np.diag([1.0, 1.0, 1.0, 1.0]), "MR")
        for one in make_follow_ups(manifest(tmp_path, ("a", "T1", volume)), per_scan=3, variants=12):
            into.append((one.auxiliary[0] - one.target)[4:-4, 4:-4])
            if ramp is z:
                torch.testing.assert_close(one.through_plane[0], torch.ones(40, 40), atol=0.05, rtol=0)
        (tmp_path / "scan0.nii.gz").unlink()
    for found, size in ((torch.stack(pixels), follow_ups.IN_PLANE), (torch.stack(millimetres), follow_ups.THROUGH)):
        strength = (sum(s * s for s in (0.3, 0.8, 1.3)) / 3) ** 0.5
        wanted = strength * (2 * size**2 + follow_ups.OWN**2) ** 0.5
        assert float(found.square().mean().sqrt()) == pytest.approx(wanted, rel=0.35)
        assert float(found.abs().max()) <= follow_ups.MAX_DISPLACEMENT + 0.02


@pytest.mark.usefixtures("unspoilt")
def test_another_contrast_is_registered_to_the_slice(head, synthetic, monkeypatch, tmp_path):
    """Scanned 6 mm to the side, it must come back to where the anatomy is."""
    for name in ("IN_PLANE", "THROUGH", "OWN", "SAME_VISIT"):
        monkeypatch.setattr(follow_ups, name, 0.0)
    moved = replace(brighter(head), affine=head.affine.copy())
    moved.affine[:2, 3] += 6.0, -4.0  # a scanner that begins to count elsewhere
    (_, _, one, *_) = make_follow_ups(manifest(tmp_path, ("a", "T1", head), ("a", "T2", moved)), per_scan=1, variants=3)
    body, seen = one.target > 0.3, one.auxiliary[0] > 0.2
    assert (body & seen).sum() > 0.93 * (body | seen).sum()


@pytest.mark.parametrize("others", [False, True])
def test_single_slices_have_no_slope_through_them_and_are_registered_to_nothing(head, tmp_path, others, monkeypatch):
    monkeypatch.setattr(follow_ups, "NOISE", 0.0)
    monkeypatch.setattr(follow_ups, "THROUGH", 0.0)
    monkeypatch.setattr(follow_ups, "OWN", 0.0)
    single = head.select([3])
    scans = [("a", "T1", single), ("a", "T2", brighter(single))]
    found = make_follow_ups(manifest(tmp_path, *scans[: 1 + others]), per_scan=5, variants=3)
    assert [len(one.auxiliary) for one in found] == [1] * 3 * (1 + others)
    for one in found:
        assert one.through_plane.abs().max() < 1e-3


def test_scans_that_do_not_overlap_are_left_alone(head, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise follow_ups.GeometryError("no overlap")

    monkeypatch.setattr(follow_ups, "register_rigid", refuse)
    listed = manifest(tmp_path, ("a", "T1", head), ("a", "T2", brighter(head)))
    assert [len(one.auxiliary) for one in make_follow_ups(listed, per_scan=1, variants=3)] == [1] * 6


def test_what_no_follow_up_can_be_made_of(head, tmp_path):
    with pytest.raises(ManifestError, match="No row of the manifest is train MR"):
        make_follow_ups(Manifest((), tmp_path))
    with pytest.raises(IntensityError, match="every voxel is zero"):
        make_follow_ups(manifest(tmp_path, ("a", "T1", head.with_array(0 * head.array))))


def test_of_many_scans_fewer_slices_are_taken(head, tmp_path):
    three = manifest(tmp_path, *((session, "T1", head) for session in ("a", "b", "c")))
    assert len(make_follow_ups(three, per_scan=5, variants=1, limit=7)) == 3 * 2
    assert len(make_follow_ups(three, per_scan=5, variants=1, limit=1)) == 3
