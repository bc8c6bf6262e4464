import math

import pytest
import torch

from medinr.baselines import tune_weight
from medinr.errors import ConfigError


def _solve(case: float, weight: float) -> torch.Tensor:
    return torch.tensor(math.log(weight) - case)


def _score(case: float, image: torch.Tensor) -> float:
    return 30.0 - float(image) ** 2


def test_the_weight_best_on_average_is_found_between_grid_points() -> None:
    cases = [math.log(0.2), math.log(0.8)]
    tuning = tune_weight(cases, _solve, _score, [0.01, 0.1, 1.0, 10.0], refinements=14)
    assert tuning.weight == pytest.approx(0.4, rel=0.02)
    assert [trial.weight for trial in tuning.trials] == sorted(trial.weight for trial in tuning.trials)
    assert all(len(trial.scores) == 2 for trial in tuning.trials)
    assert max(trial.mean for trial in tuning.trials) == pytest.approx(
        next(trial.mean for trial in tuning.trials if trial.weight == tuning.weight)
    )
    assert str(tuning).count("<- chosen") == 1


@pytest.mark.parametrize("best", [1e-4, 1e4])
def test_a_grid_that_ends_too_early_is_continued(best) -> None:
    tuning = tune_weight([math.log(best)], _solve, _score, [0.1, 1.0, 10.0], refinements=12)
    assert tuning.weight == pytest.approx(best, rel=0.1)


def test_nothing_is_solved_twice() -> None:
    seen = []

    def solve(case: float, weight: float) -> torch.Tensor:
        seen.append(weight)
        return _solve(case, weight)

    tune_weight([0.0], solve, _score, [0.1, 1.0, 10.0], refinements=4)
    assert len(seen) == len(set(seen)) == 3 + 4


def test_bad_grids_and_no_cases_are_refused() -> None:
    with pytest.raises(ConfigError, match="got none"):
        tune_weight([], _solve, _score, [0.1, 1.0])
    for weights in ([1.0], [0.0, 1.0], [1.0, 0.1]):
        with pytest.raises(ConfigError, match="increasing, positive"):
            tune_weight([0.0], _solve, _score, weights)
