"""Identifiers planted in every place of the input are searched in every byte that the commands write and print.

The derived series in ``dicom/`` belongs to the patient's study and keeps the patient; its private elements are gone.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import stat
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest

from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, write_manifest

#: Words in which every planted value holds one that occurs nowhere else.
IN_HEADER = {
    "PatientName": "Quixoter^Zebrafina",
    "PatientID": "PIDQUIX-88231744905",
    "PatientBirthDate": "19371129",
    "OtherPatientIDs": "OTHERQ17",
    "PatientAddress": "Addressq Lane 4",
    "PatientBirthName": "Maidenq",
    "PatientComments": "commentq of a nurse",
    "ImageComments": "imagecommentq",
    "AccessionNumber": "ACCQ5567",
    "StudyID": "STUDYQ31",
    "InstitutionName": "Saint Institq",
    "InstitutionAddress": "Instaddressq 1",
    "InstitutionalDepartmentName": "Departq",
    "ReferringPhysicianName": "Referrq^Ada",
    "PhysiciansOfRecord": "Recordq^Bert",
    "OperatorsName": "Operatq^Carl",
    "StationName": "STATIONQ9",
    "DeviceSerialNumber": "SERIALQ7",
}
DESCRIPTION = "t2 Quixoter, ZEBRAFINA pidquix-88231744905 29.11.1937 Institq"
PRIVATE, FILE, FOLDER, NIFTI, FREE_TEXT = (
    "privateq",
    "Fileqname",
    "Folderq_Quixoter",
    "Niftiqscan_Zebrafina",
    "freetextq",
)

#: What is searched, in small letters: long enough not to come about by chance in compressed bytes.
PLANTED = (
    *(
        "quixoter",
        "zebrafina",
        "pidquix",
        "88231744905",
        "19371129",
        "29.11.1937",
        "otherq17",
        "addressq",
        "maidenq",
        "commentq",
    ),
    *("accq5567", "studyq31", "institq", "departq", "referrq", "recordq", "operatq", "stationq9", "serialq7"),
    *(PRIVATE, FILE.lower(), "folderq", "niftiqscan", FREE_TEXT, "9.8.7.6.5"),
)

#: A UID that would lead to the study in the hospital's archive.
FRAME_OF_REFERENCE = "1.2.9.8.7.6.5.4"

QUICK = ("--set", "plug_and_play.iterations=2", "--set", "total_variation.iterations=3")

PRETRAINING = """\
name: mine
manifest: {manifest}
modality: MR
grid: [16, 16]
spacing: 1.2
slices: 2
training: {{steps: 3, architecture: {{width: 16, depth: 2, omega: 10.0}}}}
prior:
  steps: 2
  magnitude_steps: 0
  auxiliary_steps: 0
  batch: 2
  patch: 12
  architecture: {{channels: 4, layers: 2}}
