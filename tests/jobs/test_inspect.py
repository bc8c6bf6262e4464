"""What `inspect` says of scans, folders and other files, in words and as values."""

import json
import tracemalloc

import numpy as np
import pytest
from medinr.pipelines.inspect import inspect
from safetensors.numpy import save_file

from medinr.errors import FileError, UnitError
from medinr.io.choice import ScanChoice
from medinr.io.measurement import write_measurement
from medinr.io.nifti import write_nifti
from medinr.volume import Volume


def secrets(synthetic):
    return (synthetic.PATIENT_NAME, "Musterfrau", synthetic.PATIENT_ID, synthetic.BIRTH_DATE)


def test_scan_in_words(synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path, synthetic.phantom(geometry=synthetic.affine(angles=(12, 0, 0))))
    found = inspect(tmp_path)
    text = found.text()
    for words in ("MR, from dicom", "20 x 24 pixels, 5 slices", "0.900 x 0.800 mm", "3.000 mm from", "oblique by 12"):
        assert words in text
    assert found.usable
    assert text.startswith("verdict     usable")
    for secret in secrets(synthetic):
        assert secret not in text + found.json()


def test_the_same_as_values(synthetic, tmp_path):
    volume = synthetic.phantom((5, 24, 20), "CT")
    files = synthetic.write_dicom_series(tmp_path / "Doe_John", volume, description="lung")
    facts = json.loads(inspect(tmp_path / "Doe_John").json())
    (scan,) = facts["scans"]
    assert (facts["kind"], facts["usable"], facts["chosen"]) == ("scans", True, None)
    assert scan["matrix"] == [20, 24, 5]
    np.testing.assert_allclose(scan["spacing_mm"], [0.9, 0.8, 3.0])
    np.testing.assert_allclose(scan["affine_ras_mm"], volume.affine, atol=1e-6)
    assert scan["intensity"]["low"] == pytest.approx(volume.array.min())
    assert scan["intensity"]["high"] == pytest.approx(volume.array.max())
    assert scan["intensity"]["percentile_50"] == pytest.approx(np.median(volume.array))
    assert (scan["modality"], scan["unit"], scan["plane"], scan["complete"]) == ("CT", "HU", "axial", True)
    assert (scan["description"], scan["kind"]) == ("lung", "volume")
    assert len(scan["sha256"]) == 64
    assert {"code", "severity", "words", "meaning"} == set(scan["findings"][0])
    assert scan["facts"]["thickness"] == 3.0
    text = json.dumps(facts)
    assert not any(file.name in text for file in files)
    assert "Doe" not in text


def test_a_dicom_series_is_described_as_the_volume_in_memory(synthetic, tmp_path):
    """Slices that come one at a time give the findings of the whole array."""
    from medinr.io.scan import read_scan
    from medinr.jobs.audit import audit_volume

    volume = synthetic.phantom((9, 160, 140), "CT")
    volume.array[4] = volume.array[3]
    synthetic.write_dicom_series(tmp_path, volume)
    (scan,) = inspect(tmp_path).scans
    read = read_scan(tmp_path)
    assert [f for f in scan.findings if f.code != "single-slice"] == list(audit_volume(read))
    assert "duplicate-slices" in {f.code for f in scan.findings}
    assert scan.sha256 == read.provenance.sha256
    assert scan.sample.low == read.array.min()


