"""The configuration of a reconstruction, from the files it stands in: the task's, baselines and, if wanted, network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medinr.acquisition.ways import acquisition_class
from medinr.config.parse import parse, read_settings, shipped_settings
from medinr.config.schema import DEFAULT_METHOD, BaselineSettings, ReconstructConfig
from medinr.errors import ConfigError

if TYPE_CHECKING:
    from medinr.network.settings import NetworkSettings

#: Shipped files with the settings of baselines and networks.
BASELINES, NETWORK = "baselines", "network"


def load_task_config(
    name: str | Path,
    overrides: Sequence[str] = (),
    *,
    near: Path | None = None,
    method: str | None = None,
    model: str | None = None,
) -> ReconstructConfig:
    """Read the configuration of a task.

    Parameters
    ----------
    name : str or Path
        A file, or the name of a shipped configuration, such as ``kspace``.
    overrides : sequence of str
        ``key.sub=value`` settings that win over the files.
    near : Path, optional
        Folder that a relative path starts from first.
    method, model : str, optional
        In place of the configuration's.

    Returns
    -------
    ReconstructConfig

    Raises
    ------
    ConfigError
        On a missing file, broken YAML, an unknown key or a value of the wrong type.
    """
    values, where = read_settings(name, overrides, near)
    values |= {key: value for key, value in (("method", method), ("model", model)) if value is not None}
    return task_config(values, where)


def task_config(values: Mapping[str, Any], where: str) -> ReconstructConfig:
    """Fill a configuration from the mapping of a task's file; ``where`` is for errors."""
    given: dict[str, Any] = {}
    rest = {key: value for key, value in values.items() if key not in ("simulation", "baselines", "network")}
    task = rest.get("task")
    if isinstance(task, str):
        try:
            kind = acquisition_class(task)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
        given["simulation"] = parse(kind.Simulation, _section(values, "simulation", where), f"{where}: simulation")
        given["baselines"] = _baselines(task, _section(values, "baselines", where), where)
    if str(rest.get("method", "")).lower() == "medinr":
        # What an evaluation calls the toolkit's own way.
        rest["method"] = DEFAULT_METHOD
    method = str(rest.get("method", DEFAULT_METHOD)).lower()
    changes = _section(values, "network", where)
    given["network"] = network_settings(method, task if isinstance(task, str) else "", changes, where)
    return parse(ReconstructConfig, rest, where, given)


def network_settings(
    method: str, task: str = "", changes: Mapping[str, Any] | None = None, where: str = "network"
) -> NetworkSettings | None:
    """Read the settings of a network's fit from ``network.yaml``; None for methods that fit none.

    Parameters
    ----------
    method : str
        In small letters.
    task : str
    changes : mapping, optional
        What wins over the file.
    where : str
        For errors.
    """
    shipped, name = shipped_settings(NETWORK)
    if method not in shipped:
        if changes:
            raise ConfigError(
                f"{where}: settings of a network were given, and method {method} fits none. Choose one that does: "
                f"{', '.join(f'--method {known}' for known in shipped)}"
            )
        return None
    # Only here, so that reconstructions without a network do not load its part.
    from medinr.network.settings import NetworkSettings

    settings = dict(shipped[method])
    by_task = settings.pop("tasks", {})
    parse(NetworkSettings, changes or {}, f"{where}: network")
    return parse(NetworkSettings, merged(merged(settings, by_task.get(task, {})), changes or {}), name)


def _baselines(task: str, changes: Mapping[str, Any], where: str) -> BaselineSettings:
    shipped, name = shipped_settings(BASELINES)
    parse(BaselineSettings, changes, f"{where}: baselines")
    return parse(BaselineSettings, {**shipped["all"], **shipped.get(task, {}), **changes}, name)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of one mapping, where the other has none of its own.

    Examples
    --------
    >>> merged({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 4}})
    {'a': 1, 'b': {'c': 4, 'd': 3}}
    """
    found = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = merged(found[key], value) if both else value
    return found


def _section(values: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    section = values.get(key, {})
    if not isinstance(section, Mapping):
        raise ConfigError(f"{where}: {key} wants keys below it; got {section!r}.")
    return section