prior_slices_per_scan: 2
"""


def plant(dataset: pydicom.Dataset, number: int) -> None:
    """Identify the patient in every element that may."""
    for keyword, value in IN_HEADER.items():
        setattr(dataset, keyword, value)
    dataset.SeriesDescription = dataset.StudyDescription = dataset.ProtocolName = DESCRIPTION
    dataset.FrameOfReferenceUID = FRAME_OF_REFERENCE
    block = dataset.private_block(0x0029, "MAKER OF SCANNERS", create=True)
    block.add_new(0x01, "LO", f"{PRIVATE} {IN_HEADER['PatientName']}")
    block.add_new(0x02, "PN", IN_HEADER["PatientName"])


@pytest.fixture
def series(synthetic, tmp_path) -> Path:
    folder = tmp_path / "input" / FOLDER / "19371129"
    paths = synthetic.write_dicom_series(folder, synthetic.phantom((3, 24, 20)), change=plant, seed=None)
    for path in paths:
        path.rename(path.with_name(f"{FILE}_{IN_HEADER['PatientID']}_{path.name}.dcm"))
    (folder / f"{FILE}_letter.txt").write_text(DESCRIPTION)
    return folder


@pytest.fixture
def nifti(synthetic, tmp_path) -> Path:
    volume = synthetic.phantom((4, 20, 18), seed=1)
    image = nib.Nifti1Image(np.ascontiguousarray(volume.array.T), volume.affine)
    image.header["descrip"], image.header["db_name"] = f"{FREE_TEXT} Quixoter".encode(), b"Zebrafina"
    image.header["aux_file"], image.header["intent_name"] = b"Fileqname", b"Quixoter"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", DESCRIPTION.encode()))
    folder = tmp_path / "input" / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{NIFTI}.nii.gz"
    nib.save(image, path)
    sidecar = {"Modality": "MR", "EchoTime": 0.08, **IN_HEADER, "SeriesDescription": DESCRIPTION}
    path.with_name(f"{NIFTI}.json").write_text(json.dumps(sidecar))
    return path


@pytest.fixture
def kspace(tmp_path) -> Path:
    """A raw file in the layout of fastMRI, which names the patient in its attributes and in its header."""
    y, x = np.meshgrid(np.linspace(-1, 1, 24), np.linspace(-1, 1, 24), indexing="ij")
    image = np.exp(-4 * (x**2 + (y / 0.8) ** 2))
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, (2, 24, 24)) + 1j * rng.normal(0, 0.01, (2, 24, 24))
    samples = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image), norm="ortho")) + noise
    header = f"""<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
    <subjectInformation><patientName>Quixoter</patientName><patientID>PIDQUIX-88231744905</patientID></subjectInformation>
    <studyInformation><studyDescription>{DESCRIPTION}</studyDescription></studyInformation>
    <acquisitionSystemInformation><institutionName>Institq</institutionName></acquisitionSystemInformation>
    <experimentalConditions><H1resonanceFrequency_Hz>64000000</H1resonanceFrequency_Hz></experimentalConditions>
    <encoding><encodedSpace><matrixSize><x>24</x><y>24</y><z>1</z></matrixSize>
    <fieldOfView_mm><x>48</x><y>48</y><z>3</z></fieldOfView_mm></encodedSpace>
    <reconSpace><matrixSize><x>24</x><y>24</y><z>1</z></matrixSize>
    <fieldOfView_mm><x>48</x><y>48</y><z>3</z></fieldOfView_mm></reconSpace>
    <encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>23</maximum><center>12</center>
    </kspace_encoding_step_1></encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""
    folder = tmp_path / "input" / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{FILE}_raw.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = samples.astype(np.complex64)
        file["ismrmrd_header"] = header
        file["reconstruction_esc"] = np.abs(image)[None].astype(np.float32)
        file.attrs["patient_id"] = f"{PRIVATE}88231744905"
        file.attrs["acquisition"] = "AXT2"
    return path


@pytest.fixture
def run(medinr):
    """Runs a command that must succeed and must print nothing of what was planted."""

    def command(*arguments: object) -> SimpleNamespace:
        done = medinr(*arguments, "--debug")
        assert done.code == 0, done.err
        assert found_in((done.out + done.err).encode()) == [], done.out + done.err
        return done

    return command


def found_in(content: bytes) -> list[str]:
    """Planted words in bytes, as text of one or two bytes a letter."""
    small = content.lower()
    words = [word for word in PLANTED if word.encode() in small or word.encode("utf-16-le") in small]
    # Digits may come about by chance within the decimals of a measured time.
    return [
        word for word in words if not word.isdigit() or re.search(rb"(?<![0-9.])%b(?![0-9])" % word.encode(), small)
    ]


def contents(path: Path) -> Iterator[bytes]:
    """The bytes of a file, and what they hold where they are compressed."""
    raw = path.read_bytes()
    yield path.name.encode()
    if path.suffix == ".html":
        # Pictures, in which letters come about by chance.
        raw = re.sub(rb"[A-Za-z0-9+/]{400,}={0,2}", b"", raw)
    yield raw
    if path.suffix == ".gz":
        yield gzip.decompress(raw)
    elif path.suffix == ".png":
        yield from _texts_of_png(raw)
    elif path.suffix == ".parquet":
        yield pd.read_parquet(io.BytesIO(raw)).to_csv().encode()


