"""Results in the folder of an evaluation: the table of numbers, the images and the settings.

``evaluation.json`` has the settings, ``results.csv`` and ``results.parquet`` the same numbers in long form (one row per
slice, method, region and metric), ``images/`` references and reconstructions, ``measurements/`` the measurements.
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

#: Columns that identify one slice of one task.
CASE = ("task", "subject", "session", "contrast", "scan", "slice")

#: Columns that identify a row.
KEY = (*CASE, "method", "seed", "region", "metric")

#: Columns of the table, in their order.
COLUMNS = (*KEY, "value", "seconds", "peak_memory_mb", "stopped_at", "settings_hash", "medinr_version")

#: Parts of a slice in which metrics are computed.
REGIONS = ("slice", "body")

#: Metric of iterative methods: PSNR in dB of the best intermediate image above that of the result.
REGRET = "regret"

#: Metrics of a measurement: what the image leaves unexplained in units of its noise (1: as much as its noise), and what
#: an image of so many degrees of freedom leaves where the model is right (`Solution.expected_residual`).
RESIDUAL, EXPECTED_RESIDUAL = "residual", "expected_residual"

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
class Case:
    """One slice of one task, without its images and scores.

    Attributes
    ----------
    case : str
        ``<task>__<scan>__<slice>``, the name of its files.
    task, subject, session, contrast : str
    slice : int
        In the scan, from 0.
    series_description : str
        Name of the scan, without anything that identifies a person or a folder.
    spacing : (float, float)
        Pixel spacing (y, x) in mm.
    unit, modality : str
        Of the images.
    peak : float
        Data range of PSNR and SSIM, see `medinr.metrics.image_quality.data_range`.
    curves : mapping of str to mapping
        Per iterative method lists ``seconds``, ``psnr`` in dB (empty where it was not recorded) and ``residual``, with
        ``stopped_at`` and ``reason``.
    sampling : mapping
        ``kind`` (lines, points, angles, none) and plain values from which it is drawn.
    findings : tuple of mapping
        What the scan went through before it came here: ``code``, ``severity``, ``words`` and ``meaning`` of each
        (`medinr.jobs.audit`).
    reference_noise : mapping of str to float
        Variance of the reference's own noise in ``slice`` and ``body``, which is taken off the squared error; empty
        where it is not known. Of a mean of repeats also the ``coils`` of the noise whose bias it keeps (0: none).
    uncorrected : str
        Why nothing is taken off though the reference is an MR scan, in words; empty elsewhere.
    """

    case: str
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
    findings: tuple[Mapping[str, str], ...] = ()
    reference_noise: Mapping[str, float] = field(default_factory=dict)
    uncorrected: str = ""

    @property
    def metric_modality(self) -> str:
        """Modality whose metrics and grey scale apply: attenuation in 1/mm starts at 0, as magnitudes of MR do."""
        return "CT" if self.unit == "HU" else "MR"

    @property
    def scan(self) -> str:
        """Name of the scan in the table."""
        return self.case.split("__")[1]


@dataclass(frozen=True, eq=False)
class Results:
    """The content of an evaluation's folder.

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

    def cases(self) -> list[Case]:
        """Every slice that has images, by name."""
        return [read_case(path) for path in sorted((self.folder / "images").glob("*.safetensors"))]

    def images(self, case: Case | str) -> dict[str, NDArray[np.float32]]:
        """Images ``(y, x)`` of a slice: ``reference``, one per method, and ``uncertainty.<method>`` if there is one."""
        name = case.case if isinstance(case, Case) else case
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
    """Read the table from the CSV file, which has the same content as the Parquet file."""
    path = folder / "results.csv"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise FileError(
            f"{path} cannot be read ({error}). Run the evaluation again; it continues where it stopped."
        ) from None
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise FileError(f"{path} lacks the column {', '.join(missing)}; a table of results has {', '.join(COLUMNS)}.")
    for name in _KINDS:
        # Python reads every digit that was written; pandas' parser rounds the last.
        table[name] = [float(text) if text else float("nan") for text in table[name]]
    return _typed(table)


def make_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Build a table from rows, typed and sorted."""
    table = _typed(pd.DataFrame(rows, columns=list(COLUMNS)))
    return table.sort_values(list(KEY), kind="stable", ignore_index=True)


def write_table(folder: Path, table: pd.DataFrame) -> None:
    """Write ``results.csv`` (every digit) and ``results.parquet``, each atomically."""
    write_text(folder / "results.csv", table.to_csv(index=False, lineterminator="\n"), overwrite=True)
    with atomic_path(folder / "results.parquet", overwrite=True) as partial:
        table.to_parquet(partial, index=False)


def write_case(folder: Path, case: Case, images: Images) -> None:
    """Write a slice's images, float32 ``(y, x)``, with its facts in the header, atomically."""
    facts = asdict(case) | {"spacing": list(case.spacing), "curves": dict(case.curves), "sampling": dict(case.sampling)}
    with atomic_path(folder / "images" / f"{case.case}.safetensors", overwrite=True) as partial:
        tensors = {name: np.ascontiguousarray(image, np.float32) for name, image in images.items()}
        save_file(tensors, partial, metadata={"medinr": json.dumps(facts, sort_keys=True)})


def read_case(path: Path) -> Case:
    """Read the facts of a slice without its images (raises `FileError` when damaged)."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            facts = json.loads((file.metadata() or {})["medinr"])
        facts["spacing"] = tuple(facts["spacing"])
        # Absent from slices written before scans were audited.
        facts["findings"] = tuple(facts.get("findings", ()))
        # And from those written before the noise of references was known.
        facts.setdefault("reference_noise", {})
        facts.setdefault("uncorrected", "")
        return Case(**{name: facts[name] for name in (f.name for f in fields(Case))})
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
