"""Optional libraries: imported when needed, with an error that names what to install."""

from __future__ import annotations

import importlib
from types import ModuleType

from medinr.errors import LibraryError


def require(module: str, package: str, purpose: str) -> ModuleType:
    """Import an optional library.

    Parameters
    ----------
    module : str
        What to import.
    package : str
        What to install, as pip knows it.
    purpose : str
        What needs it, for the message.

    Returns
    -------
    module

    Raises
    ------
    LibraryError
        If it is not installed; an import error inside the library itself is passed on.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise LibraryError(f"{purpose} needs {package}, which is not installed: pip install {package}") from error
