"""Slices side by side: what comes out is what comes out one by one, and nothing goes on after a failure."""

import threading
import time

import pytest
import torch

from medinr.jobs.side_by_side import StoppedError, each_side_by_side


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2, "given back as it was"
    torch.set_num_threads(before)


def test_slices_run_side_by_side_and_share_the_threads():
    meeting = threading.Barrier(2, timeout=30)

    def work(position, proceed):
        meeting.wait()  # nobody comes through alone
        proceed()
        return position**2, torch.get_num_threads()

    assert dict(each_side_by_side([0, 1, 4, 5], work, 6)) == {p: (p**2, 1) for p in (0, 1, 4, 5)}


@pytest.mark.parametrize(("slices", "threads"), [(1, 2), (2, 1), (7, 1)])
def test_the_measurement_decides_how_many_threads_a_slice_has(slices, threads):
    ((_, found),) = each_side_by_side([0], lambda position, proceed: torch.get_num_threads(), slices)
    assert found == threads


def test_one_failure_stops_the_others():
    ended = []

    def work(position, proceed):
        if position == 0:
            raise ValueError("slice 0 is not to be had")
        try:
            for _ in range(3000):
                time.sleep(0.01)
                proceed()
        except StoppedError:
            ended.append(position)
            raise

    with pytest.raises(ValueError, match="slice 0"):
        list(each_side_by_side([1, 0, 2, 3, 4], work, 5))
    # The one that had begun, perhaps one that took the other's thread; no more began.
    assert set(ended) in ({1}, {1, 2})


def test_who_loses_interest_stops_them_too():
    seen = []

    def work(position, proceed):
        while position:
            proceed()
            time.sleep(0.01)
        seen.append(position)
        return position

    found = each_side_by_side(range(5), work, 5)
    assert next(found) == (0, 0)
    found.close()
    assert seen == [0]
