"""Settings as they are written into results: with names of files, but not with the folders that they are in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from medinr.io.provenance import last_part


def settings_facts(settings: Any) -> Any:
    """Give settings as plain values in which every path is reduced to its last part.

    A model or a manifest may be given by its path, and folders are called after users, hospitals and patients.

    Parameters
    ----------
    settings : dataclass, mapping, sequence or plain value

    Examples
    --------
    >>> settings_facts({"model": "/home/doe/models/mine.safetensors", "tasks": ("kspace", "own/noise.yaml"), "seed": 0})
    {'model': 'mine.safetensors', 'tasks': ['kspace', 'noise.yaml'], 'seed': 0}
    """
    if is_dataclass(settings) and not isinstance(settings, type):
        settings = asdict(settings)
    if isinstance(settings, Mapping):
        return {key: settings_facts(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [settings_facts(value) for value in settings]
    return last_part(settings) if isinstance(settings, str) else settings
