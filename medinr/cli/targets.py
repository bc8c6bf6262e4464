"""``module:object`` and ``path/to/file.py:object``: the user's own operator, imported by name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from medinr.errors import FileError, InputError
from medinr.operators import LinearOperator


def find_operator(target: str) -> LinearOperator:
    """Import what a target names; call it if it is a function or a class.

    Parameters
    ----------
    target : str
        ``module:object`` or ``path/to/file.py:object``; the object may be an attribute of another, ``scan.operator``.
        Modules are searched in the current folder as well.

    Returns
    -------
    LinearOperator

    Raises
    ------
    InputError
        If there is no such module or object, its own code fails, or it is no operator.
    FileError
        If there is no such file.
    """
    where, _, name = target.rpartition(":")
    if not where or not name:
        raise InputError(f"{target!r} is not like module:object or path/to/file.py:object.")
    module = _from_file(Path(where)) if where.endswith(".py") else _from_name(where)
    found: object = module
    try:
        found = reduce(getattr, name.split("."), module)
    except AttributeError as error:
        public = sorted(key for key in vars(module) if not key.startswith("_"))
        raise InputError(f"{where} has no {name!r}; it has {', '.join(public) or 'nothing public'}.") from error
    if not isinstance(found, LinearOperator) and callable(found):
        found = _call(found, target)
    if not isinstance(found, LinearOperator):
        raise InputError(
            f"{target} is of type {type(found).__name__}, not a medinr operator. "
            "medinr.operators.from_callable, from_scipy, from_sigpy and from_deepinv make one of what you have."
        )
    return found


def _from_name(name: str) -> ModuleType:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InputError(
                f"There is no module {name!r} here or installed. A file is given as path/to/file.py:object."
            ) from error
        raise _failed(name, error) from error
    except Exception as error:
        raise _failed(name, error) from error
    finally:
        sys.path.remove(folder)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileError(f"{path}: no such file.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileError(f"{path}: not a Python file.")
    module = importlib.util.module_from_spec(spec)
    # The file may import others in its folder, as when Python runs it.
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _failed(str(path), error) from error
    finally:
        sys.path.remove(folder)
    return module


def _call(function: Any, target: str) -> object:
    try:
        return function()
    except Exception as error:
        raise _failed(f"{target}()", error) from error


def _failed(what: str, error: Exception) -> InputError:
    return InputError(f"{what} raises {type(error).__name__}: {error} (--debug shows where)")
