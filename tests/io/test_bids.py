"""JSON sidecars, names of files and values: what a scan is taken for, and why."""

import json
from dataclasses import asdict
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medinr.errors import UnitError
from medinr.io.images.bids import KEYS, facts_of, read_b_value, read_sidecar, stem_of
from medinr.io.images.intensities import are_signed, resemble_ct, resemble_phase
from medinr.io.images.modality import find_kind
from medinr.io.nifti import read_nifti, write_nifti
from medinr.io.scan import read_scan

SIDECAR = {
    "Modality": "MR",
    "MagneticFieldStrength": 3,
    "EchoTime": 0.03,
    "RepetitionTime": 2.5,
    "InversionTime": 0.9,
    "FlipAngle": 77,
    "SliceThickness": 3.5,
    "SliceTiming": [0, 1.25, 0.5],
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
    "BaseResolution": 64,
    "AcquisitionMatrixPE": 48,
    "InPlanePhaseEncodingDirectionDICOM": "COL",
    "PatientName": "Musterfrau^Erika",
    "InstitutionName": "General Hospital",
    "ConversionSoftware": "dcm2niix",
}


def _scan(path: Path, values=None, **fields) -> Path:
    values = np.ones((4, 3, 2), np.float32) if values is None else values
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    if fields:
        path.with_name(f"{stem_of(path)}.json").write_text(json.dumps(fields))
    return path


def _phase(shape=(40, 40, 6)) -> np.ndarray:
    """Stored as Siemens does: even whole numbers from -4096 to 4094."""
    return (np.random.default_rng(0).integers(-2048, 2048, shape) * 2).astype(np.int16)


def test_facts_come_from_the_sidecar_in_ms_and_without_identifiers(tmp_path):
    volume = read_nifti(_scan(tmp_path / "sub-01_bold.nii.gz", **SIDECAR))
    facts = volume.provenance.facts
    assert (facts.echo_time, facts.repetition_time, facts.inversion_time) == (30, 2500, 900)
    assert (facts.flip_angle, facts.field_strength, facts.thickness) == (77, 3, 3.5)
    assert facts.slice_times == (0, 1.25, 0.5)
    assert facts.image_type == ("ORIGINAL", "PRIMARY", "M", "ND")
    assert facts.acquired_matrix == (64, 48)
    assert (volume.modality, facts.component) == ("MR", "magnitude")
    assert not {"Musterfrau", "Hospital"} & set(repr(volume.provenance).replace("^", " ").split())
    assert not any("Name" in key or "ID" in key.split("_") for key in KEYS)


