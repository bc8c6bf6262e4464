"""Fixtures of the case tables, which compare scans with independent readers."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def cases() -> ModuleType:
    """The module tests/io/case_table.py, which importlib mode keeps off the import path."""
    spec = importlib.util.spec_from_file_location("medinr_tests_case_table", Path(__file__).parent / "case_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest, cases: ModuleType) -> Iterator[list[tuple[str, ...]]]:
    """Rows of a table that is printed when the tests of a file are done.

    It goes past pytest's capturing, to the stream that worker processes share with their parent.
    """
    rows: list[tuple[str, ...]] = []
    yield rows
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        sys.stderr.write(f"\n{cases.lines(rows)}\n")
