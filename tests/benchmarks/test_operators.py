"""The operators' benchmark compares like with like, and says what it measured."""

import json

import pytest
import torch

from benchmarks import operators
from benchmarks.operator_libraries import Baseline
from benchmarks.operator_rows import Row, rows
from benchmarks.operators import _number, benchmark_operators
from medinr.errors import ConfigError, OutputExistsError

SIZE = 32


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("operators")
    table = benchmark_operators((SIZE,), (1, 3), out, cap=0.001)
    return table, json.loads((out / "operators.json").read_text())


def test_every_baseline_computes_what_medinr_computes(found):
    _, facts = found
    assert {row["operator"]: row["refused"] for row in facts["rows"] if row["refused"]} == {}
    baselines = {name for row in facts["rows"] for name in row["differences"]}
    assert baselines >= {"SciPy", "SigPy", "skimage", "torch grid_sample", "NumPy"}
    for row in facts["rows"]:
        exact = row["operator"] in ("Fourier", "lines, 8 coils", "points, 8 coils") or "PSF" in row["operator"]
        assert all(difference < 1e-5 for difference in row["differences"].values()) or not exact


def test_table_and_file_hold_every_row(found):
    table, facts = found
    assert table.row_count == len(facts["rows"]) == 2 * len(list(rows(SIZE)))
    assert facts["threads"] == torch.get_num_threads()
    for row in facts["rows"]:
        assert set(row["methods"]) == {"medinr", *row["differences"]}
        assert all(entry["seconds"] > 0 for entry in row["methods"].values())
        others = [entry["seconds"] for name, entry in row["methods"].items() if name != "medinr"]
        expected = row["methods"]["medinr"]["seconds"] / min(others) if others else None
        assert row["ratio"] == (expected if expected is None else pytest.approx(expected))


def _row(baseline):
    return Row("double", "forward", lambda n: torch.ones(n, 4), lambda x: 2 * x, {"library": baseline})


def test_a_baseline_that_computes_something_else_is_not_timed():
    entry = operators._entry(_row(Baseline(lambda x: 2.1 * x)), 2, 0.01)
    assert entry["refused"]["library"] == pytest.approx(0.05, rel=1e-3)
    assert set(entry["methods"]) == {"medinr"}
    assert entry["ratio"] is None


def test_a_batch_too_slow_to_time_is_scaled_and_says_so(monkeypatch):
    monkeypatch.setattr(operators, "_once", lambda run, given: 1e-6 * len(given))
    quick = operators._entry(_row(Baseline(lambda x: 2 * x)), 100, 1.0)
    assert quick["methods"]["medinr"]["timed_on"] == 100
    monkeypatch.setattr(operators, "_once", lambda run, given: 0.01 * len(given))
    slow = operators._entry(_row(Baseline(lambda x: 2 * x)), 100, 1.0)
    assert slow["methods"]["library"]["timed_on"] == operators.SAMPLE
    assert slow["methods"]["library"]["extra_bytes"] is None
    assert _number(slow["methods"]["library"], slow["inputs"]).startswith("~")


def test_memory_of_a_call_is_what_it_takes_at_most():
    taken = operators._extra_memory(lambda: torch.ones(2**24).sum())
    if taken is None:
        pytest.skip("the system does not tell")
    assert taken == pytest.approx(2**26, rel=0.1)


def test_impossible_sizes_and_finished_results_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"got \(8,\)"):
        benchmark_operators((8,), (1,), tmp_path)
    (tmp_path / "operators.json").write_text("{}")
    with pytest.raises(OutputExistsError):
        benchmark_operators((SIZE,), (1,), tmp_path)