@pytest.mark.parametrize(
    ("fields", "modality", "component"),
    [
        ({"Modality": "CT"}, "CT", ""),
        ({"KVP": 120}, "CT", ""),
        ({"Modality": "PT"}, "OT", ""),
        ({"EchoTime": 0.01}, "MR", ""),
        ({"Modality": "MR", "ComplexImageComponent": "IMAGINARY"}, "MR", "imaginary"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND", "PHASE"]}, "MR", "phase"),
        ({"Units": "rad"}, "MR", "phase"),
    ],
)
def test_sidecar_goes_before_name_and_values(tmp_path, fields, modality, component):
    volume = read_nifti(_scan(tmp_path / "sub-01_part-real_T1w.nii", **fields))
    expected = component or ("real" if modality == "MR" else "")
    assert (volume.modality, volume.provenance.facts.component) == (modality, expected)
    assert any("because the JSON sidecar says so" in note for note in volume.provenance.notes)


@pytest.mark.parametrize(
    "content",
    [b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"EchoTime": 1e999}', b'{"EchoTime": ' + b"9" * 5000 + b"}"],
)
def test_damaged_sidecar_keeps_no_scan_from_being_read(tmp_path, content):
    path = _scan(tmp_path / "a.nii")
    (tmp_path / "a.json").write_bytes(content)
    volume = read_nifti(path)
    assert volume.provenance.facts.echo_time is None
    noted = any("JSON sidecar was not read" in note for note in volume.provenance.notes)
    assert noted == (content != b'{"EchoTime": 1e999}')


def test_odd_values_of_a_sidecar_are_left_out():
    odd = {
        "EchoTime": "30",
        "RepetitionTime": True,
        "FlipAngle": -5,
        "SliceTiming": [0, None],
        "ImageType": ["M", 5, "Musterfrau^Erika, born 1964"],
        "BaseResolution": [64],
        "AcquisitionMatrixPE": 10**400,
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": 12,
    }
    facts = facts_of(odd)
    assert facts.image_type == ("M",)
    assert facts.lossy == "lossy compression, 1:12"
    plain = asdict(facts) | {"image_type": (), "lossy": ""}
    assert plain == asdict(facts_of({}))


def test_long_sidecars_and_links_out_of_the_folder_are_refused_with_a_note(tmp_path):
    (tmp_path / "scans").mkdir()
    path = _scan(tmp_path / "scans" / "a.nii")
    sidecar = tmp_path / "scans" / "a.json"
    sidecar.write_text(json.dumps({"EchoTime": 1, "pad": "x" * 1_000_000}))
    assert read_sidecar(path) == ({}, ["a JSON sidecar was not read: it holds more than 1000000 bytes"])
    sidecar.unlink()
    (tmp_path / "secret.json").write_text('{"EchoTime": 1}')
    sidecar.symlink_to(tmp_path / "secret.json")
    assert read_sidecar(path) == ({}, ["a JSON sidecar was not read: it is a link out of the scan's folder"])


def test_sidecars_of_a_data_set_are_inherited(tmp_path):
    folder = tmp_path / "data" / "sub-01" / "func"
    folder.mkdir(parents=True)
    (tmp_path / "data" / "dataset_description.json").write_text("{}")
    (tmp_path / "data" / "task-rest_bold.json").write_text('{"EchoTime": 0.03, "FlipAngle": 70}')
    (tmp_path / "data" / "task-move_bold.json").write_text('{"EchoTime": 0.09}')
    (tmp_path / "task-rest_bold.json").write_text('{"MagneticFieldStrength": 7}')
    path = _scan(folder / "sub-01_task-rest_bold.nii.gz", FlipAngle=80)
    assert read_sidecar(path) == ({"EchoTime": 0.03, "FlipAngle": 80}, [])


def test_b_value_of_the_chosen_volume(tmp_path):
    path = _scan(tmp_path / "sub-01_dwi.nii.gz", np.ones((4, 3, 2, 3), np.float32))
    (tmp_path / "sub-01_dwi.bval").write_text("0 1000 nan\n")
    assert [read_b_value(path, index) for index in range(4)] == [0, 1000, None, None]
    assert read_nifti(path, index=1).provenance.facts.b_value == 1000


@pytest.mark.parametrize(
    ("name", "modality", "component"),
    [
        ("sub-01_part-phase_bold.nii.gz", "MR", "phase"),
        ("sub-01_part-mag_bold.nii.gz", "MR", "magnitude"),
        ("sub-01_part-imag_bold.nii.gz", "MR", "imaginary"),
        ("4_gre_field_mapping_e2_ph.nii.gz", "MR", "phase"),
        ("4_gre_field_mapping_e2_pha.nii.gz", "MR", "phase"),
        ("gre_real.nii", "MR", "real"),
        ("gre_imaginary.nii", "MR", "imaginary"),
        ("sub-01_phasediff.nii", "MR", "phase"),
        ("sub-01_magnitude1.nii", "MR", "magnitude"),
        ("SWI_Phase_Images.nii", "MR", "phase"),
        ("patient_T2w.nii", "MR", ""),
        ("sub-01_ct.nii.gz", "CT", ""),
        ("CT_chest_arterial_phase.nii", "CT", ""),
        ("sub-01_pet.nii", "OT", ""),
        ("ct_to_t1.nii", "MR", ""),
        ("phantom.nii", "MR", ""),
    ],
)
def test_names_tell_modality_and_component(tmp_path, name, modality, component):
    values = np.array([-500.0, -90, 0, 900], np.float32).reshape(1, 2, 2)
    kind = find_kind(values, Path(name))
    assert (kind.modality, kind.component) == (modality, component)
    assert kind.unit == ("HU" if modality == "CT" else "a.u.")


def test_phase_keeps_every_value_whatever_tells_it(tmp_path):
    values = _phase()
    for name, fields in (
        ("scan.nii", {}),
        ("sub-01_part-phase_bold.nii", {}),
        ("b.nii", {"Modality": "MR", "ImageType": ["ORIGINAL", "PRIMARY", "P"]}),
    ):
        volume = read_scan(_scan(tmp_path / name, values, **fields))
        assert (volume.modality, volume.unit, volume.provenance.facts.component) == ("MR", "a.u.", "phase")
        np.testing.assert_array_equal(volume.array, values.T)
        assert any("phase" in note for note in volume.provenance.notes)
    told = read_scan(tmp_path / "scan.nii", modality="MR")
    assert told.provenance.facts.component == "phase"
    radians = read_nifti(_scan(tmp_path / "c.nii", (values * np.pi / 4096).astype(np.float32)))
    assert (radians.modality, radians.provenance.facts.component) == ("MR", "phase")


def test_ct_is_known_by_its_peaks(tmp_path, synthetic):
    ct = synthetic.phantom((5, 60, 50), "CT").array
    assert resemble_ct(ct.ravel())
    padded = ct.copy()
    padded[:, :5] = -3024
    assert resemble_ct(padded.ravel())
    assert resemble_ct(ct.ravel() + np.float32(0.25))
    path = write_nifti(synthetic.phantom(modality="CT"), tmp_path / "arterial_phase.nii")
    assert read_nifti(path).unit == "HU"


def test_other_signed_values_are_not_taken_for_ct(tmp_path, synthetic):
    rng = np.random.default_rng(0)
    difference = np.rint(rng.laplace(0, 250, 20_000)).astype(np.float32)
    assert difference.min() < -900
    shifted = synthetic.phantom((5, 60, 50), "CT").array
    moved = shifted - np.roll(shifted, 6, axis=1)
    jacobian = rng.normal(1, 0.1, 20_000).astype(np.float32)
    for values in (difference, moved.ravel(), jacobian, _phase().ravel().astype(np.float32)):
        assert not resemble_ct(values)
    path = _scan(tmp_path / "a.nii", difference.reshape(100, 20, 10))
    volume = read_nifti(path)
    assert volume.modality == "MR"
    assert any("a signed map" in note for note in volume.provenance.notes)
    np.testing.assert_array_equal(volume.array.T.ravel(), difference)


def test_ranges_of_phase():
    rng = np.random.default_rng(0)
    uniform = rng.uniform(-1, 1, 5000).astype(np.float32)
    assert resemble_phase(uniform * np.float32(np.pi))
    assert resemble_phase(np.rint(uniform * 4095))
    assert resemble_phase(np.rint(uniform * 3141))
    assert not resemble_phase(np.rint(uniform * 3))
    assert not resemble_phase(uniform * 100)
    assert are_signed(uniform)
    assert not are_signed(np.abs(uniform))


def test_name_without_the_values_is_no_hounsfield_unit(tmp_path):
    volume = read_nifti(_scan(tmp_path / "head_ct.nii", np.full((4, 3, 2), 1064, np.int16)))
    assert (volume.modality, volume.unit) == ("CT", "a.u.")
    assert any("not evidently HU" in note for note in volume.provenance.notes)
    assert read_nifti(tmp_path / "head_ct.nii", modality="CT").unit == "HU"


def test_unknown_modality_is_refused(tmp_path):
    with pytest.raises(UnitError, match="'XA' is not one of"):
        read_nifti(_scan(tmp_path / "a.nii"), modality="XA")


@pytest.mark.parametrize(
    ("name", "other", "words"),
    [
        ("sub-01_part-mag_bold.nii.gz", "sub-01_part-phase_bold.nii.gz", "the phase of this scan lies beside it"),
        ("gre_ph.nii", "gre.nii", "the magnitude of this scan"),
        ("gre.nii", "gre_ph.nii", "the phase of this scan"),
        ("gre_real.nii", "gre_imaginary.nii", "the imaginary part of this scan"),
        ("sub-01_phase1.nii", "sub-01_magnitude1.nii", "the magnitude of this scan"),
    ],
)
def test_other_half_of_a_pair_is_noted(tmp_path, name, other, words):
    _scan(tmp_path / other)
    notes = read_nifti(_scan(tmp_path / name)).provenance.notes
    assert any(words in note for note in notes)
    assert not any(other in note for note in notes)
    (tmp_path / other).unlink()
    assert not any("lies beside it" in note for note in read_nifti(tmp_path / name).provenance.notes)


@pytest.mark.shared
def test_development_scans_are_taken_for_what_they_are(shared_data, tmp_path):
    mr = sorted(shared_data.glob("brain_mri/*/*.nii.gz")) + sorted(shared_data.glob("acquired/*/*.nii.gz"))
    assert mr
    assert {read_nifti(path, index=0).modality for path in mr} == {"MR"}
    for folder in sorted(shared_data.glob("ct_dicom/LIDC*")):
        ct = read_scan(folder)
        back = read_nifti(write_nifti(ct, tmp_path / f"{folder.name}.nii"))
        assert back.unit == "HU"
        np.testing.assert_array_equal(back.array, ct.array)