def _texts_of_png(raw: bytes) -> Iterator[bytes]:
    place = 8
    while place < len(raw):
        size, kind = int.from_bytes(raw[place : place + 4], "big"), raw[place + 4 : place + 8]
        if kind in (b"zTXt", b"iTXt"):
            for start in range(place + 8, place + 8 + size):
                if raw[start] == 0x78:
                    try:
                        yield zlib.decompressobj().decompress(raw[start : place + 8 + size])
                    except zlib.error:
                        continue
        place += 12 + size


def search(folder: Path, *, apart_from: str = "") -> list[Path]:
    """Search every file below a folder; returns those that were searched."""
    searched = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not (apart_from and apart_from in inside.parts):
            for content in contents(path):
                assert found_in(content) == [], inside
            searched.append(inside)
    return searched


def test_the_search_finds_what_was_planted(series, nifti, kspace):
    """Else the other tests would say nothing."""
    dataset = next(series.glob("*IM0000.dcm"))
    missing = {word for word in PLANTED if word not in found_in(dataset.read_bytes() + str(dataset).encode())}
    assert missing == {"niftiqscan", FREE_TEXT}
    assert {"quixoter", FREE_TEXT, "niftiqscan"} <= {word for part in contents(nifti) for word in found_in(part)}
    assert {"quixoter", PRIVATE} <= {word for part in contents(kspace) for word in found_in(part)}


def test_inspect_does_not_name_the_patient(run, series, nifti, kspace):
    said = run("inspect", series).out
    assert "20 x 24" in said
    assert "MR" in run("inspect", nifti).out
    assert "k-space" in run("inspect", kspace).out


def test_a_listing_of_series_does_not_name_the_patient(run, series, synthetic):
    synthetic.write_dicom_series(series / "second", synthetic.phantom((2, 18, 20)), change=plant)
    said = run("inspect", series).out
    assert "t2" in said
    assert "***" in said


def test_a_file_that_is_left_aside_is_named_to_the_user_alone(medinr, models, series, tmp_path):
    """One that ends within its header: the standard error may name it, what is written may not."""
    (series / f"{FILE}_cut.dcm").write_bytes(next(series.glob("*IM0000.dcm")).read_bytes()[:900])
    assert found_in(medinr("inspect", series).out.encode()) == []
    out = tmp_path / "out"
    done = medinr("reconstruct-simulated", series, "--task", "denoise", "--model", models["MR"], "--out", out, *QUICK)
    assert done.code == 0, done.err
    assert found_in(done.out.encode()) == []
    assert Path("result.json") in search(out, apart_from="dicom")


def test_slices_that_form_no_stack_are_named_to_the_user_alone(medinr, synthetic, series):
    """Which file stands apart is said on standard error; what may be piped into a file has no name."""

    def move(dataset, number):
        plant(dataset, number)
        dataset.ImagePositionPatient[2] += 1.3 * (number == 1)

    for path in synthetic.write_dicom_series(series / "b", synthetic.phantom((4, 18, 20)), change=move, seed=None):
        path.rename(path.with_name(f"{FILE}_{path.name}"))
    for arguments in (("inspect", series), ("inspect", series / "b"), ("inspect", series / "b", "--json")):
        said = medinr(*arguments)
        assert found_in(said.out.encode()) == []
        assert f"{FILE}_IM000" in said.err


@pytest.mark.parametrize("source", ["series", "nifti", "kspace"])
def test_a_reconstruction_does_not_name_the_patient(run, models, request, tmp_path, source):
    path, out = request.getfixturevalue(source), tmp_path / "out"
    task = "kspace" if source == "kspace" else "denoise"
    more = ("--uncertainty", "--set", "uncertainty.repeats=2") if source == "series" else ()
    slices = ("--slices", "0" if source == "kspace" else "1")
    command = "reconstruct" if source == "kspace" else "reconstruct-simulated"
    run(command, path, "--task", task, "--model", models["MR"], "--out", out, *QUICK, *slices, *more)
    searched = {str(path) for path in search(out, apart_from="dicom")}
    assert {"measurement.safetensors", "reconstruction.nii.gz", "result.json", "convergence.csv"} <= searched
    assert any(name.startswith("comparison") and name.endswith(".png") for name in searched)
    model = Path(models["MR"])
    assert str(model.parent) not in (out / "result.json").read_text()
    assert json.loads((out / "result.json").read_text())["model"]["name"] == model.name
    # A measurement file is a source, too.
    again = tmp_path / "again"
    run("reconstruct", out / "measurement.safetensors", "--task", task, "--model", models["MR"], "--out", again, *QUICK)
    search(again)
    assert run("inspect", out / "measurement.safetensors").out


