"""Reconstruction of CT and MR scans with what was learned from a handful of others.

The names below are loaded when they are first used::

    import medinr as mi

    solution = mi.reconstruct(kspace, spacing=(0.9, 0.9), model="brain_mr")
    solution.array, solution.residual, solution.reason
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medinr import errors as errors
    from medinr import metrics as metrics
    from medinr import operators as operators
    from medinr.api.reconstruct import reconstruct as reconstruct
    from medinr.api.scan import denoise as denoise
    from medinr.api.scan import superres as superres
    from medinr.api.simulate import simulate as simulate
    from medinr.config import load_task_config as load_settings
    from medinr.data.reader import MedinrReader as MedinrReader
    from medinr.io.dicom.derived.write import write_derived_series as save_dicom
    from medinr.io.dicom.series import list_series as list_series
    from medinr.io.measurement import read_measurement as load_measurement
    from medinr.io.measurement import write_measurement as save_measurement
    from medinr.io.nifti import write_nifti as save_scan
    from medinr.io.raw.read import read_raw as load_raw
    from medinr.io.scan import read_scan as load_scan
    from medinr.io.scan import read_volumes as load_volumes
    from medinr.measurement import Measurement as Measurement
    from medinr.models.checkpoint import load_model as load_model
    from medinr.models.checkpoint import shipped_models as shipped_models
    from medinr.models.model import Model as Model
    from medinr.operators import operator_report as check_operator
    from medinr.raw import RawMeasurement as RawMeasurement
    from medinr.solve.problem import Problem as Problem
    from medinr.solve.solution import Solution as Solution
    from medinr.volume import Volume as Volume

#: Where each name is, and what it is called there.
_NAMES = {
    "Measurement": ("medinr.measurement", "Measurement"),
    "MedinrReader": ("medinr.data.reader", "MedinrReader"),
    "Model": ("medinr.models.model", "Model"),
    "Problem": ("medinr.solve.problem", "Problem"),
    "RawMeasurement": ("medinr.raw", "RawMeasurement"),
    "Solution": ("medinr.solve.solution", "Solution"),
    "Volume": ("medinr.volume", "Volume"),
    "check_operator": ("medinr.operators", "operator_report"),
    "denoise": ("medinr.api.scan", "denoise"),
    "errors": ("medinr.errors", ""),
    "load_measurement": ("medinr.io.measurement", "read_measurement"),
    "load_model": ("medinr.models.checkpoint", "load_model"),
    "load_raw": ("medinr.io.raw.read", "read_raw"),
    "load_scan": ("medinr.io.scan", "read_scan"),
    "list_series": ("medinr.io.dicom.series", "list_series"),
    "load_settings": ("medinr.config", "load_task_config"),
    "load_volumes": ("medinr.io.scan", "read_volumes"),
    "metrics": ("medinr.metrics", ""),
    "operators": ("medinr.operators", ""),
    "reconstruct": ("medinr.api.reconstruct", "reconstruct"),
    "save_dicom": ("medinr.io.dicom.derived.write", "write_derived_series"),
    "save_measurement": ("medinr.io.measurement", "write_measurement"),
    "save_scan": ("medinr.io.nifti", "write_nifti"),
    "shipped_models": ("medinr.models.checkpoint", "shipped_models"),
    "simulate": ("medinr.api.simulate", "simulate"),
    "superres": ("medinr.api.scan", "superres"),
}

__all__ = [
    "Measurement",
    "MedinrReader",
    "Model",
    "Problem",
    "RawMeasurement",
    "Solution",
    "Volume",
    "__version__",
    "check_operator",
    "denoise",
    "errors",
    "list_series",
    "load_measurement",
    "load_model",
    "load_raw",
    "load_scan",
    "load_settings",
    "load_volumes",
    "metrics",
    "operators",
    "reconstruct",
    "save_dicom",
    "save_measurement",
    "save_scan",
    "shipped_models",
    "simulate",
    "superres",
]

__version__: str


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        found: Any = version("medinr")
    elif name in _NAMES:
        module, attribute = _NAMES[name]
        found = import_module(module)
        found = getattr(found, attribute) if attribute else found
    else:
        raise AttributeError(f"module 'medinr' has no attribute {name!r}; it has {', '.join(__all__)}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
