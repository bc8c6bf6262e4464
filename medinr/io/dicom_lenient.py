"""Reading DICOM as scanners write it: odd values pass, damage becomes one sentence that names the file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom

from medinr.errors import FileError, MedinrError


@contextmanager
def leniently(path: Path) -> Iterator[None]:
    """Read a file's tags and pixels without pydicom's opinion on values that break their type's rules.

    Odd dates and over-long names are common and none of our business, and pydicom's warnings repeat the values,
    which may name the patient.

    Raises
    ------
    FileError
        For whatever pydicom or a decoder meets in a damaged file; medinr's own errors pass as they are.
    """
    try:
        with pydicom.config.disable_value_validation(), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except MedinrError:
        raise
    except FileNotFoundError as error:
        raise FileError(f"{path}: no such file.") from error
    except Exception as error:
        # Damage shows as errors of many kinds: EOFError, struct.error, zlib.error, KeyError, NotImplementedError.
        raise FileError(f"{path}: the DICOM file is damaged or cut short. Copy or export it again.") from error
