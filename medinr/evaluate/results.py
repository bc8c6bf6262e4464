"""What an evaluation leaves in its folder, read back: the table of numbers, the images, and how they came about.

``evaluation.json`` has the settings, ``results.csv`` and ``results.parquet`` the same numbers in long form (one row per
slice, method, region and metric), ``images/`` references and reconstructions, ``measurements/`` what they were made
from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save_file

from medinr.errors import FileError
from medinr.io.atomic import atomic_path, write_json, write_text

FORMAT = "medinr-evaluation-2"

#: What tells one slice of one task from all others.
CELL = ("task", "subject", "session", "contrast", "scan", "slice")

#: What a row is the only one of.
KEY = (*CELL, "method", "seed", "region", "metric")

#: Columns of the table, in their order.
COLUMNS = (*KEY, "value", "seconds", "peak_memory_mb", "stopped_at", "settings_hash", "medinr_version")

#: Parts of a slice that numbers are taken of.
REGIONS = ("slice", "body")

#: Metric of iterative methods: PSNR in dB that the best image on the way had above the one they stopped at.
REGRET = "regret"

_KINDS = {
    "slice": "int64",
    "seed": "int64",
    "value": "float64",
    "seconds": "float64",
    "peak_memory_mb": "float64",
    "stopped_at": "Int64",
}

Images = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Cell:
    """One slice of one task: everything about it but its images and numbers.

    Attributes
    ----------
    cell : str
        ``<task>__<scan>__<slice>``, the name of its files.
    task, subject, session, contrast : str
    slice : int
        In the scan, from 0.
    series_description : str
        What the scan was called, without anything that names a person or a folder.
    spacing : (float, float)
        Pixel spacing (y, x) in mm.
    unit, modality : str
        Of the images.
    peak : float
        Data range of PSNR and SSIM, see `medinr.evaluate.metrics.data_range`.
    curves : mapping of str to mapping
        Per iterative method lists ``seconds``, ``psnr`` in dB (empty where nobody looked) and ``residual``, with
        ``stopped_at`` and ``reason``.
    sampling : mapping
        ``kind`` (lines, points, angles, none) and plain values to draw it with.
    """

    cell: str
    task: str
    subject: str
    session: str
    contrast: str
    slice: int
    series_description: str
    spacing: tuple[float, float]
    unit: str
    modality: str
    peak: float
    curves: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=lambda: {"kind": "none"})

    @property
    def manner(self) -> str:
        """Modality as which its values are judged and shown: attenuation in 1/mm, like a magnitude, starts at 0."""
        return "CT" if self.unit == "HU" else "MR"

    @property
    def scan(self) -> str:
        """Name of the scan in the table."""
        return self.cell.split("__")[1]


@dataclass(frozen=True, eq=False)
class Results:
    """An evaluation's folder, read.

    Attributes
    ----------
    folder : Path
    table : DataFrame
        Columns `COLUMNS`.
    facts : mapping
        ``evaluation.json``.
    """

    folder: Path
    table: pd.DataFrame
    facts: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path | str) -> Results:
        """Read a folder that `medinr evaluate` filled.

        Raises
        ------
        FileError
            When it is none, or the table lacks a column.
        """
        folder = Path(folder)
        facts = read_facts(folder)
        return cls(folder, read_table(folder), facts)

    def cells(self) -> list[Cell]:
        """Every slice that has images, by name."""
        return [read_cell(path) for path in sorted((self.folder / "images").glob("*.safetensors"))]

    def images(self, cell: Cell | str) -> dict[str, NDArray[np.float32]]:
        """Images ``(y, x)`` of a slice: ``reference``, one per method, perhaps ``uncertainty.<method>``."""
        name = cell.cell if isinstance(cell, Cell) else cell
        return read_images(self.folder / "images" / f"{name}.safetensors")


def read_facts(folder: Path) -> dict[str, Any]:
    """Read ``evaluation.json`` (raises `FileError` where there is none of this format)."""
    path = folder / "evaluation.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(
            f"{folder} holds no evaluation that can be read ({type(error).__name__}: {path.name})."
        ) from None
    found = facts.get("format") if isinstance(facts, dict) else None
    if not isinstance(facts, dict) or found != FORMAT:
        raise FileError(f"{path} has format {found!r}; this version reads {FORMAT!r}.")
    return facts


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``evaluation.json``, atomically."""
    write_json(folder / "evaluation.json", {"format": FORMAT, **facts}, overwrite=True)


def read_table(folder: Path) -> pd.DataFrame:
    """Read the table: the CSV file, which says the same as the Parquet file and can be looked at."""
    path = folder / "results.csv"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise FileError(
            f"{path} cannot be read ({error}). Run the evaluation again; it goes on where it stopped."
        ) from None
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise FileError(f"{path} lacks the column {', '.join(missing)}; a table of results has {', '.join(COLUMNS)}.")
    for name in _KINDS:
        # Python reads every digit that was written; the library's own parser rounds the last.
        table[name] = [float(text) if text else float("nan") for text in table[name]]
    return _typed(table)


def make_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Build a table from rows, typed and in one order whatever order they were computed in."""
    table = _typed(pd.DataFrame(rows, columns=list(COLUMNS)))
    return table.sort_values(list(KEY), kind="stable", ignore_index=True)


def write_table(folder: Path, table: pd.DataFrame) -> None:
    """Write ``results.csv`` (every digit) and ``results.parquet``, each atomically."""
    write_text(folder / "results.csv", table.to_csv(index=False, lineterminator="\n"), overwrite=True)
    with atomic_path(folder / "results.parquet", overwrite=True) as partial:
        table.to_parquet(partial, index=False)


def write_cell(folder: Path, cell: Cell, images: Images) -> None:
    """Write a slice's images, float32 ``(y, x)``, with its facts in the header, atomically."""
    facts = asdict(cell) | {"spacing": list(cell.spacing), "curves": dict(cell.curves), "sampling": dict(cell.sampling)}
    with atomic_path(folder / "images" / f"{cell.cell}.safetensors", overwrite=True) as partial:
        tensors = {name: np.ascontiguousarray(image, np.float32) for name, image in images.items()}
        save_file(tensors, partial, metadata={"medinr": json.dumps(facts, sort_keys=True)})
        partial.chmod(0o644)  # the library writes files that only their owner may read


def read_cell(path: Path) -> Cell:
    """Read the facts of a slice without its images (raises `FileError` when damaged)."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            facts = json.loads((file.metadata() or {})["medinr"])
        facts["spacing"] = tuple(facts["spacing"])
        return Cell(**{name: facts[name] for name in (f.name for f in fields(Cell))})
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise FileError(f"{path} is no slice of an evaluation ({type(error).__name__}: {error}).") from None


def read_images(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read the images of a slice (raises `FileError` when damaged)."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    except (OSError, safetensors.SafetensorError) as error:
        raise FileError(f"{path} cannot be read ({error}). Run the evaluation again to make it anew.") from None


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    return table[list(COLUMNS)].astype({name: _KINDS.get(name, "object") for name in COLUMNS})
