"""Rows of the case tables: positions and voxels of a scan against its tags, SimpleITK (GDCM) and dcm2niix."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK

from medinr.errors import InputError
from medinr.io.scan import read_scan
from medinr.volume import Volume

#: Millimetres that the marked voxel may be off.
NEAR_MM = 1e-4

#: Relative: as float32 holds values, and never a step of the stored numbers.
SAME_VALUE = 1e-6

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

Row = tuple[str, ...]

HEADINGS = ("case", "verdict", "marked voxel, RAS mm", "off mm", "pixels")


def lines(rows: list[Row]) -> str:
    """The table as text."""
    table = [HEADINGS, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
    padded = ("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in table)
    return "\n".join(line.rstrip() for line in padded)


def read_row(name: str, scan: Volume, off: float, difference: float, by: str) -> Row:
    """Row of a scan that was read."""
    return name, "read", place(scan), f"{off:.0e}", f"{by} {difference:.0e}"


def place(scan: Volume) -> str:
    x, y, z = marked(scan)[1]
    return f"{x:.4f} {y:.4f} {z:.4f}"


def marked(scan: Volume) -> tuple[tuple[int, ...], np.ndarray]:
    voxel = tuple(int(index) for index in np.unravel_index(int(scan.array.T.argmax()), scan.array.T.shape))
    return voxel, (scan.affine @ [*voxel, 1])[:3]


def refused_row(name: str, path: Path, words: str) -> Row:
    """Row of what is refused in words that fit a pattern; asserts that it is."""
    with pytest.raises(InputError) as caught:
        read_scan(path)
    sentence = str(caught.value)
    assert re.search(words, sentence), sentence
    short = sentence.replace(f"{path}: ", "").replace(str(path.parent), "").splitlines()[0]
    return name, f"refused: {short[:72]}", "", "", ""


def compare(scan: Volume, reference: tuple[np.ndarray, np.ndarray], volume: int = 0) -> tuple[float, float]:
    """Distance (mm) of the marked voxel from the same voxel of the reference, and largest relative difference."""
    array, affine = reference
    array = array[..., volume] if array.ndim == 4 else array
    z, y, x = scan.shape
    moves = np.linalg.inv(affine) @ scan.affine
    turn, shift = np.rint(moves[:3, :3]).astype(int), np.rint(moves[:3, 3]).astype(int)
    assert np.abs(turn).sum() == 3, f"another grid: {moves.round(3).tolist()}"
    indices = np.stack(np.meshgrid(np.arange(x), np.arange(y), np.arange(z), indexing="ij"), -1) @ turn.T + shift
    assert indices.min() >= 0
    assert (indices < array.shape).all()
    values = array[tuple(np.moveaxis(indices, -1, 0))]
    if scan.unit == "HU":
        values = np.maximum(values, -1024)
    voxel, place = marked(scan)
    off = np.linalg.norm((affine @ [*(turn @ voxel + shift), 1])[:3] - place)
    difference = np.abs(values - scan.array.T).max() / max(np.abs(values).max(), 1)
    return float(off), float(difference)


def read_simpleitk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if path.is_dir():
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
        image = reader.Execute()
    else:
        image = SimpleITK.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).T.astype(float), LPS @ affine


def read_dcm2niix(path: Path, folder: Path, pattern: str) -> tuple[np.ndarray, np.ndarray]:
    # -p n: the values of RescaleSlope, not those before Philips' private scaling.
    options = ["-f", "o", "-o", str(folder), "-z", "n", "-b", "n", "-p", "n", *(["-s", "y"] if path.is_file() else [])]
    subprocess.run([dcm2niix.bin, *options, str(path)], check=True, capture_output=True)
    image: Any = nib.load(next(iter(sorted(folder.glob(pattern)))))
    return np.asarray(image.dataobj).astype(float), np.asarray(image.affine)


def off_tags(scan: Volume, path: Path) -> float:
    """Distance (mm) of the marked voxel from where the tags of a frame with that value put it."""
    (column, row, _), place = marked(scan)
    value = float(scan.array.max())
    nearest = np.inf
    for file in [path] if path.is_file() else sorted(path.rglob("*.dcm")):
        dataset = pydicom.dcmread(file)
        pictures = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
        for number, picture in enumerate(pictures):
            groups = _groups(dataset, number)
            slope, intercept = (
                _find(groups, tag, usual) for tag, usual in (("RescaleSlope", 1), ("RescaleIntercept", 0))
            )
            if not np.isclose(float(picture[row, column]) * float(slope) + float(intercept), value, rtol=1e-6):
                continue
            across, down = np.array(_find(groups, "ImageOrientationPatient"), float).reshape(2, 3)
            down_mm, across_mm = (float(value) for value in _find(groups, "PixelSpacing"))
            corner = np.array(_find(groups, "ImagePositionPatient"), float)
            there = corner + column * across_mm * across + row * down_mm * down
            nearest = min(nearest, float(np.linalg.norm(LPS[:3, :3] @ there - place)))
    return nearest


def _groups(dataset: pydicom.Dataset, number: int) -> list[pydicom.Dataset]:
    found = [dataset]
    for items in (dataset.get("SharedFunctionalGroupsSequence"), dataset.get("PerFrameFunctionalGroupsSequence")):
        if items:
            item = items[number if len(items) > 1 else 0]
            found += [
                element.value[0]
                for element in item
                if element.VR == "SQ" and element.value and not element.tag.is_private
            ]
    return found


def _find(groups: list[pydicom.Dataset], keyword: str, usual: Any = None) -> Any:
    return next((group[keyword].value for group in reversed(groups) if keyword in group), usual)
