"""Fixtures for all tests: made-up scans, the shipped excerpts, and the development scans where they exist."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from medinr.jobs.evaluate.results import Results

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same numbers, whichever tests ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    """The module tests/synthetic.py, which importlib mode keeps off the import path."""
    spec = importlib.util.spec_from_file_location("medinr_tests_synthetic", Path(__file__).parent / "synthetic.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def excerpts() -> Path:
    """The folder of shipped excerpts."""
    return ROOT / "data_manifests" / "excerpts"


@pytest.fixture(scope="session")
def manifests() -> Path:
    """The folder of shipped manifests."""
    return ROOT / "data_manifests"


@pytest.fixture
def shared_data(request: pytest.FixtureRequest) -> Path:
    """The development scans beside the checkout; the test is skipped, by name, where they are absent."""
    if not SHARED.is_dir():
        pytest.skip(f"{request.node.name} needs ../shared/data")
    return SHARED


@pytest.fixture(scope="session")
def synthetic_results() -> Callable[..., Results]:
    """Fills a folder with a tiny made-up evaluation: the function of tests/evaluate/synthetic_results.py."""
    path = Path(__file__).parent / "evaluate" / "synthetic_results.py"
    spec = importlib.util.spec_from_file_location("medinr_tests_synthetic_results", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[..., Results] = module.synthetic_results
    return function
