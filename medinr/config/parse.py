"""Plain YAML mappings to frozen dataclasses, field by field, with errors in the user's terms."""

from __future__ import annotations

import builtins
import difflib
import math
import sys
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from medinr.config.shipped import find_config, shipped
from medinr.errors import ConfigError

T = TypeVar("T")


def load_config(cls: type[T], name: str | Path, overrides: Sequence[str] = (), near: Path | None = None) -> T:
    """Read a YAML configuration.

    Parameters
    ----------
    cls : type
        Dataclass to fill.
    name : str or Path
        A file, or the name of a shipped configuration.
    overrides : sequence of str
        ``key.sub=value`` settings that win over the file.
    near : Path, optional
        Folder that a relative path starts from first.

    Raises
    ------
    ConfigError
        On a missing file, broken YAML, an unknown key or a value of the wrong type.
    """
    return parse(cls, *read_settings(name, overrides, near))


def read_settings(
    name: str | Path, overrides: Sequence[str] = (), near: Path | None = None
) -> tuple[dict[str, Any], str]:
    """Read a YAML file, parameters and errors as of `load_config`: its mapping, and its name for errors."""
    path = find_config(name, near)
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} is not valid YAML: {error}".replace("\n", " ")) from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path.name} holds a {type(values).__name__}; a configuration is a mapping of keys to values."
        )
    for override in overrides:
        _override(values, override)
    return values, path.name


@cache
def shipped_settings(name: str) -> tuple[Mapping[str, Any], str]:
    """Mapping of a shipped file, whatever lies in the present folder, and its name for errors; do not change it."""
    return read_settings(shipped("medinr.configs", "*.yaml")[name])


def _override(values: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign:
        raise ConfigError(f"--set wants KEY=VALUE; got {override!r}.")
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override}: {parent} is a single value and has no keys below it.")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML.") from error


def parse(cls: type[T], values: Mapping[str, Any], where: str, given: Mapping[str, Any] | None = None) -> T:
    """Fill a dataclass from a mapping, descending into nested dataclasses.

    Parameters
    ----------
    cls : type
    values : mapping
    where : str
        For errors.
    given : mapping, optional
        Fields that are ready and not in the mapping.

    Examples
    --------
    >>> from medinr.solve.half_quadratic import PlugAndPlaySettings
    >>> parse(PlugAndPlaySettings, {"iteratoins": 64}, "my.yaml")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    medinr.errors.ConfigError: my.yaml: unknown key 'iteratoins'. Did you mean 'iterations'? ...
    """
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]  # cls is a dataclass
    result = dict(given or {})
    # What is given need not be resolved: its type may stand in a part that is not loaded.
    hints = get_type_hints(cls, localns=_Unloaded(cls) if given else None)
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{where}: unknown key {key!r}.{hint} Known keys: {', '.join(sorted(known))}.")
        result[key] = _convert(hints[key], value, f"{where}: {key}")
    missing = [
        name
        for name, f in known.items()
        if name not in result and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: missing key{'s' if len(missing) > 1 else ''} {', '.join(missing)}.")
    try:
        return cls(**result)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


class _Unloaded(dict[str, Any]):
    """Names that a class's hints mention although their part was not loaded: anything may stand there."""

    def __init__(self, cls: type) -> None:
        super().__init__()
        self._loaded = vars(sys.modules[cls.__module__]).keys() | vars(builtins).keys()

    def __missing__(self, name: str) -> Any:
        if name in self._loaded:
            raise KeyError(name)
        return Any


def _convert(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} wants keys below it; got {value!r}.")
        return parse(kind, value, where)
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ConfigError(f"{where} wants a list; got {value!r}.")
        inner = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(inner) != len(value):
            raise ConfigError(f"{where} wants {len(inner)} values; got {value!r}.")
        return tuple(_convert(a, v, where) for a, v in zip(inner, value, strict=True))
    if kind is float and isinstance(value, str):
        # YAML 1.1 reads 1e5 as text; people mean the number.
        with suppress(ValueError):
            value = float(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where} wants a finite number; got {value}.")
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{where} wants {kind.__name__}; got {value!r}.")
    return value
