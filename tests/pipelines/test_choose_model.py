"""Choosing a model by what it predicts of a measurement."""

import re
from dataclasses import asdict, replace

import pytest
import torch
from medinr.pipelines.choose_model import choose_model

from medinr.acquisition.kspace import KspaceAcquisition
from medinr.config import load_task_config
from medinr.jobs.choose_model import DRAWS, Candidate, distinguishable, held_out_errors, verdict
from medinr.models.checkpoint import load_model, save_model, shipped_models
from medinr.models.model import Model
from medinr.network.coordinates import plane_coordinates
from medinr.network.head import project_features
from medinr.network.trunk import Trunk
from medinr.operators import Gaussian, Identity, cartesian_mask, undersampled_fourier
from medinr.solve.problem import Problem

SHAPE = (24, 20)


def _problem(model, kind: str, sigma: float = 1e-3) -> Problem:
    """A measurement of an image that the model's trunk can draw exactly."""
    generator = torch.Generator().manual_seed(3)
    features = model.trunk.features(plane_coordinates(SHAPE, (1.0, 1.0), model.length_scale))
    head = torch.randn(features.shape[1], 2, generator=generator) / 5
    image = (features @ head).T.reshape(2, *SHAPE)
    noise = Gaussian(sigma)
    if kind == "pixels":
        return Problem(noise.sample(image[0], generator), Identity(SHAPE), noise, (1.0, 1.0), scale=1.0)
    mask = cartesian_mask(SHAPE[0], acceleration=2, centre_fraction=0.1, kind="random", seed=1)
    operator = undersampled_fourier(SHAPE, mask)
    data = noise.sample(operator(torch.complex(image[0], image[1])), generator)
    return Problem(data, operator, noise, (1.0, 1.0), complex_image=True, group_axis=-2, scale=1.0)


@pytest.fixture(scope="module")
def opened(models):
    return {"own": load_model(models["MR"]), "random": load_model("random")}


