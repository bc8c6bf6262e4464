"""HDF5 files; only this module uses h5py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from medinr.errors import FileError
from medinr.io.raw.checks import require_room


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open a file for reading; errors of h5py become errors that name the file.

    Raises
    ------
    FileError
        When the file is missing, truncated or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # all of which h5py raises on damage
        if not path.is_file():
            raise FileError(f"{path}: no such file.") from error
        raise FileError(f"{path}: truncated or damaged HDF5 ({_first_words(error)}). Copy it again.") from error


def dataset(file: Any, name: str, path: Path) -> Any:
    """Return a dataset by name.

    Raises
    ------
    FileError
        When there is none; existing datasets are listed.
    """
    found = file.get(name)
    if isinstance(found, h5py.Dataset):
        return found
    raise FileError(f"{path}: there is no dataset {name!r}; the file holds {', '.join(names(file)[:12]) or 'nothing'}.")


def names(file: Any) -> list[str]:
    """List the paths of all datasets in a file or group."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def read(file: Any, name: str, path: Path, rows: list[int] | None = None, axis: int = 0) -> np.ndarray[Any, Any]:
    """Read a numeric dataset, or some rows along one axis, after checking that there is memory for it.

    Raises
    ------
    FileError
        When it is missing, not numeric, or larger than the limit.
    """
    source = dataset(file, name, path)
    shape = list(source.shape)
    if rows is not None:
        if not rows or min(rows) < 0 or max(rows) >= shape[axis]:
            raise FileError(f"{path}, {name}: slices {rows} were asked for; there are 0 to {shape[axis] - 1}.")
        shape[axis] = len(rows)
    require_room(shape, source.dtype.itemsize, f"{path}, {name}")
    if rows is None:
        values = source[()]
    else:
        # h5py wants increasing numbers; the order asked for is restored afterwards.
        ordered = sorted(set(rows))
        values = source[(*([slice(None)] * axis), ordered)]
        values = np.take(values, [ordered.index(row) for row in rows], axis=axis)
    if values.dtype.names in (("r", "i"), ("real", "imag")):
        real, imaginary = (values[part] for part in values.dtype.names)
        values = real + 1j * imaginary
    if values.dtype.kind not in "biufc":
        raise FileError(f"{path}, {name}: holds {values.dtype}, not numbers.")
    return np.asarray(values)


def text(file: Any, name: str) -> str | None:
    """Return a string dataset or attribute, None when there is none; dataset ``[0]`` of an array of strings."""
    holder, _, attribute = name.partition("@")
    source = file.get(holder) if holder else file
    if source is None:
        return None
    value = source.attrs.get(attribute) if attribute else source[()]
    while isinstance(value, np.ndarray):
        if not value.size:
            return None
        value = value.reshape(-1)[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value if value is None else str(value)


def _first_words(error: BaseException) -> str:
    return str(error).strip("'\"").split(" (", 1)[0].strip()[:120] or type(error).__name__
