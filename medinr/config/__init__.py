"""YAML files to frozen, typed settings; an unknown key is an error that names the nearest one."""

from medinr.config.evaluate import EvaluateConfig
from medinr.config.parse import load_config, parse
from medinr.config.schema import ReconstructConfig
from medinr.config.shipped import find_config, find_manifest, shipped
from medinr.config.task import load_task_config

__all__ = [
    "EvaluateConfig",
    "ReconstructConfig",
    "find_config",
    "find_manifest",
    "load_config",
    "load_task_config",
    "parse",
    "shipped",
]