def test_the_derived_series_keeps_the_patient_and_loses_private_elements(run, models, series, tmp_path):
    out = tmp_path / "out"
    run("reconstruct-simulated", series, "--task", "denoise", "--model", models["MR"], "--out", out, *QUICK)
    slices = sorted((out / "dicom").iterdir())
    assert len(slices) == 3
    for path in slices:
        dataset = pydicom.dcmread(path)
        assert dataset.PatientName == IN_HEADER["PatientName"]
        assert not any(element.tag.is_private for element in dataset.iterall())
        content = path.name.encode() + path.read_bytes()
        assert not {PRIVATE, FILE.lower(), "folderq"} & set(found_in(content))
        assert str(tmp_path).encode() not in content


@pytest.mark.parametrize("source", ["series", "nifti"])
@pytest.mark.parametrize("command", [("denoise",), ("superres", "--factor", "1,1,2")])
def test_a_treated_scan_does_not_name_the_patient(run, models, request, monkeypatch, tmp_path, source, command):
    from medinr.jobs.scan.methods import DENOISERS

    # The tiny model has no denoiser for scans.
    monkeypatch.setitem(DENOISERS, "plug-and-play", lambda volume, *_: volume.array - 2)
    path, out = request.getfixturevalue(source), tmp_path / "out"
    said = run(*command, path, "--sigma", "9", "--model", models["MR"], "--out", out)
    assert "sigma 9" in said.out
    searched = {str(path) for path in search(out, apart_from="dicom")}
    result = "denoised.nii.gz" if command[0] == "denoise" else "sharpened.nii.gz"
    assert {result, "result.json", "before_after.png"} <= searched
    assert source == "series" or result.replace("nii.gz", "json") in searched
    assert str(Path(models["MR"]).parent) not in (out / "result.json").read_text()
    for file in (out / "dicom").glob("*.dcm"):
        content = file.name.encode() + file.read_bytes()
        assert not {PRIVATE, FILE.lower(), "folderq"} & set(found_in(content))
        assert str(tmp_path).encode() not in content


def test_a_simulation_does_not_name_the_patient(run, series, tmp_path):
    run("simulate", series, "--task", "kspace", "--out", tmp_path / "out" / "m.safetensors")
    assert search(tmp_path / "out") == [Path("m.safetensors")]


def test_an_evaluation_its_report_and_a_model_do_not_name_the_patient(run, synthetic, series, nifti, tmp_path):
    other = nifti.with_name(f"{NIFTI}_second.nii.gz")
    nib.save(nib.load(nifti), other)
    rows = [
        ManifestRow(str(path.relative_to(tmp_path)), hash_scan(path), subject, "", "MR", "T2", split, "CC0")
        for path, subject, split in ((series, "s0", "devtest"), (nifti, "s1", "train"), (other, "s1", "train"))
    ]
    listed = tmp_path / "heads.csv"
    write_manifest(Manifest(tuple(rows), tmp_path), listed)

    (tmp_path / "mine.yaml").write_text(PRETRAINING.format(manifest=listed))
    run("pretrain", tmp_path / "mine.yaml", "--out", tmp_path / "model")
    assert {str(path) for path in search(tmp_path / "model")} == {"mine.json", "mine.safetensors"}
    card = json.loads((tmp_path / "model" / "mine.json").read_text())
    assert card["settings"]["manifest"] == "heads.csv"
    assert card["settings"]["manifest_sha256"] == hash_scan(listed)
    assert str(tmp_path) not in json.dumps(card)
    run("models", tmp_path / "model" / "mine.safetensors")

    task = f"task: denoise\nmodel: {tmp_path}/model/mine.safetensors\nplug_and_play: {{iterations: 2}}\n"
    (tmp_path / "task.yaml").write_text(task + "total_variation: {weight: 1.0, iterations: 3}\n")
    (tmp_path / "evaluate.yaml").write_text(f"tasks: [{tmp_path}/task.yaml]\nslices: 1\nmethods: [noisy, TV, medinr]\n")
    out = tmp_path / "evaluation"
    run("evaluate", listed, tmp_path / "evaluate.yaml", "--out", out)
    searched = [str(path) for path in search(out)]
    assert {"evaluation.json", "results.csv", "results.parquet"} <= set(searched)
    assert sum(name.startswith("work") for name in searched) > 3
    assert str(tmp_path) not in (out / "evaluation.json").read_text()

    run("report", out, "--out", tmp_path / "report" / "page.html", "--figures")
    searched = [path.suffix for path in search(tmp_path / "report")]
    assert {".html", ".png", ".svg"} <= set(searched)
    assert str(tmp_path) not in (tmp_path / "report" / "page.html").read_text()


