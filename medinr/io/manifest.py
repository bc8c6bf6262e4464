"""Manifests: scans with their subject, split, hash and licence.

A manifest is a CSV file with one scan a row; data_manifests/README.md describes the columns for users.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from medinr.errors import FileError, ManifestError
from medinr.io.atomic import write_text
from medinr.io.hashes import combine_hashes, hash_file, hash_scan

SPLITS = ("train", "validation", "devtest", "test")
MODALITIES = ("MR", "CT")


@dataclass(frozen=True)
class ManifestRow:
    """One scan of a manifest.

    Attributes
    ----------
    path : str
        File or DICOM folder, relative to the manifest's folder, with forward slashes; ``..`` is allowed.
    sha256 : str
        `scan_hash` of it: 64 hexadecimal digits.
    subject, session : str
        Code of the person, public or invented, and of the visit (may be empty). Never a patient's name or number.
    modality : {"MR", "CT"}
    contrast : str
        Such as FLAIR, T1, T2; empty for CT.
    split : {"train", "validation", "devtest", "test"}
        All rows of a subject have the same.
    licence : str
        Under which the scan may be used, such as "CC BY 4.0".
    slices : str
        Slices to use: ``start:stop:step`` as in Python, or numbers such as ``3 8 13``; empty means all.
    sidecar : str
        Of raw data: facts that the file lacks (`medinr.io.raw.sidecar`), as a file relative to the manifest's folder;
        empty if there is none.
    series : str
        Where `path` holds several DICOM series: the number of the one that is meant, from 1, as `medinr inspect` counts
        them. Empty elsewhere.
    """

    path: str
    sha256: str
    subject: str
    session: str
    modality: str
    contrast: str
    split: str
    licence: str
    slices: str = ""
    sidecar: str = ""
    series: str = ""

    def __post_init__(self) -> None:
        for name in ("path", "sha256", "subject", "modality", "split", "licence"):
            if not getattr(self, name):
                raise ManifestError(f"column {name!r} is empty; every row needs it.")
        if self.path != self.path.strip():
            raise ManifestError(f"path {self.path!r} begins or ends with a space, which is lost in a table. Rename it.")
        if self.series and not (self.series.isdecimal() and self.series.isascii() and int(self.series)):
            raise ManifestError(f"series {self.series!r} is not a whole number of 1 or more.")
        for name in ("path", "sidecar"):
            path = getattr(self, name)
            if Path(path).is_absolute() or "\\" in path:
                raise ManifestError(
                    f"{name} {path!r} is valid on one machine only. Write it relative to the manifest's folder, "
                    "with forward slashes."
                )
        if len(self.sha256) != 64 or not set(self.sha256) <= set("0123456789abcdef"):
            raise ManifestError(f"sha256 {self.sha256[:12]!r}... is not 64 lower-case hexadecimal digits.")
        if self.modality not in MODALITIES:
            raise ManifestError(f"modality {self.modality!r} is not one of {', '.join(MODALITIES)}.")
        if self.split not in SPLITS:
            raise ManifestError(f"split {self.split!r} is not one of {', '.join(SPLITS)}.")
        _parse_slices(self.slices)

    @property
    def series_number(self) -> int | None:
        """Which series of `path`, from 1, for `medinr.io.scan.read_scan`; None where there is one only."""
        return int(self.series) if self.series else None

    @property
    def name(self) -> str:
        """Path, with the series where it holds several, for messages."""
        return f"{self.path}, series {self.series}" if self.series else self.path

    def slice_numbers(self, count: int) -> tuple[int, ...]:
        """Return the numbers of the slices to use, counted from 0.

        Parameters
        ----------
        count : int
            Slices in the scan.

        Raises
        ------
        ManifestError
            When no slice, or one outside the scan, is asked for.

        Examples
        --------
        >>> ManifestRow("a.nii", "0" * 64, "s1", "", "MR", "T1", "train", "CC0", "18:26:2").slice_numbers(40)
        (18, 20, 22, 24)
        """
        chosen = _parse_slices(self.slices)
        numbers = tuple(range(count))[chosen] if isinstance(chosen, slice) else chosen
        if not numbers or max(numbers) >= count:
            raise ManifestError(f"{self.path}: slices {self.slices!r} do not fit a scan with slices 0 to {count - 1}.")
        return numbers


COLUMNS = tuple(field.name for field in fields(ManifestRow))

#: Columns that a manifest may lack; all but `slices` are written only where they are used.
_OPTIONAL = ("slices", "sidecar", "series")


def scan_hash(path: Path | str, series: int | None = None) -> str:
    """Return the hash of a scan, or of one series where a folder or file holds several.

    Parameters
    ----------
    path : Path or str
    series : int, optional
        From 1; the files of that series alone count.

    Raises
    ------
    FileError
        When there is no scan at `path`, or no such series.
    """
    if series is None:
        return hash_scan(path)
    from medinr.io.dicom.series import list_series

    found = {one.number: one.frames for one in list_series(path).series}
    if series not in found:
        raise FileError(f"{path}: series {series} was asked for; there are {len(found)}.")
    return combine_hashes(hash_file(file) for file in dict.fromkeys(frame.path for frame in found[series]))


@dataclass(frozen=True)
class Manifest:
    """Rows, and the folder to which their paths are relative.

    Raises
    ------
    ManifestError
        When one subject is in two splits: slices of one person in both would bias any result.
    """

    rows: tuple[ManifestRow, ...]
    root: Path

    def __post_init__(self) -> None:
        for subject, splits in subjects_in_several_splits(self.rows).items():
            raise ManifestError(
                f"subject {subject!r} is in both {splits[0]!r} and {splits[1]!r}. "
                "Split by subject: move all rows of a subject to one split."
            )

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[ManifestRow]:
        return iter(self.rows)

    def resolve(self, row: ManifestRow) -> Path:
        """Return the path of the row's file or folder, from the folder of the manifest."""
        return self.root / row.path

    def sidecar_of(self, row: ManifestRow) -> Path | None:
        """Return the path of the sidecar of the row's raw data; None if it has none."""
        return self.root / row.sidecar if row.sidecar else None

    def select(
        self,
        *,
        split: str | None = None,
        modality: str | None = None,
        contrast: str | Sequence[str] | None = None,
        subject: str | None = None,
    ) -> Manifest:
        """Keep the rows that match; criteria that are None are ignored. May be empty.

        Examples
        --------
        >>> Manifest((), Path()).select(split="train", contrast=("T1", "FLAIR"))
        Manifest(rows=(), root=PosixPath('.'))
        """
        contrasts = (contrast,) if isinstance(contrast, str) else contrast
        rows = (
            row
            for row in self.rows
            if split in (None, row.split)
            and modality in (None, row.modality)
            and subject in (None, row.subject)
            and (contrasts is None or row.contrast in contrasts)
        )
        return Manifest(tuple(rows), self.root)

    def verify(self, row: ManifestRow) -> Path:
        """Return the row's path after checking its hash.

        Raises
        ------
        ManifestError
            When it is missing or its hash differs.
        """
        path = self.resolve(row)
        if not path.exists():
            raise ManifestError(
                f"{path}: this scan of subject {row.subject} is missing. Get it from the source named "
                "in README.md next to the manifest, or use the excerpts that ship with medinr."
            )
        found = scan_hash(path, row.series_number)
        if found != row.sha256:
            raise ManifestError(
                f"{path}: SHA-256 is {found[:12]}..., the manifest says {row.sha256[:12]}.... "
                "The file differs from the one described: copy it again, or correct the manifest."
            )
        return path


