import math

import pytest

from medinr.solve.checks import RESIDUAL, residual_check


@pytest.mark.parametrize(
    ("residual", "passed"), [(0.1, True), (RESIDUAL, True), (RESIDUAL + 0.01, False), (7.0, False), (math.nan, False)]
)
def test_a_residual_far_above_the_noise_fails(residual, passed):
    check = residual_check(residual)
    assert check.passed is passed
    assert f"{residual:.2f} times the noise" in check.words
    assert ("coil sensitivities" in check.words) is not passed
