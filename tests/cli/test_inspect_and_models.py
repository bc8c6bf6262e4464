import json

import nibabel as nib
import numpy as np

from medinr.io.nifti import write_nifti
from medinr.models.checkpoint import shipped_models
from medinr.volume import Volume


def test_a_scan_is_described_without_its_patient(medinr, synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path / "chest", synthetic.phantom((3, 24, 20), "CT"))
    found = medinr("inspect", tmp_path / "chest", "--debug")
    assert found.code == 0
    assert "CT, from dicom" in found.out
    assert "20 x 24 pixels, 3 slices" in found.out
    for secret in (synthetic.PATIENT_NAME, "Erika", synthetic.PATIENT_ID, synthetic.BIRTH_DATE):
        assert secret not in found.out + found.err


def test_words_in_brackets_are_words(medinr, synthetic, tmp_path):
    for number, name in enumerate(("lung [MPR] [/b]", "[red]soft[/red]")):
        volume = synthetic.phantom((3, 24, 20), "CT")
        synthetic.write_dicom_series(tmp_path / "chest" / str(number), volume, description=name)
    found = medinr("inspect", tmp_path / "chest", "--debug")
    assert found.code == 0
    assert "lung [MPR] [/b]" in found.out
    assert "[red]soft[/red]" in found.out


def test_lines_are_not_broken_for_a_narrow_screen(medinr, synthetic, tmp_path):
    folder = tmp_path / ("a_rather_long_name_" * 6)
    path = write_nifti(synthetic.phantom(), folder.parent / f"{folder.name}.nii.gz")
    command = ("simulate", path, "--task", "denoise", "--slices", "1", "--out", tmp_path / f"{folder.name}.safetensors")
    found = medinr(*command, "--debug")
    assert found.code == 0
    assert str(tmp_path / f"{folder.name}.safetensors") in found.out


def test_one_of_several_is_chosen_as_for_the_other_commands(medinr, synthetic, tmp_path):
    values = np.random.default_rng(0).random((20, 24, 4, 3), np.float32)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "many.nii.gz")
    refused = medinr("inspect", tmp_path / "many.nii.gz")
    assert refused.code == 2
    assert "--index 0 to 2" in refused.err
    assert medinr("inspect", tmp_path / "many.nii.gz", "--index", "1", "--debug").code == 0
    for number, size in enumerate((20, 16)):
        synthetic.write_dicom_series(tmp_path / "two" / str(number), synthetic.phantom((3, 24, size)))
    assert "choose one with --series N" in medinr("inspect", tmp_path / "two", "--debug").out
    found = medinr("inspect", tmp_path / "two", "--series", "2", "--debug").out
    assert ("20 x 24 pixels" in found) != ("16 x 24 pixels" in found)


def test_the_exit_code_is_2_when_nothing_can_be_used(medinr, synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path / "holes", synthetic.phantom(), description="holes")[2].unlink()
    found = medinr("inspect", tmp_path / "holes")
    assert found.code == 2
    assert found.out.startswith("verdict     not usable: 1 slice(s) missing")
    assert "IM00" not in found.out
    assert "between IM0004 and IM0000" in found.err
    synthetic.write_dicom_series(tmp_path / "more" / "a", synthetic.phantom(), description="a")[2].unlink()
    synthetic.write_dicom_series(tmp_path / "more" / "b", synthetic.phantom(), description="b")[2].unlink()
    found = medinr("inspect", tmp_path / "more")
    assert found.code == 2
    assert found.out.count("not usable: 1 slice(s) missing") == 2
    synthetic.write_dicom_series(tmp_path / "more" / "c", synthetic.phantom(), description="c")
    assert medinr("inspect", tmp_path / "more").code == 0
    assert medinr("inspect", tmp_path / "more", "--series", "1").code == 2
    nothing = write_nifti(Volume(np.zeros((3, 8, 8), np.float32), np.eye(4), "MR"), tmp_path / "nothing.nii.gz")
    assert medinr("inspect", nothing, "--json").code == 2


def test_json_for_programs(medinr, synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path / "Musterfrau", synthetic.phantom((3, 24, 20), "CT"), description="chest")
    found = medinr("inspect", tmp_path / "Musterfrau", "--json", "--debug")
    assert found.code == 0
    facts = json.loads(found.out)
    assert facts["format"] == "medinr-inspection-1"
    assert facts["scans"][0]["verdict"] == "usable"
    for secret in (synthetic.PATIENT_NAME, "Musterfrau", synthetic.PATIENT_ID, synthetic.BIRTH_DATE, "IM00"):
        assert secret not in found.out


def test_the_modality_of_a_file_can_be_told(medinr, synthetic, tmp_path):
    path = write_nifti(synthetic.phantom(), tmp_path / "a.nii.gz")
    assert "CT, from nifti" in medinr("inspect", path, "--modality", "CT", "--debug").out


def test_a_manifest_a_measurement_and_a_model(medinr, synthetic, manifests, tmp_path):
    found = medinr("inspect", manifests / "excerpts" / "excerpts.csv", "--debug")
    assert found.code == 0
    assert "manifest of 15 scans" in found.out
    assert "3 of 3 are on this machine" in found.out
    path = write_nifti(synthetic.phantom(), tmp_path / "head.nii.gz")
    assert medinr("simulate", path, "--task", "kspace", "--out", tmp_path / "m.safetensors", "--debug").code == 0
    found = medinr("inspect", tmp_path / "m.safetensors", "--debug")
    assert found.code == 0
    assert "kspace" in found.out
    for model in shipped_models().values():
        assert medinr("inspect", model, "--debug").code == 0


def test_shipped_models_are_listed_and_shown(medinr):
    found = medinr("models", "--debug")
    assert found.code == 0
    assert len(found.out.splitlines()) == len(shipped_models())
    for name in shipped_models():
        assert f"{name}: " in found.out
        card = json.loads(medinr("models", name, "--debug").out)
        assert card["name"] == name
        assert all(len(digest) == 64 for digest in card["scan_hashes"])


def test_a_model_is_shown_with_its_layers_and_how_deep_to_freeze_it(medinr):
    for name in shipped_models():
        facts = json.loads(medinr("models", name, "--debug").out)
        ranks = [layer["stable_rank"] for layer in facts["layers"]]
        assert len(ranks) == facts["architecture"]["depth"]
        assert all(layer["largest_singular_value"] > 0 for layer in facts["layers"])
        frozen = facts["freeze_up_to"]
        assert ranks[frozen["layer"] - 1] == max(ranks)
        assert "2605.08298" in frozen["because"]
