import pytest

from medinr.errors import ConfigError
from medinr.network.stopping import HeldOutWatch, StoppingSettings


def test_watch_remembers_the_best_step_and_runs_out_of_patience():
    watch = HeldOutWatch(StoppingSettings(patience=3, at_least=6))
    values = [5.0, 4.0, 4.5, 3.0, 3.0, 3.5, 9.0, 1.0]
    found = [(watch.update(step, value), watch.exhausted(step)) for step, value in enumerate(values)]
    assert [better for better, _ in found] == [True, True, False, True, False, False, False, True]
    assert [over for _, over in found] == [False] * 6 + [True, False]
    assert (watch.best_step, watch.best_value) == (7, 1.0)


def test_watch_never_ends_before_its_least_step():
    watch = HeldOutWatch(StoppingSettings(patience=2, at_least=10))
    watch.update(0, 1.0)
    assert not any(watch.exhausted(step) for step in range(10))
    assert watch.exhausted(10)


@pytest.mark.parametrize("fraction", [-0.1, 0.5, 0.9])
def test_held_out_fraction_must_leave_the_larger_part(fraction):
    with pytest.raises(ConfigError, match=r"fraction from 0 to below 0\.5"):
        StoppingSettings(held_out=fraction)


def test_one_bad_check_ends_nothing():
    watch = HeldOutWatch(StoppingSettings(patience=30, at_least=20))
    watch.update(64, 1.0)
    watch.update(128, 1.1)
    assert watch.exhausted(128)
    assert not watch.exhausted(128, interval=64)
    assert not watch.exhausted(255, interval=64)
    assert watch.exhausted(256, interval=64)
