"""A table over synthetic scans whose voxels are known: verdict, position of a marked voxel, pixels."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from benchmarks.fuzz_dicom_originals import dicom_originals, reference_of
from benchmarks.fuzz_volumes import volume_originals
from medinr.io.scan import read_scan
from medinr.volume import Volume

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Made:
    """A scan made on the spot: what to read, its known voxels, or the words by which it is refused."""

    path: Path
    known: Volume | None = None
    refused: str = ""
    by: str = ""


Maker = Callable[[Path, ModuleType], Made]


def _encoding(kind: str, by: str = "SimpleITK") -> Maker:
    def make(folder: Path, synthetic: ModuleType) -> Made:
        files = dicom_originals()[kind]
        for name, data in files.items():
            (folder / name).write_bytes(data)
        path = folder if len(files) > 1 else folder / next(iter(files))
        values, affine = reference_of(kind)
        return Made(path, Volume(values, affine, kind.split(",")[0][-2:] if "mosaic" not in kind else "MR"), by=by)

    return make


def _series(change: Any = None, modality: str = "MR", refused: str = "", **more: Any) -> Maker:
    def make(folder: Path, synthetic: ModuleType) -> Made:
        volume = synthetic.phantom(modality=modality, geometry=synthetic.affine(angles=(6, -9, 15)))
        volume.array[2, 11, 7] = 3000
        synthetic.write_dicom_series(folder / "s", volume, change=change)
        return Made(folder / "s", None if refused else volume, refused, **more)

    return make


def _nudge(dataset: Any, number: int) -> None:
    dataset.ImageOrientationPatient = [float(one) + 1e-7 * (number % 2) for one in dataset.ImageOrientationPatient]


def _nudge_spacing(dataset: Any, number: int) -> None:
    dataset.PixelSpacing = [float(one) + 1e-6 * (number % 2) for one in dataset.PixelSpacing]


def _two_patients(dataset: Any, number: int) -> None:
    dataset.PatientID = f"P{number % 2}"


def _two_frames_of_reference(dataset: Any, number: int) -> None:
    dataset.FrameOfReferenceUID = f"1.2.3.{number % 2}"


def _inverted(dataset: Any, number: int) -> None:
    dataset.PhotometricInterpretation = "MONOCHROME1"


def _colour(dataset: Any, number: int) -> None:
    dataset.SamplesPerPixel = 3


def _unsigned_padding(folder: Path, synthetic: ModuleType) -> Made:
    volume = synthetic.phantom(modality="CT")
    volume.array[:, 0] = -1024

    def change(dataset: Any, number: int) -> None:
        stored = (volume.array[number] + 1024).astype(np.uint16)
        stored[0] = 63536
        dataset.PixelData, dataset.PixelRepresentation, dataset.PixelPaddingValue = stored.tobytes(), 0, 63536

    synthetic.write_dicom_series(folder / "s", volume, change=change)
    return Made(folder / "s", volume)


def _b_values(folder: Path, synthetic: ModuleType) -> Made:
    for b in (0, 1000):

        def change(dataset: Any, number: int, b: int = b) -> None:
            dataset.DiffusionBValue, dataset.FrameOfReferenceUID = float(b), "1.2.4"

        synthetic.write_dicom_series(folder / str(b), synthetic.phantom(), series_uid="1.2.3", change=change)
    return Made(folder, refused=r"(?s)2 series.*b-value 1000")


def _dangling(folder: Path, synthetic: ModuleType) -> Made:
    paths = synthetic.write_dicom_series(folder / "s", synthetic.phantom())
    for path in paths[3:]:
        path.unlink()
        path.symlink_to(folder / "nowhere")
    return Made(folder / "s", refused="leads nowhere")


def _cut_header(folder: Path, synthetic: ModuleType) -> Made:
    volume = synthetic.phantom()
    volume.array[2, 11, 7] = 3000
    paths = synthetic.write_dicom_series(folder / "s", volume)
    (folder / "s" / "cut.dcm").write_bytes(paths[0].read_bytes()[:600])
    return Made(folder / "s", volume)


def _enhanced(surplus: int) -> Maker:
    def make(folder: Path, synthetic: ModuleType) -> Made:
        def change(dataset: Any) -> None:
            groups = dataset.PerFrameFunctionalGroupsSequence
            for number in range(surplus):
                groups.append(groups[number])

        volume = synthetic.phantom(geometry=synthetic.affine(angles=(6, -9, 15)))
        volume = volume.with_array(np.rint(volume.array / 2) * 2)
        volume.array[2, 11, 7] = 3000
        path = synthetic.write_enhanced(folder / "e.dcm", volume, change)
        refused = r"NumberOfFrames|frames" if surplus else ""
        return Made(path, None if refused else volume, refused)

    return make


def _tilted(straighten: bool) -> Maker:
    def make(folder: Path, synthetic: ModuleType) -> Made:
        geometry = synthetic.affine()
        geometry[1, 2] = 0.6
        volume = synthetic.phantom(geometry=geometry)
        synthetic.write_dicom_series(folder / "s", volume)
        return Made(folder / "s", refused="leans 11.3 degrees")

    return make


def _zipped(folder: Path, synthetic: ModuleType) -> Made:
    made = _series()(folder, synthetic)
    with zipfile.ZipFile(folder / "s.zip", "w") as archive:
        for path in made.path.iterdir():
            archive.write(path, f"study/{path.name}")
        archive.writestr("study/notes.txt", "no scan")
    shutil.rmtree(made.path)
    return Made(folder / "s.zip", made.known)


def _bomb(folder: Path, synthetic: ModuleType) -> Made:
    data = volume_originals()["NIfTI"]["a.nii"]
    size = np.array([3, 1024, 1024, 1024, 1, 1, 1, 1], "<i2").tobytes()
    (folder / "a.nii").write_bytes(data[:40] + size + data[56:420])
    return Made(folder / "a.nii", refused="declares|ends early|cut short")


def _volume_file(kind: str, by: str = "") -> Maker:
    def make(folder: Path, synthetic: ModuleType) -> Made:
        for name, data in volume_originals()[kind].items():
            (folder / name).write_bytes(data)
        path = folder / next(iter(volume_originals()[kind]))
        values = np.frombuffer(volume_originals()["NIfTI"]["a.nii"][352:], "<i2").reshape(4, 12, 16)
        if "big-endian" in kind:
            # Its header scales.
            values = 0.5 * values - 1000
        lps = "NRRD" in kind or "Meta" in kind
        affine = np.diag([0.9, 0.8, 3.0, 1.0])
        affine[:3, 3] = [-7, -5, 4]
        if kind == "MGZ":
            # Its origin is the middle of the volume.
            affine[:3, 3] = np.array([0, 0, 10]) - affine[:3, :3] @ [8, 6, 2]
        return Made(path, Volume(values.astype(np.float32), LPS_TO_RAS @ affine if lps else affine, "MR"), by=by)

    return make


def _phase(folder: Path, synthetic: ModuleType) -> Made:
    data = bytearray(volume_originals()["NIfTI"]["a.nii"])
    values = np.linspace(-4096, 4094, 4 * 12 * 16).astype("<i2")
    data[352:] = values.tobytes()
    (folder / "sub-1_phase.nii").write_bytes(bytes(data))
    (folder / "sub-1_phase.json").write_text(json.dumps({"Modality": "MR", "ImageType": ["ORIGINAL", "PRIMARY", "P"]}))
    made = _volume_file("NIfTI")(folder, synthetic)
    assert made.known is not None
    known = Volume(values.reshape(4, 12, 16).astype(np.float32), made.known.affine, "MR")
    return Made(folder / "sub-1_phase.nii", known)


MADE: dict[str, Maker] = {
    "classic MR, oblique": _series(),
    "classic CT, oblique": _series(modality="CT"),
    "classic CT, explicit": _encoding("classic CT"),
    "classic MR, implicit": _encoding("classic MR, implicit"),
    "classic MR, big-endian": _encoding("classic MR, big-endian"),
    "classic CT, RLE": _encoding("classic CT, RLE"),
    "classic CT, JPEG 2000": _encoding("classic CT, JPEG 2000"),
    "classic CT, deflated": _encoding("classic CT, deflated"),
    "enhanced MR, oblique": _enhanced(0),
    "enhanced MR, more groups than frames": _enhanced(2),
    "mosaic": _encoding("mosaic", ""),
    "zip of a series and a text": _zipped,
    "cosines alternate by 1e-7": _series(_nudge),
    "pixel spacing alternates by 1e-6": _series(_nudge_spacing),
    "padding 63536, unsigned": _unsigned_padding,
    "MONOCHROME1": _series(_inverted),
    "two patients, one series UID": _series(_two_patients, refused="2 series"),
    "two frames of reference, one series UID": _series(_two_frames_of_reference, refused="2 series"),
    "two b-values": _b_values,
    "two slices are dangling links": _dangling,
    "a header cut before Rows beside a series": _cut_header,
    "gantry tilt": _tilted(False),
    "colours": _series(_colour, refused="colours"),
    "NIfTI of 420 bytes that declares 1024^3": _bomb,
    "NIfTI, phase": _phase,
    "NIfTI": _volume_file("NIfTI"),
    "NIfTI, big-endian": _volume_file("NIfTI, big-endian"),
    ".hdr/.img": _volume_file("NIfTI, two files"),
    "MGZ": _volume_file("MGZ"),
    "NRRD": _volume_file("NRRD", "SimpleITK"),
    "MetaImage": _volume_file("MetaImage", "SimpleITK"),
}


@pytest.mark.parametrize("name", MADE)
def test_synthetic_case(
    name: str, synthetic: ModuleType, cases: ModuleType, table: list[tuple[str, ...]], tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    made = MADE[name](folder, synthetic)
    if made.refused:
        table.append(cases.refused_row(name, made.path, made.refused))
        return
    assert made.known is not None
    scan = read_scan(made.path)
    assert (scan.modality, scan.shape) == (made.known.modality, made.known.shape)
    off, difference = cases.compare(scan, (made.known.array.T.astype(float), made.known.affine))
    said = "known"
    if made.by:
        theirs, other = cases.compare(scan, cases.read_simpleitk(made.path))
        off, difference, said = max(off, theirs), max(difference, other), f"known, {made.by}"
    table.append(cases.read_row(name, scan, off, difference, said))
    assert off <= cases.NEAR_MM
    assert difference <= cases.SAME_VALUE
