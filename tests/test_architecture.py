"""Who may import whom, and a few habits, read from the source itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted([*ROOT.glob("medinr/**/*.py"), *ROOT.glob("pipelines/**/*.py"), *ROOT.glob("benchmarks/**/*.py")])
PIPELINES = sorted(path for path in ROOT.glob("pipelines/*.py") if path.name != "__init__.py")

#: A part may import parts of a lower layer and itself, never its neighbours in the same layer.
LAYERS = (
    ("errors", "units"),
    ("volume", "tensors", "optimise", "workers", "banded", "precision", "devices"),
    ("measurement", "raw"),
    ("io", "operators", "priors"),
    ("noise",),
    ("data", "solve"),
    ("acquisition", "uncertainty", "network"),
    ("models", "metrics"),
    ("baselines", "figures"),
    ("config",),
    ("jobs",),
    ("report", "api"),
    ("pipelines",),
    ("cli",),
)
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}

#: Libraries that only some files may know of: everything else stays usable without them.
KEEPERS = {
    "monai": ("medinr/data/*.py", "medinr/metrics/conventions.py", "medinr/baselines/unet.py", "benchmarks/*.py"),
    "pydicom": ("medinr/io/dicom/*.py", "medinr/io/dicom/derived/*.py", "benchmarks/*.py"),
    "highdicom": ("medinr/io/dicom/derived/*.py",),
    "dicomanonymizer": ("medinr/io/dicom/derived/*.py",),
    "nibabel": ("medinr/io/nifti/*.py", "medinr/io/images/mgh.py", "medinr/io/dicom/mosaic.py", "benchmarks/*.py"),
    "h5py": ("medinr/io/raw/hdf5.py",),
    "ismrmrd": ("medinr/io/raw/ismrmrd.py", "medinr/io/raw/mrd_*.py"),
    "pymatreader": ("medinr/io/raw/mat.py",),
    "SimpleITK": ("medinr/data/registration.py", "medinr/io/images/itk.py"),
    "algotom": ("medinr/data/raw/views.py",),
    "matplotlib": ("medinr/figures/*.py", "medinr/report/paper_figures.py", "benchmarks/*.py"),
    "sigpy": ("medinr/baselines/*.py", "medinr/operators/adapters/*.py", "benchmarks/operator_libraries.py"),
    "deepinv": ("medinr/operators/adapters/*.py", "benchmarks/operator_libraries.py"),
    "ants": ("medinr/baselines/acquired/*.py",),
    "dipy": ("medinr/baselines/acquired/*.py",),
    "bm3d": ("medinr/baselines/*.py", "medinr/baselines/acquired/*.py"),
    "bm4d": ("medinr/baselines/*.py", "medinr/baselines/acquired/*.py"),
    "astra": ("benchmarks/operator_libraries.py",),
}

#: Packages that nothing of ours may be named after, and that only the checkout has.
OUTSIDE = "benchmarks"

LONGEST = 350
LONGEST_PIPELINE = 120


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _part(path: Path) -> str:
    """The part of the library a file belongs to."""
    relative = path.relative_to(ROOT)
    return relative.parts[0] if relative.parts[0] in ("pipelines", OUTSIDE) else relative.with_suffix("").parts[1]


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_name(path)}:{node.lineno} imports relatively; write the full name."
            if node.module == "medinr":
                yield from ((node.lineno, f"medinr.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module or ""


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_imports_point_downwards(path: Path) -> None:
    mine = _part(path)
    if mine not in RANK:
        assert mine in ("__init__", "__main__", OUTSIDE), f"{mine} has no place in LAYERS yet; give it one."
        return
    assert not any(module.split(".")[0] == OUTSIDE for _, module in _imports(path)), f"{OUTSIDE} is not in the wheel."
    for line, module in _imports(path):
        theirs = module.split(".")[1] if module.startswith("medinr.") else None
        if theirs is None or theirs == mine or theirs not in RANK:
            continue
        assert RANK[theirs] < RANK[mine], f"{_name(path)}:{line}: {mine} must not import {theirs}."


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_libraries_stay_where_they_belong(path: Path) -> None:
    for line, module in _imports(path):
        allowed = KEEPERS.get(module.split(".")[0])
        if allowed is not None:
            here = path.relative_to(ROOT)
            assert any(here.match(pattern) for pattern in allowed), (
                f"{_name(path)}:{line}: {module} belongs in {' and '.join(allowed)}."
            )


def test_layers_name_what_exists_and_all_of_it() -> None:
    parts = {path.stem for path in ROOT.glob("medinr/*.py")} | {
        path.name for path in ROOT.glob("medinr/*") if (path / "__init__.py").is_file()
    }
    assert set(RANK) - {"pipelines"} == parts - {"__init__", "__main__"}


def test_keepers_name_files_that_exist() -> None:
    missing = [pattern for patterns in KEEPERS.values() for pattern in patterns if not list(ROOT.glob(pattern))]
    assert not missing


@pytest.mark.parametrize("path", PIPELINES, ids=_name)
def test_a_pipeline_is_thin_and_stands_alone(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST_PIPELINE, f"{_name(path)} has {lines} lines; leave it the order of the steps."
    for line, module in _imports(path):
        assert not module.startswith("medinr.pipelines"), f"{_name(path)}:{line} imports another pipeline."
        assert module.split(".")[0] not in KEEPERS, f"{_name(path)}:{line} does a library's work itself."


def test_operators_need_torch_alone() -> None:
    paths = [path for path in ROOT.glob("medinr/operators/**/*.py") if "adapters" not in path.parts]
    ours = {module for path in paths for _, module in _imports(path)}
    heavy = {module.split(".")[0] for module in ours} & {"scipy", "skimage", "matplotlib", "yaml", "rich", *KEEPERS}
    assert len(paths) > 40
    assert not heavy, f"medinr.operators imports {', '.join(sorted(heavy))}."


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_files_are_short_and_named_for_an_idea(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST, f"{_name(path)} has {lines} lines; split it into ideas of at most {LONGEST}."
    assert path.stem not in ("utils", "helpers", "util", "misc", "common"), f"{_name(path)}: name it for its idea."


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_nothing_unpickles_evaluates_or_names_a_machine(path: Path) -> None:
    homes = tuple(f"/{folder}/" for folder in ("home", "root", "Users", "work", "mnt", "tmp", "data", "scratch"))
    for node in ast.walk(ast.parse(path.read_text())):
        where = f"{_name(path)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec"), f"{where} calls {node.func.id}()."
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load":
            owner = node.func.value
            assert not (isinstance(owner, ast.Name) and owner.id == "torch"), f"{where}: torch.load unpickles."
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant), where
            assert node.value.value is False, f"{where} allows pickles."
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not node.value.startswith(homes), f"{where} names a folder of one machine: {node.value!r}."
    for line, module in _imports(path):
        assert module.split(".")[0] not in ("pickle", "cPickle", "dill", "joblib"), (
            f"{_name(path)}:{line} imports {module}: loading must never run code."
        )
