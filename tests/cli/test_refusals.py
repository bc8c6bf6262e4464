"""Bad input: exit code 2, one or two lines that name the file and the remedy, nothing left behind."""

import nibabel as nib
import numpy as np
import pytest

from medinr.io.nifti import write_nifti
from medinr.jobs.simulated import SIMULATED


@pytest.fixture
def scan(synthetic, tmp_path):
    return write_nifti(synthetic.phantom((4, 24, 20)), tmp_path / "head.nii.gz")


@pytest.fixture
def refused(medinr, synthetic, tmp_path):
    """Runs `medinr reconstruct-simulated` with a random model and gives the message of its refusal."""

    def run(source, *more, task="denoise", model="random") -> str:
        out = tmp_path / "out"
        found = medinr("reconstruct-simulated", source, "--task", task, "--model", model, "--out", out, *more)
        assert found.code == 2
        assert found.out.strip() in ("", SIMULATED)
        assert found.err.startswith("medinr: ")
        assert len(found.err.splitlines()) <= 2
        assert "Traceback" not in found.err
        assert synthetic.PATIENT_ID not in found.err
        assert not (out / "result.json").exists()
        return found.err

    return run


def test_nothing_there(refused, tmp_path):
    assert "no such file or folder" in refused(tmp_path / "nothing.nii.gz")
    assert "nothing.safetensors" in refused(tmp_path / "nothing.safetensors")


def test_images_are_no_raw_data(medinr, synthetic, scan, tmp_path):
    series = tmp_path / "t2 tra"
    synthetic.write_dicom_series(series, synthetic.phantom((3, 24, 20)))
    config = tmp_path / "my.yaml"
    config.write_text("task: superres\n")
    for source, name, more in (
        (scan, "head.nii.gz", ("--index", "2", "--modality", "MR")),
        (series, "'t2 tra'", ("--series", "1", "--straighten", "--deidentify")),
    ):
        for task in ("denoise", "kspace", config):
            out = tmp_path / "out"
            found = medinr("reconstruct", source, "--task", task, "--model", "random", "--out", out, *more)
            assert found.code == 2
            assert found.out == ""
            assert f"medinr: {source.name} holds images; `medinr reconstruct` takes raw data" in found.err
            assert f"`medinr denoise {name}`" in found.err
            assert f"`medinr superres {name} --spacing 1`" in found.err
            assert f"`medinr reconstruct-simulated {name} --task {task}`" in found.err
            assert len(found.err.splitlines()) == 1
            assert not out.exists()


def test_what_is_neither_an_image_nor_raw_data(medinr, tmp_path):
    (tmp_path / "scan.nii.gz").write_text("this is no scan")
    (tmp_path / "empty").mkdir()
    for name, words in (("scan.nii.gz", "not a NIfTI file"), ("empty", "empty"), ("none.nii", "no such file")):
        found = medinr("reconstruct", tmp_path / name, "--out", tmp_path / "out")
        assert found.code == 2
        assert words in found.err
        assert "reconstruct-simulated" not in found.err


@pytest.mark.parametrize("command", ["reconstruct-simulated", "simulate"])
def test_nothing_is_simulated_of_a_measurement(medinr, scan, tmp_path, command):
    measured = tmp_path / "m.safetensors"
    assert medinr("simulate", scan, "--task", "denoise", "--slices", "1", "--out", measured).code == 0
    np.save(tmp_path / "raw.npy", np.ones((4, 4), np.complex64))
    for source in (measured, tmp_path / "raw.npy"):
        found = medinr(command, source, "--task", "denoise", "--out", tmp_path / "out")
        assert found.code == 2
        assert f"nothing is simulated of it. `medinr reconstruct {source.name} --task denoise`" in found.err
        assert not (tmp_path / "out").exists()


