"""Libraries that live in an environment of their own: `make test-peers`. Elsewhere their tests are skipped by name."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from types import ModuleType

import pytest


def _peer(name: str, request: pytest.FixtureRequest) -> ModuleType:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{request.node.name} needs {name}: make test-peers")
    with warnings.catch_warnings():
        # What a library announces while it is loaded is not ours to mend.
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@pytest.fixture
def deepinv(request: pytest.FixtureRequest) -> ModuleType:
    return _peer("deepinv", request)


@pytest.fixture
def mrpro(request: pytest.FixtureRequest) -> ModuleType:
    library = _peer("mrpro", request)
    _peer("mrpro.operators", request)
    return library
