"""Libraries in an environment of their own: `make test-libraries`. Elsewhere their tests are skipped by name."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from types import ModuleType

import pytest


def _library(name: str, request: pytest.FixtureRequest) -> ModuleType:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{request.node.name} needs {name}: make test-libraries")
    with warnings.catch_warnings():
        # What a library announces while it is loaded is not ours to mend.
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@pytest.fixture
def deepinv(request: pytest.FixtureRequest) -> ModuleType:
    return _library("deepinv", request)


@pytest.fixture
def mrpro(request: pytest.FixtureRequest) -> ModuleType:
    library = _library("mrpro", request)
    _library("mrpro.operators", request)
    return library