def test_empty_folder(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(tmp_path / "empty")


def test_folder_without_a_scan(refused, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("hello")
    assert "notes" in refused(tmp_path / "notes")


def test_two_series_in_one_folder(medinr, synthetic, tmp_path):
    for number in range(2):
        synthetic.write_dicom_series(tmp_path / "mixed" / str(number), synthetic.phantom((3, 24, 20)))
    command = (
        "reconstruct-simulated",
        tmp_path / "mixed",
        "--task",
        "denoise",
        "--model",
        "random",
        "--out",
        tmp_path / "out",
    )
    found = medinr(*command)
    assert found.code == 2
    assert "--series" in found.err
    # What came and what to do; then the series to choose from.
    what, *series = found.err.splitlines()
    assert "there are 2 series" in what
    assert [line[:3] for line in series] == ["1: ", "2: "]
    assert "Traceback" not in found.err
    assert synthetic.PATIENT_NAME not in found.err
    chosen = medinr(*command, "--series", "3")
    assert chosen.code == 2
    assert "3" in chosen.err


def test_truncated_nifti(refused, scan):
    scan.write_bytes(scan.read_bytes()[:-200])
    assert "head.nii.gz" in refused(scan)


def test_truncated_dicom(refused, synthetic, tmp_path):
    path = synthetic.write_dicom_series(tmp_path / "chest", synthetic.phantom((3, 24, 20), "CT"))[1]
    path.write_bytes(path.read_bytes()[:-100])
    assert path.name in refused(tmp_path / "chest", task="ct")


def test_text_called_nifti(refused, tmp_path):
    path = tmp_path / "scan.nii.gz"
    path.write_text("this is no scan")
    assert "not a NIfTI file" in refused(path)


def test_nan_voxels_and_empty_slices(refused, synthetic, tmp_path):
    volume = synthetic.phantom((4, 24, 20))
    volume.array[1, 4, 4] = np.nan
    volume.array[2] = 0
    path = write_nifti(volume, tmp_path / "odd.nii.gz")
    assert "NaN" in refused(path)
    assert "NaN" in refused(path, "--slices", "1")
    assert "every voxel is zero" in refused(path, "--slices", "2")


def test_slices_that_cannot_be(refused, scan):
    assert "the volume has slices 0 to 3" in refused(scan, "--slices", "4")
    assert "not evenly spaced" in refused(scan, "--slices", "0,1,3")


def test_irregular_slices(refused, synthetic, tmp_path):
    paths = synthetic.write_dicom_series(tmp_path / "chest", synthetic.phantom((5, 24, 20), "CT"))
    paths[2].unlink()
    assert "missing between" in refused(tmp_path / "chest", task="ct")


def test_which_volume_of_four(refused, scan, tmp_path):
    nib.save(nib.Nifti1Image(np.ones((20, 24, 4, 3), np.float32), np.eye(4)), tmp_path / "many.nii.gz")
    assert "--index 0 to 2" in refused(tmp_path / "many.nii.gz")
    assert "volume 3 was asked for" in refused(tmp_path / "many.nii.gz", "--index", "3")
    assert "--series" in refused(scan, "--series", "1")


def test_unknown_task_key_or_value(refused, scan):
    assert "kspace" in refused(scan, task="kspcae")
    for more, key in (((), "plug_and_play.iterations"), (("--method", "inr"), "network.steps")):
        name = key.split(".")[1]
        assert f"Did you mean '{name}'" in refused(scan, *more, "--set", f"{key}x=3")
        assert "wants int" in refused(scan, *more, "--set", f"{key}=few")
        assert "KEY=VALUE" in refused(scan, *more, "--set", key)


def test_unknown_method_or_one_for_another_task(refused, scan):
    message = refused(scan, "--method", "plug-and-pray")
    assert "There is no method 'plug-and-pray'. Did you mean 'plug-and-play'? Known: " in message
    assert "plug-and-play, INR, STRAINER" in message
    assert "SIRT is not for task denoise" in refused(scan, "--method", "sirt")
    assert "method tv fits none" in refused(scan, "--method", "tv", "--set", "network.steps=3")


def test_a_configuration_that_calls_python(refused, scan, tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text(f"task: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n")
    assert "not valid YAML" in refused(scan, task=path)
    assert not (tmp_path / "made").exists()


def test_missing_model(refused, scan, tmp_path):
    message = refused(scan, model="brain_rm")
    assert "brain_mr" in message
    assert "medinr pretrain" in message
    (tmp_path / "bare.safetensors").write_bytes(b"")
    assert "no card bare.json" in refused(scan, model=tmp_path / "bare.safetensors")


def test_model_of_another_modality(refused, synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path / "chest", synthetic.phantom((3, 24, 20), "CT"))
    message = refused(tmp_path / "chest", task="ct", model="brain_mr")
    assert "was trained on MR scans; this scan is CT" in message
    assert "medinr models" in message


def test_scan_of_another_modality(refused, synthetic, scan, tmp_path):
    assert "simulates a CT scanner; this scan is MR" in refused(scan, task="ct")
    synthetic.write_dicom_series(tmp_path / "chest", synthetic.phantom((3, 24, 20), "CT"))
    assert "the DICOM header has CT" in refused(tmp_path / "chest", "--modality", "MR")


def test_an_acceleration_that_leaves_no_centre(refused, scan):
    message = refused(
        scan, "--set", "simulation.acceleration=12", "--set", "simulation.centre_fraction=0.3", task="kspace"
    )
    assert "centre_fraction" in message


def test_a_random_model_has_no_denoiser_to_start_from(refused, scan):
    message = refused(scan, task="kspace")
    assert "The model 'random' has no denoiser" in message
    assert "--method inr" in message
    assert "--set network.steps=100" in message
    message = refused(scan, "--method", "inr", task="kspace")
    assert "nothing for the network to be fitted to" in message
    assert "--set network.steps=100" in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pretrain", "brain"], "No configuration 'brain'"),
        (["evaluate", "nowhere"], "No manifest 'nowhere'"),
        (["evaluate", "excerpts", "nothing"], "No configuration 'nothing'"),
        (["models", "nothing"], "No model 'nothing'"),
        (["inspect", "nothing"], "no such file"),
        (["simulate", "nothing.nii"], "no such file"),
    ],
)
def test_other_commands_refuse_as_well(medinr, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = medinr(*arguments)
    assert found.code == 2
    assert words in found.err
    assert len(found.err.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


def test_our_own_failure_is_another_code_and_points_to_debug(medinr, scan, monkeypatch, tmp_path):
    def broken(*_):
        raise RuntimeError("the inner part broke")

    monkeypatch.setattr("medinr.acquisition.base.Acquisition.problems", broken)
    command = ("reconstruct-simulated", scan, "--task", "denoise", "--model", "random", "--out", tmp_path / "out")
    found = medinr(*command)
    assert found.code == 1
    assert "medinr failed: RuntimeError: the inner part broke" in found.err
    assert "--debug" in found.err
    assert "Traceback" not in found.err
    with pytest.raises(RuntimeError, match="the inner part broke"):
        medinr(*command, "--debug")


def test_debug_shows_where_bad_input_was_met(medinr, tmp_path):
    from medinr.errors import FileError

    with pytest.raises(FileError, match="no such file"):
        medinr("inspect", tmp_path / "nothing", "--debug")
