"""The benchmark of damaged inputs from the command line: result, table, and one input again."""

import json


def test_result_table_and_one_input_again(benchmark, tmp_path):
    found = benchmark("fuzz-readers", "--inputs", 30, "--seed", 3, "--workers", 1, "--out", tmp_path)
    assert found.code == 0
    assert "30 damaged inputs, seed 3" in found.out
    result = json.loads((tmp_path / "fuzz.json").read_text())
    assert result["inputs"] == 30
    assert sum(sum(verdicts.values()) for verdicts in result["verdicts"].values()) == 30
    again = benchmark("fuzz-readers", "--only", 7, "--seed", 3, "--out", tmp_path, "--overwrite")
    assert "1 damaged inputs, seed 3" in again.out
