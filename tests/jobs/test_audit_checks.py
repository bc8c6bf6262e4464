"""Every check on made-up scans: it finds what is there, with its number, and nothing where it is not."""

import re
from dataclasses import fields, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from medinr.jobs.audit import audit, audit_volume, verdict
from medinr.jobs.audit.catalogue import CATALOGUE, found
from medinr.jobs.audit.finding import SEVERITIES, is_usable
from medinr.jobs.audit.grey_levels import BLOCK_RATIO, block_ratio
from medinr.jobs.audit.sample import ScanSample, sample_scan, sample_volume
from medinr.volume import Provenance, ScanFacts, Volume

#: Of tests/docs: the page that explains the findings.
PAGE = Path(__file__).parents[2] / "docs" / "inspect.md"


def head(shape=(12, 96, 96), seed=0, noise=6.0):
    """A head of smooth texture in noisy air, magnitudes: brain, dark skull, scalp; (z, y, x) runs to S, A, R."""
    random = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    radius = np.sqrt((x / 0.75) ** 2 + (y / 0.85) ** 2 + (0.4 * z) ** 2)
    tissue = np.where(radius < 0.8, 400.0, np.where(radius < 0.87, 60.0, np.where(radius < 1.0, 700.0, 0.0)))
    tissue = tissue * (1 + 0.3 * gaussian_filter(random.normal(size=shape), 1.0))
    return np.hypot(
        gaussian_filter(tissue, (0, 1, 1)) + noise * random.normal(size=shape), noise * random.normal(size=shape)
    )


def scan(array, modality="MR", spacing=(0.9, 0.9, 1.1), affine=None, unit=None, **facts):
    affine = np.diag([*spacing, 1.0]) if affine is None else affine
    unit = unit or ("HU" if modality == "CT" else "a.u.")
    array = array if np.iscomplexobj(array) else np.asarray(array, np.float32)
    return Volume(array, affine, modality, unit, Provenance(facts=ScanFacts(**facts)))


def findings(volume):
    return {finding.code: finding for finding in audit_volume(volume)}


def mr(**facts):
    return scan(np.rint(head()), **facts)


def ct(**facts):
    random = np.random.default_rng(1)
    body = gaussian_filter(head(noise=0) > 30, (0, 0.7, 0.7), output=float)
    return scan(np.rint(-1000 + 1050 * body + 20 * random.normal(size=body.shape)), "CT", **facts)


def test_a_plain_scan_has_no_caution():
    assert set(findings(mr())) == {"magnitude-only"}
    assert verdict(audit_volume(mr())) == "usable"
    assert not findings(ct())
    assert verdict(()) == "usable"


def test_severity_decides_the_verdict():
    cautions = [found("lossy", "ratio 8"), found("oblique", "by 3 degrees"), found("zero-filled", "60 %")]
    assert verdict(cautions) == "usable with cautions: lossy, zero filled"
    assert verdict([*cautions, found("not-a-scan", "a picture")]) == "not usable: a picture"
    assert is_usable(cautions)
    assert not is_usable([found("not-a-scan", "a picture")])
    assert found("gaps", "wide", "caution").severity == "caution"
    assert set(found("gaps", "wide").facts()) == {"code", "severity", "words", "meaning"}
    ordered = [f.severity for f in audit_volume(scan(np.rint(head()), component="phase", lossy="ratio 8"))]
    assert ordered == sorted(ordered, key=lambda severity: -SEVERITIES.index(severity))


def test_every_finding_is_explained_in_the_guide():
    text = PAGE.read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (\w+)", text, flags=re.MULTILINE))
    assert rows == {code: severity for code, (severity, _) in CATALOGUE.items()}


# Geometry


