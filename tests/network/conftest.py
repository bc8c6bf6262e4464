"""A family of made-up slices, and the trunk and denoiser prior pretrained on all of it but one."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medinr.network.coordinates import plane_coordinates
from medinr.network.pretraining import PretrainSettings, pretrain
from medinr.network.trunk import TrunkSettings

_SOURCE = Path(__file__).parent.parent / "solve" / "family.py"


@pytest.fixture(scope="session")
def family() -> Any:
    """What tests/solve/family.py makes, which importlib mode keeps off the import path, and a trunk."""
    spec = importlib.util.spec_from_file_location("medinr_tests_family", _SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    family, shape = module.make_family(), (module.SIZE, module.SIZE)
    points = plane_coordinates(shape, (1.0, 1.0), family.length_scale)
    architecture = TrunkSettings(width=64, depth=3, omega=10.0)
    trunk = pretrain(family.members, points, PretrainSettings(steps=120, architecture=architecture)).trunk
    return replace(family, trunk=trunk)
