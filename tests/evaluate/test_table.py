import math

import numpy as np
import pytest
from rich.console import Console

from medinr.evaluate.scores import Score
from medinr.evaluate.statistics import paired_difference, patient_means, summarise
from medinr.evaluate.table import comparison_sentence, comparison_table, methods_of, tasks_of


def _score(method: str, subject: str, number: int, psnr: float, task: str = "denoise_mr") -> Score:
    return Score(task, method, subject, f"{subject}_T1", number, psnr, 0.9, 0.1, 0.2, psnr - 1, 0.8, 2.0)


def _scores(gaps: list[float]) -> list[Score]:
    """Two slices of each patient, medinr ahead of TV by one gap per patient."""
    rows = []
    for patient, gap in enumerate(gaps):
        for number in (0, 1):
            level = 25.0 + 3 * patient + number
            rows.append(_score("TV", f"p{patient}", number, level))
            rows.append(_score("medinr", f"p{patient}", number, level + gap))
    return rows


def test_a_patient_counts_once_however_many_slices() -> None:
    rows = [_score("TV", "a", n, 20.0) for n in range(9)] + [_score("TV", "b", 0, 30.0)]
    per_patient = patient_means(rows, "psnr")
    assert per_patient == {"a": 20.0, "b": 30.0}
    assert summarise(per_patient).mean == 25.0
    assert patient_means(rows, "peak_mb") == {}


def test_intervals_need_three_patients_and_are_reproducible() -> None:
    assert summarise({"a": 1.0, "b": 2.0}).low is None
    assert math.isnan(summarise({}).mean)
    values = {str(k): float(v) for k, v in enumerate(np.random.default_rng(0).normal(3.0, 1.0, size=40))}
    found = summarise(values)
    assert found == summarise(dict(reversed(values.items())))
    assert found.low is not None
    assert found.high is not None
    half = 1.96 * np.std(list(values.values())) / math.sqrt(40)
    assert found.low == pytest.approx(found.mean - half, abs=0.05)
    assert found.high == pytest.approx(found.mean + half, abs=0.05)


def test_differences_are_paired_over_shared_slices() -> None:
    rows = [*_scores([1.0, 1.0]), _score("TV", "p0", 7, 90.0)]
    difference = paired_difference(rows, "medinr", "TV")
    assert difference.summary.mean == pytest.approx(1.0)
    assert difference.summary.patients == 2


@pytest.mark.parametrize(
    ("gaps", "sentence"),
    [
        ([0.7, 0.9], "medinr is 0.8 dB above TV (2 patients)."),
        ([-0.3], "medinr is not better than TV here (0.3 dB below, 1 patient)."),
        ([0.05, -0.01], "medinr is level with TV, not better (+0.02 dB, 2 patients)."),
        ([1.0, 1.0, 1.0], "medinr is 1.0 dB above TV (3 patients, 95 % interval +1.0 to +1.0 dB)."),
        ([3.0, -2.0, 0.5], "medinr is not better than TV here (0.5 dB above, within chance, 3 patients, "),
        ([math.inf], "medinr is inf dB above TV"),
    ],
)
def test_the_sentence_says_what_the_numbers_say(gaps: list[float], sentence: str) -> None:
    assert comparison_sentence(_scores(gaps), "denoise_mr").startswith(f"denoise_mr: {sentence}")


def test_every_peer_is_named_and_missing_ones_are_said() -> None:
    rows = [*_scores([1.0, 1.0]), _score("BM3D", "p0", 0, 40.0), _score("NLM", "p9", 0, 10.0)]
    text = comparison_sentence(rows, "denoise_mr")
    assert "above TV" in text
    assert "not better than BM3D here" in text
    assert "medinr and NLM have no slice in common" in text
    assert "nothing to compare" in comparison_sentence(rows, "ct_sparse")


def test_the_table_has_one_row_per_method_and_says_its_basis() -> None:
    rows = [*_scores([1.0, 1.2, 0.8]), _score("TV", "p0", 0, 1.0, task="ct_sparse")]
    assert tasks_of(rows) == ("denoise_mr", "ct_sparse")
    assert methods_of(rows, "denoise_mr") == ("TV", "medinr")
    console = Console(width=80)
    with console.capture() as capture:
        console.print(comparison_table(rows, "denoise_mr"))
    text = capture.get()
    assert "29.50  26.5 to 32.3" in text
    assert "3 patients, 6 slices" in text
    assert "mean per patient" in text
    assert "MiB" not in text
    assert "…" not in text


def test_two_patients_have_no_interval() -> None:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(comparison_table(_scores([1.0, 1.2]), "denoise_mr"))
    assert "28.10 - 0.900" in " ".join(capture.get().split())
