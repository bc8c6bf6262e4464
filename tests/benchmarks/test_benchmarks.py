import json

import numpy as np
import pytest
import torch

from benchmarks import fit as fitting
from benchmarks.__main__ import main
from benchmarks.drawdown import benchmark_drawdown, drawdown
from benchmarks.fit import FitTimes, benchmark_fit, recipe_curve
from benchmarks.slices import benchmark_slices
from benchmarks.step import benchmark_step, matrix_rate, useful_operations
from medinr.devices import open_device
from medinr.errors import ConfigError, ManifestError, OutputExistsError
from medinr.models.checkpoint import load_model_for
from medinr.network.trunk import TrunkSettings


def test_slices_come_from_different_held_out_scans():
    found = benchmark_slices("excerpts", "devtest", 3, 40)
    assert [one.image.shape for one in found] == [(40, 40)] * 3
    assert found[0].label.split()[1] == "FLAIR"
    assert found[1].label.split()[1] == "T1"
    assert found[2].label.split()[1] == "FLAIR"
    assert found[2].label != found[0].label
    for one in found:
        # The field of view is the scan's, whatever the number of pixels.
        assert 180 < one.spacing[0] * 40 < 280
        assert one.level == pytest.approx(float(np.percentile(one.image, 99)))
    with pytest.raises(ManifestError, match="no MR scan in the split 'validation'"):
        benchmark_slices("excerpts", "validation", 1, 40)


def test_levels_and_ratios_of_a_slice():
    curve = [(0, 1.0, 25.0), (1, 2.0, 31.0), (2, 3.0, 36.0), (3, 4.0, 41.0)]
    times = FitTimes("a", {"fit_image": curve, "fit_image_exact": curve}, [10.0, 20.0, 30.0, 40.0], 8.0)
    assert times.rows() == [
        ("30 dB", 2.0, 16.0),
        ("35 dB", 3.0, 24.0),
        ("40 dB", 4.0, 24.0),
        ("40.0 dB, its last", 4.0, 24.0),
    ]
    assert times.after_ten_steps() == (41.0, 40.0)
    assert FitTimes("b", {"fit_image": curve[:1], "fit_image_exact": []}, [1.0], 0.1).rows()[0] == ("30 dB", None, None)


def test_the_recipes_curve_continues_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "CHECKPOINT_EVERY", 4)
    (one,) = benchmark_slices("excerpts", "devtest", 1, 24)
    model, cpu = load_model_for("brain_mr", "MR"), torch.device("cpu")
    straight = recipe_curve(one, model, 9, tmp_path / "a", cpu)
    recipe_curve(one, model, 5, tmp_path / "b", cpu)
    assert recipe_curve(one, model, 9, tmp_path / "b", cpu) == straight
    assert len(straight) == 10


def test_fit_benchmark_writes_what_it_prints(tmp_path):
    table = benchmark_fit("excerpts", 1, 24, "brain_mr", 11, tmp_path)
    facts = json.loads((tmp_path / "fit.json").read_text())
    (found,) = facts["slices"]
    assert len(found["recipe_psnr"]) == 12
    assert set(found["medinr"]) == {"fit_image", "fit_image_exact"}
    assert found["medinr"]["fit_image_exact"][-1][2] > 40
    assert table.row_count == (1 + 5) + (1 + 4)
    with pytest.raises(OutputExistsError, match=r"fit.json exists.*--overwrite"):
        benchmark_fit("excerpts", 1, 24, "brain_mr", 11, tmp_path)


def test_operations_are_three_products_a_layer():
    settings = TrunkSettings(width=8, depth=3)
    # Forward and the weights' gradient for all layers, the way back for all but the first.
    hidden, first, head = 2 * 8 * 8, 2 * 8, 8
    assert useful_operations(settings, 10) == 2 * 10 * (3 * (hidden + head) + 2 * first)


def test_step_benchmark(tmp_path):
    benchmark_step(32, tmp_path)
    facts = json.loads((tmp_path / "step.json").read_text())
    for found in facts["paths"].values():
        assert found["share"] == pytest.approx(facts["operations"] / found["seconds"] / facts["product_rate"])
    assert {"medinr, float32", "published recipe"} <= set(facts["paths"])
    assert matrix_rate(torch.device("cpu")) > 1e8


def test_drawdown_is_the_largest_fall():
    assert drawdown([1.0, 2.0, 3.0]) == 0.0
    assert drawdown([5.0, 1.0, 6.0, 3.0]) == 4.0


def test_drawdown_benchmark_scores_every_step(tmp_path):
    table = benchmark_drawdown("excerpts", 1, 32, 1, 3, "brain_mr", tmp_path)
    facts = json.loads((tmp_path / "drawdown.json").read_text())
    assert set(facts["drawdown"]["medinr"]) == {"fit", "denoise", "superres", "kspace"}
    assert table.row_count == 2 * 5
    for by_task in facts["drawdown"].values():
        assert all(value >= 0 for values in by_task.values() for value in values)


@pytest.mark.parametrize(
    ("name", "said"), [("gpu", "not cpu, cuda or cuda:N"), ("cuda:x", "not cpu"), ("cuda:99", "finds")]
)
def test_devices_that_are_not_there(name, said, capsys, tmp_path):
    with pytest.raises(ConfigError, match=said):
        open_device(name)
    assert main(["step", "--device", name, "--out", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err.replace("\n", " ")


def test_cpu_is_there():
    assert open_device("cpu") == torch.device("cpu")