def test_oblique_sheared_thick_slices():
    angle = np.radians(20)
    oblique = np.eye(4)
    oblique[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert findings(scan(np.rint(head()), affine=oblique))["oblique"].words == "slices are oblique by 20 degrees"
    sheared = np.eye(4)
    sheared[0, 2] = np.tan(np.radians(5))
    assert "5.0 degrees off a right angle" in findings(scan(np.rint(head()), affine=sheared))["sheared"].words
    assert "thick-slices" in findings(scan(np.rint(head()), spacing=(0.9, 0.9, 4)))
    assert "thick-slices" not in findings(scan(np.rint(head()), spacing=(0.9, 0.9, 2)))


@pytest.mark.parametrize(
    ("thickness", "code", "severity"),
    [(3.0, None, None), (2.9, None, None), (2.5, "gaps", "note"), (1.5, "gaps", "caution"), (5.0, "overlap", "note")],
)
def test_gaps_and_overlap(thickness, code, severity):
    got = findings(scan(np.rint(head()), spacing=(0.9, 0.9, 3.0), thickness=thickness))
    assert {"gaps", "overlap"} & set(got) == ({code} if code else set())
    if code:
        assert got[code].words == f"slices are 3.00 mm apart and {thickness:.2f} mm thick"
        assert got[code].severity == severity


# Header


def test_what_the_header_says():
    got = findings(mr(lossy="JPEG, ratio 12", inverted=True, image_type=("DERIVED", "PRIMARY", "M")))
    assert got["lossy"].words.endswith("JPEG, ratio 12")
    assert {"inverted", "derived"} <= set(got)
    got = findings(mr(image_type=("DERIVED", "SECONDARY", "MPR")))
    assert "MPR" in got["resampled"].words
    assert "derived" not in got
    assert "signed" in findings(mr(component="real"))
    assert "magnitude-only" not in findings(mr(component="real"))
    assert findings(mr(component="phase"))["phase"].severity == "caution"


def test_phase_and_real_parts_are_told_from_magnitudes_by_their_values():
    random = np.random.default_rng(0)
    phase = np.rint(random.uniform(-4096, 4094, (8, 64, 64)))
    assert findings(scan(phase))["phase"].severity == "caution"
    assert "phase" in findings(scan(phase / 4096 * np.pi))
    real = head() * np.cos(np.linspace(0, 6, 96))
    assert "signed" in findings(scan(real))
    assert "magnitude-only" not in findings(scan(real))
    both = scan((head() * np.exp(1j * np.linspace(0, 6, 96))).astype(np.complex64))
    assert not {"magnitude-only", "signed", "phase", "negative-values"} & set(findings(both))
    assert "magnitude-only" not in findings(ct())


# Grid


def test_template_grids_and_rounded_cubes():
    brain = np.zeros((91, 109, 91), np.float32)
    brain[20:70, 20:90, 20:70] = 1 + np.random.default_rng(0).random((50, 70, 50))
    assert "MNI152, 2 mm" in findings(scan(brain, spacing=(2, 2, 2)))["resampled"].words
    assert "resampled" not in findings(scan(np.rint(head()), spacing=(1, 1, 1)))
    assert "cubes of 1 mm" in findings(scan(head(), spacing=(1, 1, 1)))["resampled"].words
    assert "resampled" not in findings(scan(head(), spacing=(0.94, 0.94, 1)))
    tilted = np.eye(4)
    tilted[:2, :2] = [[0.96, -0.28], [0.28, 0.96]]
    assert "resampled" not in findings(scan(head(), affine=tilted))


# Exact zeros


def test_background_set_to_zero_by_the_scanner():
    array = np.rint(head())
    weak = array < 18
    array[weak] = 0
    got = findings(scan(array))
    assert "background-zero" in got
    assert not {"skull-stripped", "defaced", "masked"} & set(got)
    assert "background-zero" not in findings(mr())


def test_skull_stripped():
    array = np.rint(head())
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in array.shape), indexing="ij")
    array[(x / 0.75) ** 2 + (y / 0.85) ** 2 + (1.1 * z) ** 2 > 0.75**2] = 0
    got = findings(scan(array))
    assert got["skull-stripped"].severity == "caution"
    assert not {"defaced", "masked", "background-zero"} & set(got)


@pytest.mark.parametrize("air", ["noisy", "zero"])
def test_defaced(air):
    array = np.rint(head((24, 96, 96)))
    if air == "zero":
        array[array < 18] = 0
    z, y, _ = np.meshgrid(*(np.linspace(-1, 1, size) for size in array.shape), indexing="ij")
    array[y - z > 0.9] = 0
    got = findings(scan(array))
    assert "lower front" in got["defaced"].words
    assert not {"skull-stripped", "masked"} & set(got)
    upside_down = scan(array[:, ::-1], affine=np.diag([0.9, -0.9, 1.1, 1.0]))
    assert "defaced" in findings(upside_down), "the place in the patient counts, not the order of the rows"


def test_another_part_set_to_zero():
    array = np.rint(head((24, 96, 96)))
    array[:, :40, :] = 0
    assert "masked" in findings(scan(array))


def test_padding_of_a_ct():
    volume = ct()
    np.maximum(volume.array, -1023, out=volume.array)
    volume.array[:, :, :10] = -1024
    assert findings(volume)["padding"].words.startswith("10 % of the pixels are at -1024 HU")
    assert "padding" not in findings(ct())


