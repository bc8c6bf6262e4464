import math

import pandas as pd
import pytest
from rich.console import Console

from medinr.jobs.evaluate.results import make_table
from medinr.jobs.evaluate.sentences import regret_sentence
from medinr.jobs.evaluate.table import comparison_sentence, comparison_table, methods_of, tasks_of


def _row(method: str, subject: str, number: int, psnr: float, task: str = "denoise_mr", region: str = "slice") -> dict:
    where = {
        "task": task,
        "subject": subject,
        "session": "",
        "contrast": "T1",
        "scan": f"{subject}_T1",
        "slice": number,
    }
    return where | {"method": method, "seed": 0, "region": region, "metric": "psnr", "value": psnr, "seconds": 2.0}


def _table(gaps: list[float], more: list[dict] | None = None) -> pd.DataFrame:
    """Two slices of each patient, medinr ahead of TV by one gap per patient."""
    rows = list(more or [])
    for patient, gap in enumerate(gaps):
        for number in (0, 1):
            level = 25.0 + 3 * patient + number
            rows.append(_row("TV", f"p{patient}", number, level))
            rows.append(_row("medinr", f"p{patient}", number, level + gap))
    return make_table(rows)


@pytest.mark.parametrize(
    ("gaps", "sentence"),
    [
        ([0.7, 0.9], "the difference to TV is not decided by these 2 patients (+0.8 dB)."),
        ([-0.3], "the difference to TV is not decided by this 1 patient (-0.3 dB)."),
        ([1.1, 1.2, 1.3], "medinr is 1.2 dB above TV (95 % 1.0 to 1.4, 3 patients)."),
        ([-1.1, -1.2, -1.3], "medinr is not better than TV here: 1.2 dB below (95 % -1.4 to -1.0, 3 patients)."),
        ([0.01, -0.01, 0.0], "medinr is not better than TV here: level (95 % -0.0 to 0.0, 3 patients)."),
        ([3.0, -2.0, 0.5], "the difference to TV is not decided by these 3 patients (+0.5 dB, 95 % -5.7 to 6.7)."),
        ([1.0, 1.2, math.inf], "medinr and TV cannot be told apart by PSNR"),
    ],
)
def test_the_sentence_says_what_the_numbers_say(gaps: list[float], sentence: str) -> None:
    assert comparison_sentence(_table(gaps), "denoise_mr").startswith(f"denoise_mr: {sentence}")


def test_every_baseline_is_named_and_missing_ones_are_said() -> None:
    table = _table(
        [1.0, 1.1, 0.9], [_row("BM3D", f"p{k}", 0, 40.0 + k) for k in range(3)] + [_row("NLM", "p9", 0, 10.0)]
    )
    text = comparison_sentence(table, "denoise_mr")
    assert "above TV" in text
    assert "medinr is not better than BM3D here" in text
    assert "medinr and NLM have no slice in common" in text
    assert "nothing to compare" in comparison_sentence(table, "ct_sparse")
    assert "nothing to compare" in comparison_sentence(_table([]), "denoise_mr")


def test_the_body_is_judged_on_its_own() -> None:
    ahead = (-1.0, -1.1, -0.9)
    rows = [_row("TV", f"p{k}", 0, 21.0, region="body") for k in range(3)]
    rows += [_row("medinr", f"p{k}", 0, 21.0 + gap, region="body") for k, gap in enumerate(ahead)]
    table = _table([1.0, 1.1, 0.9], rows)
    assert "medinr is 1.0 dB above TV" in comparison_sentence(table, "denoise_mr")
    assert comparison_sentence(table, "denoise_mr", region="body") == (
        "denoise_mr inside the body: medinr is not better than TV here: 1.0 dB below (95 % -1.2 to -0.8, 3 patients)."
    )


def _printed(table: pd.DataFrame) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(comparison_table(table, "denoise_mr"))
    return capture.get()


def test_the_table_has_one_row_per_method_and_says_its_basis() -> None:
    table = _table([1.0, 1.2, 0.8], [_row("TV", "p0", 0, 1.0, task="ct_sparse")])
    assert tasks_of(table) == ("ct_sparse", "denoise_mr")
    assert methods_of(table, "denoise_mr") == ("TV", "medinr")
    text = _printed(table)
    # Means 26.5, 29.7, 32.3: mean 29.5, t(0.975, 2) sd / sqrt(3) = 7.2.
    assert "29.50  22.3 to 36.7" in text
    assert "3 patients, 6 slices" in text
    assert "mean per patient" in text
    assert "MiB " not in text.splitlines()[2]
    assert "…" not in text


def test_two_patients_have_no_interval_and_that_is_said() -> None:
    text = " ".join(_printed(_table([1.0, 1.2])).split())
    assert "28.10 -" in text
    assert "With 2 patients no difference is decided" in text


def test_stopping_regret_is_shown_and_said_where_somebody_looked() -> None:
    regrets = [0.0] * 18 + [0.2, 1.0]
    rows = [_row("medinr", f"p{n}", 0, 30.0) | {"metric": "regret", "value": value} for n, value in enumerate(regrets)]
    other = [_row("STRAINER", "p0", 0, 30.0) | {"metric": "regret", "value": 9.0}]
    table = _table([1.0] * 20, [*rows, *other])
    said = regret_sentence(table)
    assert "over 20 reconstructions: median 0.00 dB, 95th percentile 0.24 dB, at most 1.00 dB." in said
    assert "median 9.00 dB" in regret_sentence(table, "STRAINER")
    assert regret_sentence(_table([1.0])) == ""
    assert "regret" not in _printed(_table([1.0]))
    assert "0.06" in _printed(table)  # the mean of medinr's, in the column of regret
