"""Checks that a result makes of itself: a value, its limit, and a sentence for the reader."""

from __future__ import annotations

from dataclasses import dataclass

#: Whitened residual up to which a measurement counts as explained. Real data reach 1.4.
RESIDUAL = 2.0


@dataclass(frozen=True)
class Check:
    """One check of a result.

    Attributes
    ----------
    name : str
        ``"residual"``, ``"held_out_direct"``, ``"held_out_tv"``, ``"likeness"`` or ``"coverage"``.
    value, limit : float
        What was found, and what it is compared with.
    passed : bool
    words : str
        Say both, and what follows where it failed.
    """

    name: str
    value: float
    limit: float
    passed: bool
    words: str


def residual_check(residual: float) -> Check:
    """Judge the whitened residual of a reconstruction; NaN fails."""
    passed = residual <= RESIDUAL
    words = f"the image leaves {residual:.2f} times the noise of the measurement unexplained"
    if not passed:
        words += (
            f", where {RESIDUAL:g} times are the most that a right model leaves: coil sensitivities, sampling, "
            "geometry or noise level are wrong, or the patient moved"
        )
    return Check("residual", residual, RESIDUAL, passed, f"{words}.")
