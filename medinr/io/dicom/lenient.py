"""Tolerant reading of DICOM: nonconforming values are accepted, damage becomes an error that names the file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom

from medinr.errors import FileError, MedinrError


@contextmanager
def without_validation() -> Iterator[None]:
    """Take values as they are, without pydicom's warnings, which repeat them: they may identify the patient."""
    with pydicom.config.disable_value_validation(), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def leniently(path: Path) -> Iterator[None]:
    """Read a file's tags and pixels without complaints on values that violate their type.

    Such dates and names are common and do not matter here.

    Raises
    ------
    FileError
        For all errors of pydicom or a decoder in a damaged file; medinr's own errors are passed on.
    """
    try:
        with without_validation():
            yield
    except MedinrError:
        raise
    except FileNotFoundError as error:
        raise FileError(f"{path}: no such file.") from error
    except Exception as error:
        # Damage causes errors of many types: EOFError, struct.error, zlib.error, KeyError, NotImplementedError.
        raise FileError(f"{path}: the DICOM file is damaged or cut short. Copy or export it again.") from error