def test_a_card_of_an_earlier_version_loses_the_path_of_its_manifest(run, models, tmp_path):
    path = Path(models["MR"]).with_suffix(".json")
    card = json.loads(path.read_text()) | {"settings": {"manifest": f"/data/{FOLDER}/heads.csv"}}
    for suffix in (".json", ".safetensors"):
        (tmp_path / f"old{suffix}").write_bytes(path.with_suffix(suffix).read_bytes())
    (tmp_path / "old.json").write_text(json.dumps(card))
    shown = json.loads(run("models", tmp_path / "old.safetensors").out)
    assert shown["settings"] == {"manifest": "heads.csv"}


def test_an_evaluation_of_an_earlier_version_goes_on_and_loses_the_paths(run, synthetic, models, tmp_path):
    scan = tmp_path / "head.nii.gz"
    nib.save(nib.Nifti1Image(synthetic.phantom((3, 20, 18)).array.T, np.eye(4)), scan)
    row = ManifestRow(scan.name, hash_scan(scan), "s0", "", "MR", "T2", "devtest", "CC0")
    write_manifest(Manifest((row,), tmp_path), tmp_path / "heads.csv")
    (tmp_path / "task.yaml").write_text(f"task: denoise\nmodel: {models['MR']}\n")
    (tmp_path / "evaluate.yaml").write_text("tasks: [task.yaml]\nslices: 1\nmethods: [noisy]\n")
    command = ("evaluate", tmp_path / "heads.csv", tmp_path / "evaluate.yaml", "--out", tmp_path / "out")
    run(*command)
    path = tmp_path / "out" / "evaluation.json"
    written = path.read_text()
    path.write_text(written.replace("tiny_MR.safetensors", f"/data/{FOLDER}/tiny_MR.safetensors"))
    assert found_in(path.read_bytes())
    run(*command)
    assert path.read_text() == written


def test_caches_of_libraries_do_not_name_the_patient(models, series, tmp_path):
    """In a home of its own: matplotlib, MONAI and PyTorch leave files there and in the folder of temporary files."""
    home, out = tmp_path / "home", tmp_path / "out"
    (home / "temporary").mkdir(parents=True)
    environment = {key: value for key, value in os.environ.items() if "CACHE" not in key and "CONFIG" not in key}
    environment |= {"HOME": str(home), "TMPDIR": str(home / "temporary"), "OMP_NUM_THREADS": "1"}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        environment[name] = str(home / name.lower())
    command = (
        "reconstruct-simulated",
        series,
        "--task",
        "denoise",
        "--model",
        models["MR"],
        "--out",
        out,
        "--slices",
        "1",
    )
    done = subprocess.run(
        [sys.executable, "-m", "medinr", *map(str, command), *QUICK],
        capture_output=True,
        env=environment,
        cwd=home,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert found_in(done.stdout + done.stderr) == []
    assert any("matplotlib" in str(path) for path in search(home))


@pytest.mark.skipif(os.name == "nt", reason="no permissions of this kind")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_who_may_read_outputs_is_as_the_umask_says(run, models, series, tmp_path, mask):
    before = os.umask(mask)
    try:
        out = tmp_path / "out"
        run("reconstruct-simulated", series, "--task", "denoise", "--model", models["MR"], "--out", out, *QUICK)
        run("simulate", series, "--task", "kspace", "--out", out / "more" / "m.safetensors")
    finally:
        os.umask(before)
    for path in (out, *out.rglob("*")):
        wanted = (0o777 if path.is_dir() else 0o666) & ~mask
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path.relative_to(out)
