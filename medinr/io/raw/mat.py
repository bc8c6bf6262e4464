"""MATLAB files (v4 to v7.3) to arrays and nested dictionaries; only this module uses pymatreader."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pymatreader

from medinr.errors import FileError
from medinr.io.raw.checks import require_room
from medinr.io.raw.hdf5 import names, open_hdf5
from medinr.io.raw.recognise import is_hdf5


def variables(path: Path) -> dict[str, tuple[int, ...]]:
    """List the variables of a file and their shapes without loading them.

    Raises
    ------
    FileError
        When the file is missing, truncated or no MATLAB file.
    """
    try:
        return {name: tuple(map(int, shape)) for name, shape, _ in pymatreader.whosmat(path)}
    except Exception as error:  # damaged files raise errors of any type in the parsers
        raise _unreadable(path, error) from error


def read_variable(path: Path, name: str) -> Any:
    """Read one variable: an array in its MATLAB shape, or a dictionary for a struct.

    Raises
    ------
    FileError
        When it is not in the file, too large, or damaged.
    """
    shapes = variables(path)
    if name not in shapes:
        raise FileError(f"{path}: there is no variable {name!r}; the file holds {', '.join(shapes) or 'nothing'}.")
    require_room(shapes[name], 16, f"{path}, {name}")
    if is_hdf5(path):
        # A struct is listed as one value; what it holds declares its own size.
        with open_hdf5(path) as file:
            for inner in names(file):
                if inner.startswith(f"{name}/") and math.prod(file[inner].shape) > 0:
                    require_room(file[inner].shape or (1,), file[inner].dtype.itemsize, f"{path}, {inner}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about MATLAB classes of other variables
            value = pymatreader.read_mat(path, variable_names=[name])[name]
    except Exception as error:  # as above
        raise _unreadable(path, error) from error
    # Singleton axes were squeezed; sidecars refer to the shape that MATLAB shows.
    return value.reshape(shapes[name]) if isinstance(value, np.ndarray) and value.dtype.kind in "biufc" else value


def _unreadable(path: Path, error: Exception) -> FileError:
    if not path.is_file():
        return FileError(f"{path}: no such file.")
    return FileError(f"{path}: truncated or damaged MATLAB file ({type(error).__name__}). Copy or export it again.")
