"""The benchmarks' command line: help, exit codes, and errors in one sentence."""

import pytest

from benchmarks import step
from benchmarks.__main__ import main

BENCHMARKS = (
    *("fit", "step", "volume", "pretrain", "drawdown", "backbones", "trunks", "raw", "operators"),
    *("likeness", "scan-io", "fuzz-readers", "acquired-noise", "spine-repeats", "ct-dose", "ct", "thick-slices"),
)


@pytest.mark.parametrize("name", [*BENCHMARKS, "hashes"])
def test_every_benchmark_has_help(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: python -m benchmarks {name}" in shown
    assert ("--excerpts" if name == "hashes" else "--debug") in shown


def test_the_list_of_benchmarks_is_complete(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    assert set(listed) >= {*BENCHMARKS, "hashes"}


@pytest.mark.parametrize(
    "arguments",
    [[], ["fits"], ["fit", "--seeds", "3"], ["fit", "--count", "0"], ["step", "--model", "brain_mr"], ["hashes"]],
)
def test_wrong_usage_is_bad_input(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m benchmarks")


def test_finished_results_are_bad_input(benchmark, tmp_path):
    (tmp_path / "step.json").write_text("{}")
    found = benchmark("step", "--out", tmp_path)
    assert found.code == 2
    assert "--overwrite" in found.err
    assert "Traceback" not in found.err


def test_failures_are_told_in_a_sentence_unless_debugging(benchmark, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("broken")

    monkeypatch.setattr(step, "benchmark_step", fail)
    found = benchmark("step", "--out", tmp_path)
    assert found.code == 1
    assert "benchmarks failed: RuntimeError: broken" in found.err
    assert "--debug" in found.err
    with pytest.raises(RuntimeError, match="broken"):
        benchmark("step", "--out", tmp_path, "--debug")