def test_a_series_is_never_held_whole(synthetic, tmp_path):
    volume = synthetic.phantom((80, 256, 256), "CT")
    synthetic.write_dicom_series(tmp_path, volume)
    tracemalloc.start()
    found = inspect(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.usable
    assert peak < 0.7 * volume.array.nbytes


def test_unusable_series_is_described_with_the_reason(synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path, synthetic.phantom())[2].unlink()
    found = inspect(tmp_path)
    assert not found.usable
    assert found.text().startswith("verdict     not usable: 1 slice(s) missing")
    assert "4 slices" in found.text()
    facts = found.facts()["scans"][0]
    assert facts["findings"][0]["code"] == "irregular"
    assert "IM00" not in json.dumps(facts)


def test_a_leaning_stack_can_be_resampled(synthetic, tmp_path):
    geometry = synthetic.affine()
    geometry[1, 2] = 3 * np.tan(np.radians(10))
    synthetic.write_dicom_series(tmp_path, synthetic.phantom(geometry=geometry))
    found = inspect(tmp_path)
    assert "usable with cautions: tilted" in found.text()
    assert "lean by 10.0 degrees" in found.text()
    assert "sheared" not in {finding.code for finding in found.scans[0].findings}


def test_several_series_are_listed_each_with_a_verdict(synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path / "a", synthetic.phantom(), description="a")
    synthetic.write_dicom_series(tmp_path / "b", synthetic.phantom(), description="b")
    synthetic.write_dicom_series(tmp_path / "c", synthetic.phantom(), description="c")[2].unlink()
    found = inspect(tmp_path)
    lines = found.text().splitlines()
    assert lines[0] == "3 series; choose one with --series N"
    place = next(number for number, line in enumerate(lines) if line.startswith("  2: MR, 'b'"))
    assert "5 slices" in lines[place]
    assert lines[place + 1].strip() == "usable"
    assert any("not usable: 1 slice(s) missing" in line for line in lines)
    assert found.usable
    assert [scan["usable"] for scan in found.facts()["scans"]] == [True, True, False]
    assert not found.facts()["scans"][0]["complete"]
    chosen = inspect(tmp_path, choice=ScanChoice(series=2))
    assert len(chosen.scans) == 1
    assert "matrix" in chosen.text()
    assert chosen.scans[0].complete
    with pytest.raises(FileError, match="series 9"):
        inspect(tmp_path, choice=ScanChoice(series=9))


def test_pixels_that_cannot_be_decoded_are_found_in_a_listing(synthetic, tmp_path):
    def shorter(dataset, number):
        if number == 2:
            dataset.PixelData = dataset.PixelData[:100]

    synthetic.write_dicom_series(tmp_path / "a", synthetic.phantom(), description="a")
    synthetic.write_dicom_series(tmp_path / "b", synthetic.phantom(), description="b", change=shorter)
    found = inspect(tmp_path)
    assert [scan.usable for scan in found.scans] == [True, False]
    assert "50 of 480 pixels" in found.scans[1].verdict
    assert not inspect(tmp_path, choice=ScanChoice(series=2)).usable


def test_the_only_volume_is_described_and_the_localiser_named(synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path / "a", synthetic.phantom((3, 24, 20)), description="3-plane localizer")
    synthetic.write_dicom_series(tmp_path / "b", synthetic.phantom(), description="T1")
    found = inspect(tmp_path)
    assert found.chosen == 2
    assert "without it, series 2 is taken, the only volume" in found.text()
    assert "usable with cautions: localiser" in found.text()
    assert "matrix      20 x 24 pixels, 5 slices" in found.text()
    assert [scan.complete for scan in found.scans] == [False, True]


def test_modality_of_a_file_and_of_a_series(synthetic, tmp_path):
    array = np.arange(3 * 24 * 20, dtype=np.float32).reshape(3, 24, 20)
    path = write_nifti(Volume(array, np.eye(4), "MR"), tmp_path / "a.nii.gz")
    assert "CT, from nifti" in inspect(path, choice=ScanChoice(modality="CT")).text()
    assert "MR, from nifti" in inspect(path, choice=ScanChoice(modality="MR")).text()
    synthetic.write_dicom_series(tmp_path / "dicom", synthetic.phantom())
    with pytest.raises(UnitError, match="CT was asked for"):
        inspect(tmp_path / "dicom", choice=ScanChoice(modality="CT"))


def test_nifti_with_holes(synthetic, tmp_path):
    volume = synthetic.phantom()
    volume.array[1, 2, 3] = np.nan
    volume.array[[0, 4]] = 0
    path = write_nifti(volume, tmp_path / "Musterfrau.nii.gz")
    found = inspect(path)
    assert "caution     1 of 5 slices hold NaN or infinity (number 1)" in found.text()
    assert "note        2 of 5 slices are zero throughout (number 0 to 4)" in found.text()
    assert "Musterfrau" not in found.json()


def test_values_that_are_not_finite_are_null_in_json(tmp_path):
    path = write_nifti(Volume(np.full((2, 8, 8), np.nan, np.float32), np.eye(4), "MR"), tmp_path / "a.nii.gz")
    found = inspect(path)
    assert not found.usable
    assert json.loads(found.json())["scans"][0]["intensity"]["low"] is None
    assert "no finite value" in found.text()


def test_safetensors_and_manifest(tmp_path, excerpts):
    path = tmp_path / "m.safetensors"
    save_file({"data": np.zeros((2, 3))}, path, metadata={"medinr": '{"task": "mri", "provenance": {"files": ["x"]}}'})
    text = inspect(path).text()
    assert "task        mri" in text
    assert "data 2 x 3" in text
    assert "files" not in text
    found = inspect(excerpts / "excerpts.csv")
    assert "12 of 12 are on this machine" in found.text()
    assert found.usable
    assert json.loads(found.json())["kind"] == "manifest"


def test_findings_of_a_scan_are_those_of_its_measurement(synthetic, tmp_path):
    from medinr.config import load_task_config
    from medinr.jobs.audit.carried import findings_of
    from medinr.jobs.measure import measure, open_measurement

    volume = synthetic.phantom()
    volume.array[4] = 0
    path = write_nifti(volume, tmp_path / "scan.nii.gz")
    config = load_task_config("denoise")
    measurement, _ = measure(path, config, ScanChoice(modality="MR"), slices=[1, 2])
    found = findings_of(measurement)
    assert found == [finding.facts() for finding in inspect(path, choice=ScanChoice(modality="MR")).scans[0].findings]
    assert "empty-slices" in {finding["code"] for finding in found}
    write_measurement(measurement, tmp_path / "m.safetensors")
    again, _ = open_measurement(tmp_path / "m.safetensors", config)
    assert findings_of(again) == found
    assert "note        1 of 5 slices are zero throughout (number 4)" in inspect(tmp_path / "m.safetensors").text()
