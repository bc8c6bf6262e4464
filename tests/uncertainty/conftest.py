"""A family of made-up slices, and the denoiser prior trained on all of it but one."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

_SOURCE = Path(__file__).parent.parent / "solve" / "family.py"


@pytest.fixture(scope="session")
def family() -> Any:
    """What tests/solve/family.py makes, which importlib mode keeps off the import path."""
    spec = importlib.util.spec_from_file_location("medinr_tests_family", _SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.make_family()
