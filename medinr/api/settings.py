"""Settings of a task: those of its configuration file, and what a caller changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from medinr.config import ReconstructConfig
from medinr.config.parse import shipped_settings
from medinr.config.task import merged, task_config
from medinr.errors import ConfigError
from medinr.models.model import RANDOM, Model

#: Changes to a task's configuration, or a whole one.
Settings = Mapping[str, Any] | ReconstructConfig


def task_settings(
    task: str, settings: Settings | None, *, model: str | Model | None, method: str | None, seed: int
) -> ReconstructConfig:
    """Settings of a task.

    Parameters
    ----------
    task : str
        Name of its shipped configuration.
    settings : mapping or ReconstructConfig, optional
    model, method : optional
        In place of the configuration's.
    seed : int

    Raises
    ------
    ConfigError
        On an unknown key, a value of the wrong type, or a configuration of another task.
    """
    if isinstance(settings, ReconstructConfig):
        if settings.task != task:
            raise ConfigError(f"The settings are of task {settings.task}; the data are of task {task}.")
        return replace(settings, model=_name(model) or settings.model, method=method or settings.method, seed=seed)
    shipped, where = shipped_settings(task)
    values = merged(shipped, settings or {})
    values |= {"seed": seed}
    values |= {key: value for key, value in (("model", _name(model)), ("method", method)) if value is not None}
    return task_config(values, where if settings is None else "settings")


def _name(model: str | Model | None) -> str | None:
    if not isinstance(model, Model):
        return model
    return RANDOM if model.card is None else model.card.name
