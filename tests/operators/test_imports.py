import subprocess
import sys

import pytest

import medinr.operators

HEAVY = (
    "monai",
    "pydicom",
    "nibabel",
    "matplotlib",
    "scipy",
    "skimage",
    "sigpy",
    "deepinv",
    "yaml",
    "rich",
    "finufft",
    "numba",
)


@pytest.fixture(scope="module")
def loaded():
    code = "import sys, medinr.operators; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("package", HEAVY)
def test_operators_need_torch_alone(loaded, package):
    assert "torch" in loaded
    assert package not in loaded


def test_everything_promised_is_there():
    assert all(hasattr(medinr.operators, name) for name in medinr.operators.__all__)
    assert sorted(medinr.operators.__all__) == medinr.operators.__all__
