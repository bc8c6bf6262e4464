"""Every way of measuring by name: the classes that stand in this folder's files, and those that were defined since."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache

import medinr.acquisition
from medinr.acquisition.base import Acquisition
from medinr.errors import ConfigError
from medinr.measurement import Measurement


@cache
def _load_files() -> None:
    for module in pkgutil.iter_modules(medinr.acquisition.__path__):
        importlib.import_module(f"medinr.acquisition.{module.name}")


def _below(kind: type[Acquisition]) -> Iterator[type[Acquisition]]:
    for found in kind.__subclasses__():
        yield found
        yield from _below(found)


def acquisitions() -> Mapping[str, type[Acquisition]]:
    """Find the classes, in the order of their tasks' names; of several that name one task the first stays.

    Examples
    --------
    >>> list(acquisitions())
    ['acquired', 'acquired_ct', 'acquired_repeats', 'acquired_thick', 'ct', 'denoise', 'kspace', 'superres']
    """
    _load_files()
    found: dict[str, type[Acquisition]] = {}
    for kind in _below(Acquisition):  # type: ignore[type-abstract]  # its subclasses are wanted
        if "task" in vars(kind):
            found.setdefault(kind.task, kind)
    return dict(sorted(found.items()))


def acquisition_class(task: str) -> type[Acquisition]:
    """Find the class of a task (raises `ConfigError` when there is none)."""
    known = acquisitions()
    if task not in known:
        raise ConfigError(f"Task {task!r} is not one of {', '.join(known)}.")
    return known[task]


def acquisition_of(measurement: Measurement) -> Acquisition:
    """Explain a measurement: its operator, noise and direct image."""
    return acquisition_class(measurement.task)(measurement)
