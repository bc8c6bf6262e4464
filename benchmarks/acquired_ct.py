"""Low-dose CT with real reconstruction noise: error, contrast of inserts, and how well they are detected.

The data are repeated filtered backprojections of a phantom with and without four low-contrast inserts (LCD_CT).
Contrast is measured in two ways: in the images with the inserts, whose noise limits it, and by adding the inserts of
the reference to the images without them, where the noise is the same in both and the ratio is exact. Detectability is
that of the channelised Hotelling observer, with an interval that says what ten repeats can tell.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from scipy import ndimage

from benchmarks.acquired_methods import Announce, Candidate, by_medinr, candidates
from medinr.errors import FileError
from medinr.io.atomic import write_json
from medinr.jobs.record import new_result, versions
from medinr.metrics.observer import laguerre_gauss_channels, observe
from medinr.noise.estimate import estimate_noise
from medinr.volume import Volume

Array = NDArray[np.floating]

#: Pixels per side of a slice, and of the square around an insert that the observer sees.
SIZE, REGION = 256, 24

#: Values are HU + 1000.
WATER = 1000.0

#: Channels of the observer: with ten repeats of either class few can be told.
CHANNELS = 4

#: Distances from an insert's middle between which its surroundings are measured, in pixels.
_RING = (14, 22)


@dataclass(frozen=True, eq=False)
class Insert:
    """A round insert of the phantom: its contrast in HU, middle ``(y, x)``, diameter in pixels and flat part."""

    contrast: float
    middle: tuple[int, int]
    diameter: float
    flat: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Dose:
    """Repeats with and without inserts ``(n, y, x)``, the reference of either and the inserts; values are HU + 1000."""

    present: NDArray[np.float32]
    absent: NDArray[np.float32]
    reference: NDArray[np.float64]
    background: NDArray[np.float64]
    inserts: tuple[Insert, ...]


def benchmark_ct_dose(
    data: Path,
    model: str,
    baselines: Sequence[str],
    out: Path,
    *,
    oracle: bool = False,
    overwrite: bool = False,
    announce: Announce = lambda _: None,
) -> Table:
    """Denoise CT of 10 % of the dose.

    Parameters
    ----------
    data : Path
        Folder with ``ground_truth.raw`` and ``dose_010/signal_<absent, present>/*.raw``.
    model : str
    baselines : sequence of str
        Names of `medinr.baselines.acquired.BASELINES`; all that are installed when empty.
    out : Path
        Gets ``ct_dose.json``.
    oracle : bool
        Try every setting of every baseline too.
    overwrite : bool
        Replace a finished result.
    announce : callable

    Returns
    -------
    rich.table.Table

    Raises
    ------
    FileError
        When files are missing or of another size.
    """
    path = new_result(out, "ct_dose.json", overwrite)
    dose = read_dose(data)
    medinr = by_medinr(model, "CT", announce)
    methods = [Candidate("noisy", "", lambda scan, _: scan.array.real)]
    methods += [] if medinr is None else [Candidate("medinr", "", medinr)]
    # BM4D and the like would average over slices that are repeats of each other.
    methods += [one for one in candidates(baselines, oracle) if one.method not in ("BM4D", "NLM-DIPY", "ANTs")]
    rows = []
    for method in methods:
        begun = time.process_time()
        row = {"method": method.method, "setting": method.setting, "chosen": method.chosen} | judge(dose, method)
        rows.append(row | {"seconds": (time.process_time() - begun) / (3 * len(dose.absent))})
        announce(f"{method.method} {method.setting}: {row['rmse_present']:.1f} HU")
    write_json(path, {"rows": rows, "versions": versions()}, overwrite=True)
    return _table(rows, dose)


def read_dose(folder: Path, dose: str = "dose_010") -> Dose:
    """Read the repeats and the reference, and find the inserts in it."""
    reference = _raw(folder / "ground_truth.raw", np.uint16).astype(np.float64)
    groups = {}
    for signal in ("present", "absent"):
        files = sorted((folder / dose / f"signal_{signal}").glob("*.raw"))
        if len(files) < 2:
            raise FileError(f"{folder / dose}: there must be two images or more in signal_{signal}; got {len(files)}.")
        groups[signal] = np.stack([_raw(file, np.int16) for file in files]).astype(np.float32)
    labels, count = ndimage.label(reference > WATER + 0.5)
    return Dose(
        groups["present"],
        groups["absent"],
        reference,
        np.minimum(reference, WATER),
        tuple(_insert(reference, labels == number) for number in range(1, count + 1)),
    )


def _raw(path: Path, kind: type[np.generic]) -> NDArray[Any]:
    wanted = SIZE * SIZE * np.dtype(kind).itemsize
    if not path.is_file() or path.stat().st_size != wanted:
        raise FileError(f"{path} is missing or has another size than the {wanted} bytes of {SIZE} x {SIZE} pixels.")
    return np.fromfile(path, np.dtype(kind).newbyteorder("<")).reshape(SIZE, SIZE)


def _insert(reference: NDArray[np.float64], inside: NDArray[np.bool_]) -> Insert:
    highest = float(reference[inside].max())
    y, x = np.argwhere(inside).mean(axis=0).round().astype(int)
    return Insert(highest - WATER, (int(y), int(x)), 2 * float(np.sqrt(inside.sum() / np.pi)), reference == highest)


def judge(dose: Dose, method: Candidate) -> dict[str, Any]:
    """Error in the central quarter, and of every insert contrast and detectability."""
    present, absent = (_denoised(images, method) for images in (dose.present, dose.absent))
    added = _denoised((dose.absent + (dose.reference - dose.background)).astype(np.float32), method)
    inserts = []
    for insert in dose.inserts:
        contrasts = contrast(present, insert)
        channels = laguerre_gauss_channels(REGION, 1.5 * insert.diameter, CHANNELS)
        seen = observe(_region(present, insert), _region(absent, insert), channels)
        inserts.append(
            {
                "insert": insert.contrast,
                "contrast": float(contrasts.mean()),
                "standard_error": float(contrasts.std(ddof=1) / np.sqrt(len(contrasts))),
                "kept": float((contrast(added, insert) - contrast(absent, insert)).mean() / insert.contrast),
                "auc": seen.auc,
                "auc_interval": list(seen.auc_interval),
            }
        )
    return {
        "rmse_present": central_error(present, dose.reference),
        "rmse_absent": central_error(absent, dose.background),
        "inserts": inserts,
    }


def _denoised(images: NDArray[np.float32], method: Candidate) -> NDArray[np.float64]:
    """Each repeat on its own, its noise found in it alone."""
    found = []
    for image in images:
        scan = Volume(np.ascontiguousarray(image[None] - np.float32(WATER)), np.eye(4), "CT", "HU")
        found.append(np.asarray(method.denoise(scan, estimate_noise(scan))[0], np.float64) + WATER)
    return np.stack(found)


def contrast(images: Array, insert: Insert) -> NDArray[np.float64]:
    """Mean of the flat part of an insert less that of its surroundings, of each image ``(n, y, x)``."""
    y, x = np.indices(images.shape[1:])
    distance = np.hypot(y - insert.middle[0], x - insert.middle[1])
    ring = (distance > _RING[0]) & (distance < _RING[1])
    difference: NDArray[np.float64] = images[:, insert.flat].mean(axis=1) - images[:, ring].mean(axis=1)
    return difference


def central_error(images: Array, reference: NDArray[np.float64]) -> float:
    """Root mean square error in the central quarter of the image, each image's median offset taken off."""
    quarter = SIZE // 4
    middle = slice(quarter, SIZE - quarter)
    difference = (images - reference)[:, middle, middle]
    difference = difference - np.median(difference, axis=(1, 2), keepdims=True)
    return float(np.sqrt(np.square(difference).mean()))


def _region(images: Array, insert: Insert) -> Array:
    y, x = (slice(at - REGION // 2, at + REGION // 2) for at in insert.middle)
    return images[:, y, x]


def _table(rows: Sequence[dict[str, Any]], dose: Dose) -> Table:
    table = Table(title="Error in HU; contrast kept (exact) and AUC of the observer with its 95 % interval, by insert")
    for column in ("method", "setting"):
        table.add_column(column)
    table.add_column("RMSE present / absent", justify="right")
    for insert in dose.inserts:
        table.add_column(f"{insert.contrast:g} HU, {insert.diameter:.0f} px", justify="right")
    for row in rows:
        entries = [
            f"{one['kept']:.0%}, {one['auc']:.2f} [{one['auc_interval'][0]:.2f}, {one['auc_interval'][1]:.2f}]"
            for one in row["inserts"]
        ]
        table.add_row(row["method"], row["setting"], f"{row['rmse_present']:.1f} / {row['rmse_absent']:.1f}", *entries)
    return table
