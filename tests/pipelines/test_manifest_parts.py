"""What a manifest is built of: fingerprints of pictures, contrasts by words, splits of persons, rules for persons."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import zoom

from medinr.errors import ManifestError
from medinr.jobs.manifest.contrast import contrast_of
from medinr.jobs.manifest.fingerprints import SAME_PICTURE, Fingerprint, find_copies, fingerprint
from medinr.jobs.manifest.pseudonyms import Pseudonyms
from medinr.jobs.manifest.splits import Group, assign_splits, groups_of, parse_fractions
from medinr.volume import ScanFacts, Volume


def anatomy(seed: int, shape=(12, 96, 80), spacing=(0.9, 0.9, 3.0)) -> Volume:
    generator = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    body = (x / 0.8) ** 2 + (y / 0.9) ** 2 < 1
    array = np.where(body, 400.0, 0.0)
    for _ in range(14):
        at, size = generator.uniform(-0.6, 0.6, 3), generator.uniform(0.1, 0.4, 3)
        organ = sum(((axis - a) / s) ** 2 for axis, a, s in zip((x, y, z), at, size * (1, 1, 4), strict=True)) < 1
        array += np.where(organ & body, generator.uniform(-250, 400), 0)
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    return Volume(np.clip(array, 0, None).astype(np.float32), affine, "MR")


def distance(one: Volume, other: Volume) -> float:
    found = find_copies([fingerprint(one), fingerprint(other)])
    return found[0][2] if found else 1.0


def _resampled(volume: Volume, factor: float) -> Volume:
    array = zoom(volume.array, (1, 1 / factor, 1 / factor), order=1, grid_mode=True, mode="nearest")
    return replace(volume, array=array.astype(np.float32), affine=volume.affine @ np.diag([factor, factor, 1, 1]))


COPIES = {
    "scaled": lambda v: v.with_array(v.array * 0.01 + 3),
    "8 bits": lambda v: v.with_array(np.rint(v.array / v.array.max() * 255)),
    "inverse orientation": lambda v: replace(v, affine=v.affine @ np.diag([-1.0, 1, -1, 1])),
    "turned": lambda v: replace(v, array=np.ascontiguousarray(v.array.transpose(0, 2, 1)[:, ::-1])),
    "noisy": lambda v: v.with_array(
        np.abs(v.array + np.random.default_rng(1).normal(0, 20, v.shape)).astype(np.float32)
    ),
    "coarser": lambda v: _resampled(v, 1.5),
    "padded": lambda v: replace(v, array=np.pad(v.array, [(0, 0), (20, 5), (0, 30)])),
    "some slices": lambda v: v.select([3, 5, 7]),
    "one slice": lambda v: v.select([6]),
    "brighter": lambda v: v.with_array(v.array**0.8),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_recognised(name):
    scan = anatomy(0)
    assert distance(scan, COPIES[name](scan)) < SAME_PICTURE


def test_other_people_are_not():
    prints = [fingerprint(anatomy(seed)) for seed in range(12)]
    assert find_copies(prints) == []
    found = find_copies([*prints, fingerprint(COPIES["8 bits"](anatomy(5)))])
    assert [(one, other) for one, other, _ in found] == [(5, 12)]


def test_nearly_cubic_voxels_are_recognised_in_any_plane():
    scan = anatomy(2, (40, 48, 44), (1.5, 1.5, 1.5))
    array = np.ascontiguousarray(np.moveaxis(scan.array, 2, 0))
    sagittal = Volume(array, scan.affine[:, [1, 2, 0, 3]], "MR")
    assert (scan.plane, sagittal.plane) == ("axial", "sagittal")
    assert set(fingerprint(scan).planes) == {"axial", "coronal", "sagittal"}
    assert distance(scan, sagittal) == 0


def test_what_shows_nothing_is_like_nothing():
    empty = anatomy(0).with_array(np.zeros((12, 96, 80), np.float32))
    assert fingerprint(empty).planes == {}
    assert distance(empty, empty) == 1.0
    holes = anatomy(0)
    holes.array[:, 3, 3] = np.nan
    assert distance(holes, anatomy(0)) < 0.05
    waves = replace(holes, array=(anatomy(0).array * np.exp(0.3j)).astype(np.complex64))
    assert distance(waves, anatomy(0)) < 0.05
    assert fingerprint(anatomy(0, (1, 5, 4))).planes == {}


def test_a_fingerprint_survives_as_text():
    one = fingerprint(anatomy(4))
    again = Fingerprint.from_json(one.to_json())
    assert again.planes.keys() == one.planes.keys()
    assert np.array_equal(again.planes["axial"], one.planes["axial"])
    assert one.planes["axial"].shape == (12, 32)


@pytest.mark.parametrize(
    ("words", "contrast"),
    [
        ("t1_mprage_sag", "T1"),
        ("patient01_study1_T1W", "T1"),
        ("sub-01_ses-02_ce-gad_T1w", "T1c"),
        ("t1_se_tra +C", "T1c"),
        ("AX T2 FLAIR", "FLAIR"),
        ("t2_tirm_tra_dark-fluid", "FLAIR"),
        ("t2_tse_tra", "T2"),
        ("t2*_fl2d_tra", "T2*"),
        ("sub-01_T2starw", "T2*"),
        ("ep2d_diff_3scan_trace_p2", "DWI"),
        ("ep2d_diff_3scan_trace_p2_ADC", "ADC"),
        ("pd_tse_fs", "PD"),
        ("T10 to T12", ""),
        ("scan", ""),
    ],
)
def test_contrast_by_words(words, contrast):
    assert contrast_of(words, ScanFacts()) == contrast


def test_contrast_by_timing():
    def timing(echo, repetition, inversion=None, b_value=None):
        return contrast_of(
            "", ScanFacts(echo_time=echo, repetition_time=repetition, inversion_time=inversion, b_value=b_value)
        )

    assert timing(10, 500) == "T1"
    assert timing(100, 4000) == "T2"
    assert timing(15, 3000) == "PD"
    assert timing(120, 9000, 2500) == "FLAIR"
    assert timing(80, 6000, b_value=1000) == "DWI"
    assert timing(40, 800) == ""
    assert contrast_of("t1", ScanFacts(), agent=True) == "T1c"


def test_splits_have_the_sizes_asked_for_in_every_stratum():
    scans = [(f"s{number}", "CT" if number % 3 == 0 else "MR") for number in range(60)]
    groups = groups_of(scans, [])
    drawn = assign_splits(groups, parse_fractions("70,15,15"), seed=1)
    assert Counter(drawn.values()) == {"train": 42, "validation": 9, "test": 9}
    modality = dict(scans)
    for split, share in (("train", 14), ("validation", 3), ("test", 3)):
        assert abs(sum(modality[s] == "CT" for s, where in drawn.items() if where == split) - share) <= 1
    assert assign_splits(groups[::-1], parse_fractions("70,15,15"), seed=1) == drawn
    assert assign_splits(groups, parse_fractions("70,15,15"), seed=2) != drawn
    few = assign_splits(groups[:3], parse_fractions("80,10,10"))
    assert set(few.values()) == {"train", "validation", "test"}


def test_linked_persons_stay_together_and_the_old_ones_where_they_are():
    groups = groups_of([(f"s{n}", "MR") for n in range(20)], [("s1", "s2"), ("s2", "s9")])
    assert ("s1", "s2", "s9") in [group.subjects for group in groups]
    drawn = assign_splits(groups, parse_fractions("50,50"), keep={"s9": "test", "s3": "validation"})
    assert [drawn[one] for one in ("s1", "s2", "s9", "s3")] == ["test", "test", "test", "validation"]
    with pytest.raises(ManifestError, match="copies of the same scan"):
        assign_splits([Group(("a", "b"), "MR")], {"train": 1.0}, keep={"a": "train", "b": "test"})


@pytest.mark.parametrize(
    "text", ["", "a", "70,15", "0.5,0.6", "train=1,train=0", "train=1,best=0", "1,2,3,4,5", "-1,2", "nan,1"]
)
def test_fractions_that_are_none(text):
    with pytest.raises(ManifestError, match="split"):
        parse_fractions(text)


def test_fractions_as_people_write_them():
    assert parse_fractions("80,20") == {"train": 0.8, "test": 0.2}
    assert parse_fractions("train=0.7, devtest=0.3") == {"train": 0.7, "devtest": 0.3}
    assert parse_fractions("100") == {"train": 1.0}
    assert parse_fractions("70,0,30") == {"train": 0.7, "test": 0.3}


def test_pseudonyms_depend_on_the_salt_and_on_what_they_stand_for():
    one, other = Pseudonyms(b"one salt"), Pseudonyms(b"another salt")
    assert one.person("4711") == one.person("4711") != other.person("4711")
    assert one.person("4711")[0] == "s"
    assert len({one.session("a", "1"), one.session("b", "1"), one.session("a", "2"), one.session("a1", "")}) == 4
    assert "4711" not in one.person("4711")
