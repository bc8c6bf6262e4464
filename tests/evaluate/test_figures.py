from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from medinr.errors import ShapeError, UnitError
from medinr.figures.comparison import comparison_figure
from medinr.figures.convergence import ConvergenceRow, convergence_figure

REFERENCE = np.tile(np.linspace(0.0, 1.0, 40), (20, 1))


def _is_blue_or_red(pixels: np.ndarray) -> np.ndarray:
    return np.abs(pixels[..., 0] - pixels[..., 2]) > 0.5


def test_a_comparison_has_errors_only_where_there_is_a_reference(tmp_path: Path) -> None:
    columns = [("input", REFERENCE + 0.2), ("TV", REFERENCE - 0.2j)]
    scores = [(20.0, 0.5), (30.0, 0.9)]
    with_errors = comparison_figure(tmp_path / "a" / "b.png", columns, REFERENCE, scores=scores, title="ramp")
    without = comparison_figure(tmp_path / "c.png", columns, scores=scores)
    assert _is_blue_or_red(imread(with_errors)).mean() > 0.01
    assert not _is_blue_or_red(imread(without)).any()


def test_panels_are_as_wide_as_the_pixels_in_mm(tmp_path: Path) -> None:
    flat = imread(comparison_figure(tmp_path / "a.png", [("x", REFERENCE)]))
    tall = imread(comparison_figure(tmp_path / "b.png", [("x", REFERENCE)], spacing=(3.0, 1.0)))
    panel = 2.6 * 150 * 20 / 40
    assert tall.shape[0] - flat.shape[0] == pytest.approx(2 * panel, abs=2)


def test_all_images_share_one_fixed_scale(tmp_path: Path) -> None:
    # One panel's values must not change how another is shown.
    first = imread(comparison_figure(tmp_path / "a.png", [("x", REFERENCE), ("y", REFERENCE)], REFERENCE))
    second = imread(comparison_figure(tmp_path / "b.png", [("x", REFERENCE), ("y", 9 * REFERENCE)], REFERENCE))
    half = int(150 * (2 * 2.72 + 0.05))
    np.testing.assert_array_equal(first[:, :half], second[:, :half])


def test_ct_windows_go_by_name(tmp_path: Path) -> None:
    hounsfield = 1400 * REFERENCE - 1000
    images = {
        name: imread(
            comparison_figure(tmp_path / f"{name}.png", [("x", hounsfield)], modality="CT", unit="HU", window=name)
        )
        for name in ("chest", "lung", "soft")
    }
    assert not np.array_equal(images["chest"], images["soft"])
    with pytest.raises(UnitError, match="'brain'; choose one of chest"):
        comparison_figure(tmp_path / "x.png", [("x", hounsfield)], modality="CT", window="brain")
    with pytest.raises(UnitError, match="for CT"):
        comparison_figure(tmp_path / "x.png", [("x", hounsfield)], window="lung")


def test_images_of_two_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"TV has \(20, 39\)"):
        comparison_figure(tmp_path / "x.png", [("input", REFERENCE), ("TV", REFERENCE[:, 1:])])
    with pytest.raises(ShapeError, match="got none"):
        comparison_figure(tmp_path / "x.png", [])


@pytest.mark.parametrize("held_out", [None, 1.5])
def test_convergence_is_drawn_with_and_without_held_out_data(tmp_path: Path, held_out: float | None) -> None:
    rows = [ConvergenceRow(k, 0.1 * k, 2.0 / (k + 1), held_out) for k in range(10)]
    path = convergence_figure(tmp_path / "d" / "c.png", rows, stopped_at=6, reason="flat", title="fit")
    assert imread(path).shape[2] == 4
    with pytest.raises(ShapeError, match="at least one row"):
        convergence_figure(tmp_path / "e.png", [])
