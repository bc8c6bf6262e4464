"""One row per reconstructed slice, in a CSV file that survives being killed.

Long form: every number of a report can be recomputed from these rows, and an interrupted evaluation goes on
where it stopped.
"""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass, fields
from pathlib import Path

from medinr.errors import FileError, OutputExistsError

Key = tuple[str, str, str, int]


@dataclass(frozen=True)
class Score:
    """How one method did on one slice.

    Attributes
    ----------
    task, method : str
        Protocol id of the task; name of the method.
    subject, scan : str
        Pseudonym of the person, and of the scan; averages are per subject.
    slice : int
        Slice number in the volume, from 0.
    psnr, ssim, nrmse, hfen : float
        Whole slice; PSNR in dB.
    psnr_body, ssim_body : float
        Inside the body mask.
    seconds : float
        Wall time of the slice.
    peak_mb : float, optional
        Peak memory in MiB.
    stopped_at : int, optional
        Step at which an iterative method stopped by itself.
    reason : str
        Why it stopped, in words.
    settings_json : str
        Everything needed to repeat the run, as JSON.
    """

    task: str
    method: str
    subject: str
    scan: str
    slice: int
    psnr: float
    ssim: float
    nrmse: float
    hfen: float
    psnr_body: float
    ssim_body: float
    seconds: float
    peak_mb: float | None = None
    stopped_at: int | None = None
    reason: str = ""
    settings_json: str = "{}"

    @property
    def key(self) -> Key:
        """What a row is the only one of: task, method, scan, slice."""
        return self.task, self.method, self.scan, self.slice


COLUMNS = tuple(field.name for field in fields(Score))
_INTEGERS = ("slice", "stopped_at")
_TEXTS = ("task", "method", "subject", "scan", "reason", "settings_json")


class ScoreLog:
    """Scores in a CSV file, appended one by one.

    A row is written with one system call and flushed to the disk, so a killed run loses at most the row it
    was writing; a torn last line is dropped on opening.

    Parameters
    ----------
    path : Path
        Created, with its folders, by the first `add`.

    Raises
    ------
    FileError
        When the file has other columns or an unreadable row before its last.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._scores: dict[Key, Score] = {}
        if path.exists():
            for number, cells in enumerate(_read_complete_lines(path), start=1):
                if number == 1:
                    _check_header(path, cells)
                else:
                    score = _parse(path, number, cells)
                    self._scores[score.key] = score

    @property
    def scores(self) -> tuple[Score, ...]:
        """All rows, in the order of the file."""
        return tuple(self._scores.values())

    def has(self, task: str, method: str, scan: str, slice: int) -> bool:
        """Whether this slice has been scored already."""
        return (task, method, scan, slice) in self._scores

    def add(self, score: Score) -> None:
        """Append a row (raises `OutputExistsError` where the slice has one)."""
        if score.key in self._scores:
            raise OutputExistsError(
                f"{self.path} already has {score.task}, {score.method}, {score.scan}, slice {score.slice}. "
                "Ask has() first, or write to a new file."
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = _line([_text(getattr(score, name)) for name in COLUMNS])
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            if os.fstat(handle).st_size == 0:
                line = _line(COLUMNS) + line
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)
        self._scores[score.key] = score


def _line(cells: list[str] | tuple[str, ...]) -> bytes:
    buffer = io.StringIO()
    # A raw line break inside a cell would make "the last line is torn" undecidable.
    csv.writer(buffer, lineterminator="\n").writerow([" ".join(cell.splitlines()) for cell in cells])
    return buffer.getvalue().encode()


def _text(value: str | float | None) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def _read_complete_lines(path: Path) -> list[list[str]]:
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    if len(complete) < len(content):
        os.truncate(path, len(complete))
    return list(csv.reader(io.StringIO(complete.decode(), newline="")))


def _check_header(path: Path, cells: list[str]) -> None:
    if tuple(cells) != COLUMNS:
        raise FileError(f"{path} has the columns {', '.join(cells)}; a score file has {', '.join(COLUMNS)}.")


def _parse(path: Path, number: int, cells: list[str]) -> Score:
    if len(cells) != len(COLUMNS):
        raise FileError(
            f"{path}, line {number}: {len(cells)} cells; wanted {len(COLUMNS)}. "
            "Delete the line to score that slice anew."
        )
    values: dict[str, str | int | float | None] = {}
    try:
        for name, cell in zip(COLUMNS, cells, strict=True):
            if name in _TEXTS:
                values[name] = cell
            elif cell == "":
                values[name] = None
            else:
                values[name] = int(cell) if name in _INTEGERS else float(cell)
    except ValueError as error:
        raise FileError(f"{path}, line {number}: {error}. Delete the line to score that slice anew.") from error
    return Score(**values)  # type: ignore[arg-type]
