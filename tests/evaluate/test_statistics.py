"""Intervals that cover what they promise, tests against SciPy's and statsmodels' numbers, effect sizes by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from medinr.errors import ConfigError
from medinr.jobs.evaluate.statistics import (
    compare,
    holm,
    interval,
    paired_difference,
    patient_means,
    summarise,
    values_of,
)


def _covered(draw, count: int, trials: int = 3000) -> float:
    """Share of intervals that hold the true mean difference, 1.0."""
    generator = np.random.default_rng(11)
    hits = 0
    for trial in range(trials):
        low, high = interval(1.0 + draw(generator, count), seed=trial)
        hits += low <= 1.0 <= high
    return hits / trials


@pytest.mark.parametrize("count", [3, 5, 9])
def test_intervals_of_few_patients_cover_the_truth(count: int) -> None:
    # 3000 trials: the estimate itself is good to 0.4 % (one standard deviation).
    assert 0.93 <= _covered(lambda g, n: g.normal(0, 0.6, n), count) <= 0.97


@pytest.mark.parametrize(
    "draw",
    [lambda g, n: g.normal(0, 0.6, n), lambda g, n: (g.gamma(4.0, size=n) - 4.0) / 2],
    ids=["normal", "skewed"],
)
def test_intervals_of_more_patients_cover_the_truth(draw, monkeypatch) -> None:
    # A thousandth of the time, for a little more noise in each end.
    monkeypatch.setattr("medinr.jobs.evaluate.statistics.RESAMPLES", 599)
    assert 0.93 <= _covered(draw, 16, 2000) <= 0.97


def test_the_percentile_bootstrap_would_not_have(monkeypatch) -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(500):
        values = generator.normal(size=5)
        low, high = np.quantile(values[generator.integers(0, 5, (399, 5))].mean(axis=1), [0.025, 0.975])
        hits += low <= 0 <= high
    assert hits / 500 < 0.9


def test_few_patients_have_no_interval_and_others_a_reproducible_one() -> None:
    assert summarise({"a": 1.0, "b": 2.0}).low is None
    assert math.isnan(summarise({}).mean)
    assert interval(np.array([1.0, math.inf, 2.0])) is None
    assert interval(np.full(4, 2.5)) == (2.5, 2.5)
    values = {str(k): float(v) for k, v in enumerate(np.random.default_rng(0).normal(3.0, 1.0, size=40))}
    found = summarise(values)
    assert found == summarise(dict(reversed(values.items())))
    half = stats.t.ppf(0.975, 39) * np.std(list(values.values()), ddof=1) / math.sqrt(40)
    assert found.low == pytest.approx(found.mean - half, abs=0.05)
    assert found.high == pytest.approx(found.mean + half, abs=0.05)


def test_three_patients_by_hand() -> None:
    # Mean 2, standard deviation 1, t(0.975, 2) = 4.30265.
    assert interval(np.array([1.0, 2.0, 3.0])) == pytest.approx(
        (2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), abs=1e-4
    )


def test_holm_by_hand_and_by_statsmodels() -> None:
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    with pytest.raises(ConfigError, match="between 0 and 1"):
        holm([1.2])
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    drawn = np.random.default_rng(2).random(9) ** 3
    np.testing.assert_allclose(holm(list(drawn)), multitest.multipletests(drawn, method="holm")[1], atol=1e-12)


@pytest.fixture
def table(synthetic_results, tmp_path):
    return synthetic_results(tmp_path, patients=6, tasks=("denoise_mr_5",)).table


def test_patients_count_once_however_many_slices(table) -> None:
    values = values_of(table, "denoise_mr_5", "TV", "psnr")
    assert len(values) == 12
    means = patient_means(values)
    assert list(means) == [f"p{k}" for k in range(6)]
    mine = table[(table["method"] == "TV") & (table["metric"] == "psnr") & (table["region"] == "slice")]
    assert means["p3"] == pytest.approx(mine.loc[mine["subject"] == "p3", "value"].mean())
    assert patient_means(values.iloc[:0]) == {}
    assert set(patient_means(values_of(table, "denoise_mr_5", "TV", "seconds")).values()) == {0.25}


def test_differences_are_paired_over_shared_slices(table) -> None:
    gone = (table["method"] == "TV") & (table["subject"] == "p0") & (table["slice"] == 0)
    difference = paired_difference(table[~gone], "denoise_mr_5", "medinr", "TV")
    mine, theirs = (values_of(table, "denoise_mr_5", m, "psnr") for m in ("medinr", "TV"))
    gaps = (mine - theirs).groupby(level="subject").mean()
    gaps["p0"] = (mine - theirs).xs(("p0", 1), level=("subject", "slice")).item()
    assert difference.summary.mean == pytest.approx(gaps.mean())
    assert difference.summary.patients == 6
    assert difference.decided
    assert difference.dz == pytest.approx(gaps.mean() / gaps.std())
    # Six patients, all better: 2 / 2^6 two-sided, the least that is possible.
    assert difference.p == pytest.approx(2 / 64)
    assert difference.rank_biserial == 1.0


def test_several_comparisons_are_corrected(table) -> None:
    found = compare(table, "denoise_mr_5", "medinr", ["noisy", "TV"])
    assert [d.second for d in found] == ["noisy", "TV"]
    assert [d.p_holm for d in found] == pytest.approx([4 / 64, 4 / 64])


def test_the_rank_biserial_correlation_by_hand(synthetic_results, tmp_path, table) -> None:
    changed = table.copy()
    psnr = (changed["metric"] == "psnr") & (changed["region"] == "slice")
    for subject, gap in zip(("p0", "p1", "p2", "p3"), (-1.0, 2.0, 3.0, 4.0), strict=True):
        for method, level in (("medinr", gap), ("TV", 0.0)):
            changed.loc[psnr & (changed["subject"] == subject) & (changed["method"] == method), "value"] = level
    found = paired_difference(changed[changed["subject"] < "p4"], "denoise_mr_5", "medinr", "TV")
    # Ranks 1 to 4, the first negative: (2 + 3 + 4 - 1) / 10.
    assert found.rank_biserial == pytest.approx(0.8)
    assert found.p == pytest.approx(stats.wilcoxon([-1.0, 2.0, 3.0, 4.0], method="exact").pvalue)
    assert not found.decided


def test_two_patients_decide_nothing(table) -> None:
    found = paired_difference(table[table["subject"] < "p2"], "denoise_mr_5", "medinr", "TV")
    assert found.summary.patients == 2
    assert (found.summary.low, found.p, found.dz, found.decided) == (None, None, None, False)
