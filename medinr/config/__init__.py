"""YAML files to frozen, typed settings; an unknown key is an error that names the nearest one."""

from medinr.config.parse import load_config, parse
from medinr.config.schema import EvaluateConfig, PretrainConfig, ReconstructConfig
from medinr.config.shipped import find_config, find_manifest, shipped

__all__ = [
    "EvaluateConfig",
    "PretrainConfig",
    "ReconstructConfig",
    "find_config",
    "find_manifest",
    "load_config",
    "parse",
    "shipped",
]