# Grey levels


def test_clipped_values():
    volume = mr()
    limit = np.percentile(volume.array, 99.5)
    assert "clipped" not in findings(volume)
    clipped = findings(scan(np.minimum(volume.array, np.rint(limit))))
    assert clipped["clipped"].severity == "caution"
    hot = ct()
    hot.array[5, 40:45, 40:46] = 3071
    assert findings(hot)["clipped"].words.startswith("30 pixels are at the largest value 3071")
    hot.array[5, 40:45, 40:46] = np.arange(2900, 2930).reshape(5, 6)
    assert "clipped" not in findings(hot)


def test_a_ct_cut_to_a_window():
    array = np.clip(ct().array, -160, 240)
    got = findings(scan(array, "CT"))
    assert "-160" in got["windowed"].words
    eight = np.rint((array + 160) / 400 * 255)
    eight[0, 0, 0], eight[0, 0, 1] = 0, 255
    got = findings(scan(eight, "CT", unit="a.u."))
    assert {"windowed", "eight-bits"} <= set(got)
    assert "windowed" not in findings(ct())


def test_eight_bits_and_few_grey_levels():
    array = np.rint(head() / head().max() * 255)
    array[0, 0, 0] = 0
    assert "eight-bits" in findings(scan(array))
    assert "eight-bits" not in findings(mr())
    got = findings(scan(np.rint(head() / 40)))
    assert re.fullmatch(r"\d+ grey levels", got["few-grey-levels"].words)
    assert "few-grey-levels" not in findings(mr())


def test_negative_magnitudes():
    volume = mr()
    assert "negative-values" not in findings(volume)
    volume.array[:, ::20, ::20] = -5
    assert "down to -5" in findings(volume)["negative-values"].words


def test_blocks_of_jpeg():
    random = np.random.default_rng(3)
    texture = gaussian_filter(random.normal(size=(160, 160)), 1.5)
    picture = np.clip(128 + 400 * texture, 0, 255).astype(np.uint8)
    ratios = {}
    for quality in (10, 20, 95):
        file = BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        ratios[quality] = block_ratio(np.asarray(Image.open(file), dtype=np.float32)[None])
    assert ratios[10] > ratios[20] > BLOCK_RATIO > ratios[95]
    assert block_ratio(picture[None].astype(np.float32)) < 1.1
    assert all(block_ratio(head(seed=seed).astype(np.float32)[4:8]) < 1.1 for seed in range(20))
    assert block_ratio(np.ones((1, 8, 8), np.float32)) == 1.0


# Slices


def test_slices_that_are_empty_repeated_or_hold_nan():
    volume = mr()
    volume.array[1, 2, 3] = np.nan
    volume.array[[0, 11]] = 0
    volume.array[6] = volume.array[5]
    got = findings(volume)
    assert got["non-finite"].words == "1 of 12 slices hold NaN or infinity (number 1)"
    assert got["empty-slices"].words == "2 of 12 slices are zero throughout (number 0 to 11)"
    assert got["duplicate-slices"].words == "1 of 12 slices equal the one before (number 6)"
    assert is_usable(tuple(got.values()))
    assert not {"non-finite", "empty-slices", "duplicate-slices"} & set(findings(mr()))


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan, np.inf])
def test_a_scan_of_nothing_is_not_usable(value):
    assert not is_usable(audit_volume(scan(np.full((3, 64, 64), value))))


# Sample


def test_a_sample_is_small_and_comes_from_single_slices():
    count, taken = 300, []

    def slices():
        random = np.random.default_rng(0)
        for number in range(count):
            taken.append(number)
            yield random.random((256, 256), dtype=np.float32)

    sample = sample_scan(slices(), (count, 256, 256), np.eye(4), "MR", "a.u.")
    assert taken == list(range(count))
    held = sum(getattr(sample, f.name).nbytes for f in fields(ScanSample) if hasattr(getattr(sample, f.name), "nbytes"))
    assert held < 0.3 * count * 256 * 256 * 4
    assert len(sample.planes) == len(sample.numbers) == 5
    assert sample.numbers == (30, 90, 150, 209, 269)
    assert len(audit(sample)) >= 1


def test_the_sample_of_a_single_slice():
    volume = mr()
    one = volume.select([5])
    sample = sample_volume(one)
    assert sample.numbers == (0,)
    assert np.array_equal(sample.planes[0], volume.array[5])
    assert "thick-slices" not in findings(replace(one, affine=np.diag([1.0, 1.0, 9.0, 1.0])))
