import json

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medinr.errors import ConfigError
from medinr.operators import LineMask, cartesian_mask


@settings(max_examples=80, deadline=None)
@given(
    count=st.integers(1, 400),
    acceleration=st.floats(1.0, 16.0),
    centre_fraction=st.floats(0.0, 0.3),
    kind=st.sampled_from(["variable", "random", "equispaced"]),
    seed=st.integers(0, 1000),
)
def test_budget_is_met_with_the_centre_inside(count, acceleration, centre_fraction, kind, seed):
    centre = max(1, round(count * centre_fraction))
    assume(acceleration <= count and centre <= round(count / acceleration))
    mask = cartesian_mask(count, acceleration, centre_fraction, kind, seed)
    assert len(mask.lines) == round(count / acceleration) == len(set(mask.lines))
    start = count // 2 - centre // 2
    assert set(range(start, start + centre)) <= set(mask.lines)
    assert count // 2 in mask.lines
    assert mask == cartesian_mask(count, acceleration, centre_fraction, kind, seed)
    assert int(mask.as_tensor().sum()) == len(mask.lines)
    assert mask.achieved_acceleration == pytest.approx(count / len(mask.lines))


def test_seeds_differ():
    assert cartesian_mask(128, 4, 0.08, seed=0) != cartesian_mask(128, 4, 0.08, seed=1)


def test_global_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    cartesian_mask(64, 4, 0.08)
    assert torch.rand(1) == expected


def test_variable_density_falls_towards_the_edge():
    hits = sum(cartesian_mask(128, 4, 0.05, seed=seed).as_tensor().int() for seed in range(200))
    near, middle, far = hits[44:54].sum(), hits[22:32].sum(), hits[:10].sum()
    assert near > middle > far > 0


def test_equispaced_gaps_differ_by_one_at_most():
    lines = torch.tensor(cartesian_mask(200, 4, 0.0, "equispaced").lines)
    below = lines[lines < 100].diff()
    assert int(below.max() - below.min()) <= 1


def test_full_sampling_is_every_line():
    for kind in ("variable", "random", "equispaced"):
        assert cartesian_mask(31, 1, 0.1, kind).lines == tuple(range(31))


def test_survives_json():
    mask = cartesian_mask(96, 3, 0.1, "random", seed=4)
    assert LineMask.from_dict(json.loads(json.dumps(mask.to_dict()))) == mask


def test_repr_says_what_a_reader_asks():
    assert repr(cartesian_mask(192, 4, 0.08)) == "LineMask(48 of 192 lines, variable, acceleration 4.00, seed 0)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 0.1), "positive number of lines; got 0"),
        ((64, 0.5, 0.1), "between 1 and 64; got 0.5"),
        ((64, float("nan"), 0.1), "got nan"),
        ((64, 2, 1.5), "centre fraction lies between 0 and 1; got 1.5"),
        ((64, 2, 0.1, "varible"), "Did you mean 'variable'"),
        ((64, 8, 0.5), "centre of 32 lines does not fit into the 8 lines"),
    ],
)
def test_impossible_masks_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        cartesian_mask(*arguments)


@pytest.mark.parametrize("lines", [(), (3, 2), (1, 1), (-1, 2), (2, 8), tuple(range(20))])
def test_impossible_lines_are_refused(lines):
    with pytest.raises(ConfigError, match="increasing ky indices between 0 and 7"):
        LineMask(lines, 8)


def test_unknown_keys_name_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'count'"):
        LineMask.from_dict({"lines": [1], "counts": 4})
    with pytest.raises(ConfigError, match="needs 'count'"):
        LineMask.from_dict({"lines": [1]})


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(8, 300),
    fraction=st.floats(0.55, 1.0),
    surplus=st.floats(1.05, 3.0),
    kind=st.sampled_from(["variable", "random", "equispaced"]),
)
def test_partial_fourier_leaves_out_the_lower_end(count, fraction, surplus, kind):
    acceleration = surplus / fraction
    assume(round(count / acceleration) >= 1)
    mask = cartesian_mask(count, acceleration, 0.0, kind, partial_fourier=fraction)
    assert len(mask.lines) == round(count / acceleration)
    assert mask.lines[0] >= min(count - round(count * fraction), count // 2)
    assert count // 2 in mask.lines
    assert LineMask.from_dict(json.loads(json.dumps(mask.to_dict()))) == mask


def test_partial_fourier_alone_is_the_upper_end():
    mask = cartesian_mask(100, 1 / 0.7, 0.1, partial_fourier=0.7)
    assert mask.lines == tuple(range(30, 100))
    assert repr(mask) == "LineMask(70 of 100 lines, variable, acceleration 1.43, seed 0, partial Fourier 0.7)"


def test_the_whole_of_kspace_draws_the_same_lines_as_before():
    assert cartesian_mask(64, 4, 0.1, seed=3) == cartesian_mask(64, 4, 0.1, seed=3, partial_fourier=1.0)
    assert cartesian_mask(16, 4, 0.1, seed=0).lines == (6, 7, 8, 9)


def test_masks_written_before_partial_fourier_are_read():
    assert LineMask.from_dict({"lines": [1, 2], "count": 4}).partial_fourier == 1.0


@pytest.mark.parametrize(
    ("fraction", "message"), [(0.5, "more than 0.5"), (1.2, "at most 1"), (0.6, "accelerate by at least 1.667")]
)
def test_impossible_partial_fourier_is_refused(fraction, message):
    with pytest.raises(ConfigError, match=message):
        cartesian_mask(100, 1.5, 0.1, partial_fourier=fraction)