def _masks(problem: Problem, count: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [problem.draw_held_out(0.05, generator) for _ in range(count)]


@pytest.mark.parametrize("kind", ["pixels", "lines"])
def test_the_model_that_can_draw_the_image_predicts_to_the_noise(opened, kind):
    problem = _problem(opened["own"], kind)
    errors = {name: held_out_errors(problem, _masks(problem), model) for name, model in opened.items()}
    # One is the noise of what is predicted; the noise of what was fitted adds to it, more so far from a fitted line.
    assert 0.6 < errors["own"].mean() < 2.5
    assert (errors["random"] > 1.5 * errors["own"]).all()


@pytest.mark.parametrize("kind", ["pixels", "lines"])
def test_the_head_is_the_least_squares_solution_of_what_was_fitted(opened, kind):
    """Against a dense solution in float64 that never sees the held-out rows."""
    model = opened["own"]
    problem = _problem(model, kind)
    held = _masks(problem, 2)
    features = model.trunk.features(plane_coordinates(SHAPE, (1.0, 1.0), model.length_scale))
    rows = project_features(problem, features).values
    rows = rows.to(torch.complex128 if rows.is_complex() else torch.float64)
    data = problem.data.reshape(-1).to(rows.dtype)
    wanted = []
    for mask in held:
        out = mask.reshape(-1)
        head = torch.linalg.lstsq(rows[~out], data[~out]).solution
        squared = (rows[out] @ head - data[out]).abs().square() / problem.noise.sigma**2
        wanted.append(squared.mean() / (2 if data.is_complex() else 1))
    torch.testing.assert_close(
        held_out_errors(problem, held, model), torch.stack(wanted).sqrt(), rtol=0.05, atol=0.0, check_dtype=False
    )


def _candidate(name: str, residuals, suits: bool = True) -> Candidate:
    return Candidate(name, "MR" if suits else "CT", suits, tuple(residuals), 0.1)


def test_differences_draw_by_draw_decide():
    hard_and_easy = (1.0, 5.0, 2.0, 9.0)
    first = _candidate("a", hard_and_easy)
    always_a_little_worse = _candidate("b", [value + 0.2 + 0.01 * value for value in hard_and_easy])
    assert always_a_little_worse.mean - first.mean < first.spread
    assert distinguishable(first, always_a_little_worse)
    now_better_now_worse = _candidate("c", [1.3, 4.9, 2.4, 8.9])
    assert first.mean < now_better_now_worse.mean
    assert not distinguishable(first, now_better_now_worse)
    assert not distinguishable(first, replace(first, name="twin"))


def test_the_verdict_says_what_cannot_be_told_apart(scans):
    measurement, _ = choose_model(scans["kspace"], load_task_config("kspace"), slices=[1])
    a, twin = _candidate("a", (1.0, 1.1, 1.2)), _candidate("twin", (1.01, 1.0, 1.31))
    far, foreign = _candidate("random", (3.0, 3.1, 3.2)), _candidate("other", (0.1, 0.2, 0.3), suits=False)
    assert verdict(measurement, (a, far)) == "a predicts the held-out lines best."
    words = verdict(measurement, (a, twin, far)).splitlines()
    assert len(words) == 1
    assert words[0].startswith("a and twin are not distinguishable")
    assert "No model predicts better than random weights." in verdict(
        measurement, (replace(far, residuals=(0, 0, 0)), a)
    )
    assert "other was trained on CT; medinr reconstruct refuses it for MR." in verdict(measurement, (foreign, a))


@pytest.mark.parametrize("task", ["denoise", "superres", "kspace", "ct"])
def test_a_scan_and_its_measurement_are_ranked_alike(medinr, scans, models, tmp_path, task):
    config = load_task_config(task)
    given = [models["CT" if task == "ct" else "MR"]]
    path = tmp_path / "measured.safetensors"
    assert medinr("simulate", scans[task], "--task", task, "--slices", 1, "--out", path, "--debug").code == 0
    _, found = choose_model(scans[task], config, models=given, slices=[1])
    _, replayed = choose_model(path, config, models=given)
    assert [(c.name, c.residuals) for c in found] == [(c.name, c.residuals) for c in replayed]
    assert {c.name for c in found} == {*shipped_models(), *given, "random"}
    assert [c.mean for c in found] == sorted(c.mean for c in found)
    assert all(len(c.residuals) == DRAWS and min(c.residuals) > 0 for c in found)
    assert {c.name for c in found if not c.suits} == ({"brain_mr", "mr_any"} if task == "ct" else {"chest_ct"})


def test_the_command_prints_table_and_verdict_and_writes_nothing(medinr, scans, models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ("models", "choose", scans["superres"], "--task", "superres", "--model", models["MR"])
    found = medinr(*command, "--threads", 1, "--debug")
    assert found.code == 0
    for words in ("brain_mr", "tiny_MR", "random", "CT, not this scan's", "residual / noise", "pixels"):
        assert words in found.out
    means = [float(text) for text in re.findall(r"(\d+\.\d+) ±", found.out)]
    assert len(means) == len(shipped_models()) + 2
    assert means == sorted(means)
    assert "not distinguishable" in found.out or "best." in found.out
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_ranked_is_refused(medinr, scans, models, tmp_path):
    path = tmp_path / "measured.safetensors"
    assert medinr("simulate", scans["denoise"], "--task", "denoise", "--out", path).code == 0

    def refusal(*words) -> str:
        found = medinr("models", "choose", *words)
        assert found.code == 2
        assert found.err.startswith("medinr: ")
        assert "±" not in found.out
        return found.err

    assert "Say --task denoise" in refusal(path, "--task", "kspace")
    assert "no such file" in refusal(tmp_path / "nothing.nii.gz")
    assert "No model 'nothing'" in refusal(path, "--task", "denoise", "--model", "nothing")
    found = load_model(models["MR"])
    card = replace(found.card, architecture={**found.card.architecture, "inputs": 3})
    save_model(tmp_path / "spatial.safetensors", Model.of(Trunk(card.trunk_settings), found.prior, card))
    assert asdict(card)["architecture"]["inputs"] == 3
    message = refusal(path, "--task", "denoise", "--model", tmp_path / "spatial.safetensors")
    assert "3 coordinates per point; slices have 2" in message


def test_a_measurement_of_which_every_line_is_central_is_refused(medinr, scans, monkeypatch):
    def all_central(acquisition, position=0):
        return tuple(range(acquisition.measurement.data.shape[-2]))

    monkeypatch.setattr(KspaceAcquisition, "protected", all_central)
    found = medinr("models", "choose", scans["kspace"])
    assert found.code == 2
    assert "can be held out" in found.err