def subjects_in_several_splits(rows: Iterable[ManifestRow]) -> dict[str, tuple[str, ...]]:
    """Return the subjects whose rows are in more than one split, with those splits in the order of the rows."""
    splits: dict[str, dict[str, None]] = {}
    for row in rows:
        splits.setdefault(row.subject, {})[row.split] = None
    return {subject: tuple(found) for subject, found in splits.items() if len(found) > 1}


def read_manifest(path: Path | str) -> Manifest:
    """Read and check a manifest; the scans themselves are not touched (see `Manifest.verify`).

    Raises
    ------
    ManifestError
        Naming the row, and the nearest known column for a column that is unknown.
    """
    path = Path(path)
    rows = read_rows(path)
    try:
        return Manifest(rows, path.parent)
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from error


def read_rows(path: Path | str) -> tuple[ManifestRow, ...]:
    """Read the rows of a manifest, each checked on its own: one subject may still be in several splits.

    Raises
    ------
    ManifestError
        As `read_manifest`.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ManifestError(f"{path}: the manifest cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text; a manifest is a CSV file.") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    _check_columns(path, reader.fieldnames or ())
    rows: list[ManifestRow] = []
    first_line: dict[tuple[str, str], int] = {}
    for record in reader:
        line = reader.line_num
        values = {name: value.strip() for name, value in record.items() if isinstance(value, str) and name}
        if len(values) != len(record):
            raise ManifestError(
                f"{path}, line {line}: {len(values)} values for {len(reader.fieldnames or ())} columns."
            )
        try:
            row = ManifestRow(**values)
        except ManifestError as error:
            raise ManifestError(f"{path}, line {line}: {error}") from error
        scan = row.path, row.series
        if scan in first_line:
            raise ManifestError(f"{path}, line {line}: {row.name} is on line {first_line[scan]} already.")
        first_line[scan] = line
        rows.append(row)
    return tuple(rows)


def write_manifest(manifest: Manifest, path: Path | str, overwrite: bool = False) -> Path:
    """Write the rows as CSV, atomically; paths must already be relative to the new file's folder.

    Raises
    ------
    OutputExistsError
        When the file exists and `overwrite` is not set.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rare = _OPTIONAL[1:]
    columns = [name for name in COLUMNS if name not in rare or any(getattr(row, name) for row in manifest.rows)]
    writer.writerow(columns)
    writer.writerows([getattr(row, name) for name in columns] for row in manifest.rows)
    return write_text(path, text.getvalue(), overwrite)


def _check_columns(path: Path, found: Sequence[str]) -> None:
    for name in found:
        if name not in COLUMNS:
            near = difflib.get_close_matches(name, COLUMNS, n=1, cutoff=0.5)
            suggestion = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(COLUMNS)}."
            raise ManifestError(f"{path}: unknown column {name!r}; {suggestion}")
    missing = [name for name in COLUMNS if name not in found and name not in _OPTIONAL]
    if missing:
        raise ManifestError(f"{path}: column {', '.join(missing)} is missing; a manifest has {', '.join(COLUMNS)}.")
    if len(set(found)) < len(found):
        raise ManifestError(f"{path}: a column is named twice in the first line.")


def _parse_slices(text: str) -> slice | tuple[int, ...]:
    try:
        if not text:
            return slice(None)
        if ":" in text:
            parts = [int(part) if part else None for part in text.split(":")]
            if len(parts) <= 3 and all(part is None or part >= 0 for part in parts) and parts[2:] != [0]:
                return slice(*parts)
        else:
            numbers = tuple(int(part) for part in text.split())
            if all(a < b for a, b in zip((-1, *numbers), numbers, strict=False)):
                return numbers
    except ValueError:
        pass
    raise ManifestError(f"slices {text!r} is neither start:stop:step nor increasing numbers such as '3 8 13'.")
