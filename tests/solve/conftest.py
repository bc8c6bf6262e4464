"""Modules of this folder, which importlib mode keeps off the import path, and the family of made-up slices."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"medinr_tests_{name}", Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def family() -> Any:
    """A family of made-up slices, and the denoiser prior trained on all of it but one: tests/solve/family.py."""
    return _load("family").make_family()


@pytest.fixture(scope="session")
def dense() -> ModuleType:
    """Small problems as matrices: tests/solve/dense.py."""
    return _load("dense")
