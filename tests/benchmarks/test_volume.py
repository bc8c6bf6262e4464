import json

import pytest
from rich.console import Console

from benchmarks.volume import benchmark_volume
from medinr.errors import ConfigError, OutputExistsError


def test_a_volume_is_timed_against_its_slices(scans, models, tmp_path):
    said: list[str] = []
    table = benchmark_volume(scans["kspace"], (0, 1, 2), 24, 2, models["MR"], tmp_path, announce=said.append)
    facts = json.loads((tmp_path / "volume.json").read_text())
    assert said == ["3 slices jointly ...", *(f"slice {row['slice']} alone ..." for row in facts["singles"])]
    assert {row["slice"] for row in facts["singles"]} == {0, 2}
    seconds = [row["seconds"] for row in facts["singles"]]
    assert facts["seconds"]["single"] == pytest.approx(3 * sum(seconds) / 2)
    assert facts["ratio"] == pytest.approx(facts["seconds"]["single"] / facts["seconds"]["joint"])
    assert 5e7 < facts["peak_memory_bytes"] < 3e9
    # The tiny denoiser and trunk are untrained; joint and single are still of one kind.
    assert facts["psnr"]["joint"] == pytest.approx(facts["psnr"]["single"], abs=3)
    console = Console(record=True, width=120)
    console.print(table)
    assert "3 slices of 24 x 24" in console.export_text()
    with pytest.raises(OutputExistsError, match="--overwrite"):
        benchmark_volume(scans["kspace"], (0, 1, 2), 24, 2, models["MR"], tmp_path)


@pytest.mark.parametrize("singles", [0, 3])
def test_singles_are_some_of_the_slices(scans, models, tmp_path, singles):
    with pytest.raises(ConfigError, match=f"got {singles}"):
        benchmark_volume(scans["kspace"], (0, 1), 24, singles, models["MR"], tmp_path)
