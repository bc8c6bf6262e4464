"""Names, settings and texts use the words of imaging: the private ones that they replaced do not come back."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(path for part in ("medinr", "pipelines", "benchmarks") for path in ROOT.glob(f"{part}/**/*.py"))
SETTINGS = sorted([*ROOT.glob("configs/*.yaml"), *ROOT.glob("benchmarks/*.yaml")])
DOCUMENTS = sorted(
    [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("medinr/**/*.md"), *ROOT.glob("data_manifests/*.md")]
)

#: Parts of names, split at underscores and capitals, that stand for nothing any more; and what stands there now.
WORDS = {
    "turn": "iteration, orientation or rotation",
    "guide": "plug_and_play",
    "imitate": "image_domain",
    "imitation": "image_domain",
    "finish": "refinement",
    "look": "evaluation or check",
    "looks": "evaluations or checks",
    "hear": "auxiliary input",
    "heard": "auxiliary input",
    "listener": "auxiliary_denoiser",
    "hint": "auxiliary channel",
    "companion": "auxiliary scan",
    "exam": "follow_up",
    "contest": "held_out_comparison",
    "earlier": "auxiliary",
    "doubt": "uncertainty",
    "familiarity": "out_of_distribution",
    "surprise": "out_of_distribution_score",
    "crew": "worker_pool",
    "bench": "runner",
    "cell": "case",
    "truth": "reference",
    "naive": "direct",
    "peer": "baseline",
    "taught": "trained",
    "teach": "fit",
    "natural": "kfac",
}

#: Qualified names, and files, in which a word has its ordinary meaning.
ORDINARY = {
    "looks_like_dicom",  # what a file looks like
    "HashGrid.cells",  # of a grid
    "cells",  # of a table, of a grid
    "CELL",
    "hints",  # of types
    "hint",  # in an error message: did you mean
}

#: The same in single files.
ORDINARY_THERE = {"medinr/operators/mr/trajectories.py": {"turns"}}  # of a spiral

#: Whole names that were replaced.
REPLACED = {
    "MeasurementTurn": "DataConsistency",
    "explain_residual": "cgls",
    "denoise_once": "mmse_denoise",
    "LocalPrior": "DenoiserPrior",
    "CompanionPrior": "AuxiliaryScanPrior",
    "wants_stack": "wants_multi_slice",
    "TrunkCard": "ModelCard",
    "find_trunk": "find_model",
    "open_trunk": "load_model_for",
    "shipped_trunks": "shipped_models",
    "PeerSettings": "BaselineSettings",
    "StackTurn": "MultiSliceState",
}

#: In texts, whole words and phrases.
PHRASES = re.compile(
    r"\b(imitat\w+|companions?|listeners?|made-up exams?|contests?|doubts?|familiarity|surprising|surprise|crew|naive|"
    r"peers?|taught|plainest|local priors?|whose word|takes? turns|taking turns|hears|heard|medinr trunks|--trunk|"
    r"medinr benchmark|fit\.guide|fit\.imitation|the truth|earlier exams?)\b",
    re.IGNORECASE,
)


def _parts(name: str) -> set[str]:
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return {form for word in words for form in (word.lower(), word.lower().removesuffix("s"))}


def _names(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of everything that a file defines: modules, classes, functions, parameters, variables, fields."""
    yield 1, path.stem
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every string and docstring of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def _where(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=_where)
def test_names_are_those_of_the_field(path: Path) -> None:
    for line, name in _names(path):
        assert name not in REPLACED, f"{_where(path)}:{line}: {name} is called {REPLACED[name]} now."
        if name in ORDINARY | ORDINARY_THERE.get(_where(path), set()):
            continue
        found = _parts(name) & WORDS.keys()
        assert not found, f"{_where(path)}:{line}: {name}; say {', '.join(WORDS[word] for word in found)}."


@pytest.mark.parametrize("path", SOURCES, ids=_where)
def test_texts_are_plain(path: Path) -> None:
    for line, text in _texts(path):
        found = PHRASES.search(text)
        assert found is None, f"{_where(path)}:{line}: {found[0]!r} in {text[:80]!r}."


@pytest.mark.parametrize("path", [*SETTINGS, *DOCUMENTS], ids=_where)
def test_settings_and_documents_are_plain(path: Path) -> None:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = PHRASES.search(line)
        assert found is None, f"{_where(path)}:{number}: {found[0]!r}."


@pytest.mark.parametrize("path", SETTINGS, ids=_where)
def test_keys_are_those_of_the_field(path: Path) -> None:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        key = re.match(r"\s*([\w-]+):", line)
        found = _parts(key[1]) & WORDS.keys() if key else set()
        assert not found, f"{_where(path)}:{number}: {key[1] if key else ''}."


def test_the_words_are_found_where_they_stand() -> None:
    assert _parts("hear_earlier_exams") & WORDS.keys() == {"hear", "earlier", "exam"}
    assert _parts("LocalGuide") & WORDS.keys() == {"guide"}
    assert not _parts("return_guided_learning_celltype") & WORDS.keys() - {"cell"}
    assert PHRASES.search("The Companions are heard.") is not None
    assert PHRASES.search("companionship of appearing peerless") is None
