"""`medinr check-operator`: 0 when every property holds, 1 when one fails, 2 when there is nothing to test."""

import sys
from pathlib import Path

import pytest

GOOD = """
from medinr.operators import Fourier, LinearOperator, Space, from_callable

operator = Fourier((4, 5))
number = 3


class Flip(LinearOperator):
    def __init__(self):
        self.domain = self.range = Space((4, 3))

    def _apply(self, x):
        return x.flip(-1)

    _adjoint = _apply


class Holder:
    inside = Flip()


def make():
    return from_callable(lambda x: x.cumsum(-1), (4, 5), name="Sum")


def wrong():
    return from_callable(lambda x: x.cumsum(-1), (4, 5), adjoint=lambda y: y, name="Wrong")


def almost():
    return from_callable(lambda x: x, (4,), adjoint=lambda y: 1.00001 * y, differentiable=False)


def breaks():
    raise ValueError("no geometry yet")
"""


@pytest.fixture
def scanner(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "my_scanner.py"
    path.write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    # An installed `medinr` does not look into the present folder by itself, as `python -m` does.
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])
    monkeypatch.delitem(sys.modules, "my_scanner", raising=False)
    return path


@pytest.mark.parametrize("name", ["operator", "make", "Flip", "Holder.inside"])
@pytest.mark.parametrize("where", ["my_scanner", "file"])
def test_an_operator_that_holds(medinr, scanner, where, name):
    before = list(sys.path)
    found = medinr("check-operator", f"{scanner if where == 'file' else where}:{name}")
    assert found.code == 0
    assert found.out.splitlines()[-1] == "All properties hold."
    assert found.out.count("holds  ") == 7
    assert found.err == ""
    assert sys.path == before


def test_an_operator_that_does_not(medinr, scanner):
    found = medinr("check-operator", f"{scanner}:wrong")
    assert found.code == 1
    assert found.out.startswith("Wrong: (4, 5) -> (4, 5)\n")
    assert "FAILS  <A x, y> = <x, A.H y> in float64: relative error" in found.out
    assert found.err == ""


def test_seed_and_tolerance(medinr, scanner):
    strict = medinr("check-operator", f"{scanner}:almost")
    assert strict.code == 1
    lenient = medinr("check-operator", f"{scanner}:almost", "--tolerance", "1e-3")
    assert lenient.code == 0
    assert "limit 1e-03" in lenient.out
    assert medinr("check-operator", f"{scanner}:almost", "--tolerance", "1e-3", "--seed", "1").out != lenient.out


@pytest.mark.parametrize("value", ["tight", "0", "-1", "1", "nan"])
def test_a_tolerance_that_is_none(medinr, scanner, value):
    found = medinr("check-operator", f"{scanner}:make", f"--tolerance={value}")
    assert found.code == 2
    assert "is not a number between 0 and 1" in found.err


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("my_scanner", "module:object"),
        ("my_scanner:", "module:object"),
        (":make", "module:object"),
        ("my_scaner:make", "no module 'my_scaner'"),
        ("my_scanner.inner:make", "no module 'my_scanner.inner'"),
        ("nothing.py:make", "nothing.py: no such file"),
        ("my_scanner:nothing", "my_scanner has no 'nothing'; it has Flip, Fourier, Holder"),
        ("my_scanner:number", "my_scanner:number is of type int, not a medinr operator"),
        ("my_scanner:Space", "my_scanner:Space() raises TypeError"),
        ("my_scanner:breaks", "my_scanner:breaks() raises ValueError: no geometry yet"),
        ("broken.py:make", "broken.py raises SyntaxError"),
        ("broken:make", "broken raises SyntaxError"),
        ("needy.py:make", "needy.py raises ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("needy:make", "needy raises ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
    ],
)
def test_nothing_to_test(medinr, scanner, target, words):
    (scanner.parent / "broken.py").write_text("def make(:\n")
    (scanner.parent / "needy.py").write_text("import nowhere_to_be_found\n")
    before = list(sys.path)
    found = medinr("check-operator", target)
    assert found.code == 2
    assert found.out == ""
    assert found.err.startswith("medinr: ")
    assert words in found.err
    assert "Traceback" not in found.err
    assert len(found.err.splitlines()) == 1
    assert sys.path == before


def test_a_file_finds_its_neighbours(medinr, scanner, tmp_path):
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "neighbour_of_mine.py").write_text("shape = (3, 2)\n")
    (folder / "scan.py").write_text(
        "from neighbour_of_mine import shape\nfrom medinr.operators import Identity\nA = Identity(shape)\n"
    )
    found = medinr("check-operator", folder / "scan.py:A")
    assert found.code == 0
    assert found.out.startswith("Identity: (3, 2) -> (3, 2)")
