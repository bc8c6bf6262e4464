"""Which phase-encoding lines of a Cartesian scan are measured."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from medinr.errors import ConfigError

KINDS = ("random", "equispaced", "variable")

#: Exponent of the variable density ``(1 - |k| / k_max)^4``, inside the range 1 to 6 of Lustig, Donoho & Pauly
#: (2007).
DENSITY_EXPONENT = 4.0

#: Sampling weight of the outermost lines relative to the centre, so that none is excluded.
DENSITY_FLOOR = 1e-3


@dataclass(frozen=True)
class LineMask:
    """The phase-encoding lines that were measured, and how they were chosen.

    Attributes
    ----------
    lines : tuple of int
        Measured ``ky`` indices, increasing; the zero frequency is at ``count // 2``.
    count : int
        Lines of the full scan.
    kind : str
        ``"random"``, ``"equispaced"`` or ``"variable"``; ``"measured"`` for lines read from a scan.
    acceleration : float
        What was asked for; see `achieved_acceleration`.
    centre_fraction : float
        Fraction of the lines sampled without gap around the zero frequency.
    seed : int
    partial_fourier : float
        Fraction of k-space in which all lines lie, counted from the upper end; 1 for a full scan.

    Raises
    ------
    ConfigError
        If the lines are none, not increasing or outside ``0 ... count - 1``.
    """

    lines: tuple[int, ...]
    count: int
    kind: str = "measured"
    acceleration: float = 1.0
    centre_fraction: float = 0.0
    seed: int = 0
    partial_fourier: float = 1.0

    def __post_init__(self) -> None:
        increasing = all(a < b for a, b in zip(self.lines, self.lines[1:], strict=False))
        if not self.lines or not increasing or self.lines[0] < 0 or self.lines[-1] >= self.count:
            raise ConfigError(
                f"A line mask wants increasing ky indices between 0 and {self.count - 1}; got {_shortened(self.lines)}."
            )

    @property
    def achieved_acceleration(self) -> float:
        """Lines of the full scan per measured line."""
        return self.count / len(self.lines)

    @property
    def indices(self) -> Tensor:
        """The measured lines, int64, shape (lines,)."""
        return torch.tensor(self.lines, dtype=torch.int64)

    def as_tensor(self) -> Tensor:
        """Return the mask as booleans, shape (count,)."""
        mask = torch.zeros(self.count, dtype=torch.bool)
        mask[self.indices] = True
        return mask

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON or YAML file."""
        return {**asdict(self), "lines": list(self.lines)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LineMask:
        """Read what `to_dict` wrote.

        Raises
        ------
        ConfigError
            If a key is unknown or missing.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise ConfigError(f"A line mask has no {key!r}; did you mean {nearest_name(key, known)!r}?")
        for key in ("lines", "count"):
            if key not in values:
                raise ConfigError(f"A line mask needs {key!r}; got only {sorted(values)}.")
        return cls(**{**values, "lines": tuple(int(line) for line in values["lines"])})

    def __repr__(self) -> str:
        return (
            f"LineMask({len(self.lines)} of {self.count} lines, {self.kind}, "
            f"acceleration {self.achieved_acceleration:.2f}, seed {self.seed}"
            f"{f', partial Fourier {self.partial_fourier:g}' if self.partial_fourier < 1 else ''})"
        )


def cartesian_mask(
    count: int,
    acceleration: float,
    centre_fraction: float,
    kind: str = "variable",
    seed: int = 0,
    partial_fourier: float = 1.0,
) -> LineMask:
    """Choose ``round(count / acceleration)`` phase-encoding lines, the centre always among them.

    Parameters
    ----------
    count : int
        Lines of the full scan.
    acceleration : float
        At least 1, against the full scan. The central lines and partial Fourier count towards it, so the scan time
        is what was asked for.
    centre_fraction : float
        Between 0 and 1: fraction of all lines sampled without gap around the zero frequency, at least that
        one.
    kind : {"variable", "random", "equispaced"}
        How the other lines are drawn. ``"variable"``: without replacement, with a density that falls as a
        polynomial of the distance to the centre (Lustig, Donoho & Pauly 2007). ``"random"``: uniformly.
        ``"equispaced"``: evenly over the lines outside the centre, from a random offset.
    seed : int
    partial_fourier : float
        Above 0.5 and at most 1: fraction of k-space that is sampled at all. The lines before it, at the lower end,
        are left out (Margosian, Schmitt & Purdy 1986).

    Returns
    -------
    LineMask

    Raises
    ------
    ConfigError
        If a value is out of range, or the centre alone takes more lines than the acceleration leaves.

    Examples
    --------
    >>> cartesian_mask(192, acceleration=4, centre_fraction=0.08)
    LineMask(48 of 192 lines, variable, acceleration 4.00, seed 0)
    """
    if kind not in KINDS:
        nearest = nearest_name(str(kind), KINDS)
        raise ConfigError(f"A mask is one of {', '.join(KINDS)}; got {kind!r}. Did you mean {nearest!r}?")
    if count < 1:
        raise ConfigError(f"A mask wants a positive number of lines; got {count}.")
    if not 1.0 <= acceleration <= count:
        raise ConfigError(f"The acceleration of {count} lines lies between 1 and {count}; got {acceleration}.")
    if not 0.0 <= centre_fraction <= 1.0:
        raise ConfigError(f"The centre fraction lies between 0 and 1; got {centre_fraction}.")
    budget = round(count / acceleration)
    centre_count = max(1, round(count * centre_fraction))
    if centre_count > budget:
        raise ConfigError(
            f"A centre of {centre_count} lines does not fit into the {budget} lines that acceleration "
            f"{acceleration:g} leaves of {count}; "
            f"lower centre_fraction to {budget / count:.3g} or accelerate less."
        )
    first = sampled_half(count, partial_fourier)
    if budget > count - first:
        raise ConfigError(
            f"Partial Fourier {partial_fourier:g} leaves {count - first} of {count} lines, acceleration "
            f"{acceleration:g} wants {budget}; accelerate by at least {count / (count - first):.4g}."
        )
    start = max(count // 2 - centre_count // 2, first)
    stop = count // 2 - centre_count // 2 + centre_count
    outer = torch.cat([torch.arange(first, start), torch.arange(stop, count)])
    number = budget - (stop - start)
    chosen = outer[_draw(outer, count, number, kind, torch.Generator().manual_seed(seed))]
    lines = torch.cat([torch.arange(start, stop), chosen]).sort().values
    return LineMask(
        tuple(lines.tolist()), count, kind, float(acceleration), float(centre_fraction), seed, float(partial_fourier)
    )


def sampled_half(count: int, partial_fourier: float) -> int:
    """First of ``count`` lines that partial Fourier samples; the zero frequency is never left out.

    Raises
    ------
    ConfigError
        If the fraction is not above 0.5 and at most 1.
    """
    if not 0.5 < partial_fourier <= 1.0:
        raise ConfigError(f"Partial Fourier samples more than 0.5 and at most 1 of k-space; got {partial_fourier}.")
    return min(count - round(count * partial_fourier), count // 2)


def nearest_name(name: str, known: Sequence[str]) -> str:
    """Return the known name that is closest to ``name``."""
    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]


def _draw(outer: Tensor, count: int, number: int, kind: str, generator: torch.Generator) -> Tensor:
    """Positions in ``outer`` of ``number`` different lines."""
    if number == 0:
        return torch.empty(0, dtype=torch.int64)
    if kind == "random":
        return torch.randperm(len(outer), generator=generator)[:number]
    if kind == "equispaced":
        offset = torch.rand((), generator=generator, dtype=torch.float64)
        return ((torch.arange(number) + offset) * len(outer) / number).long().clamp(max=len(outer) - 1)
    distance = (outer - count // 2).abs() / (count / 2)
    density = (1.0 - distance).clamp(min=0.0) ** DENSITY_EXPONENT + DENSITY_FLOOR
    return torch.multinomial(density, number, replacement=False, generator=generator)


def _shortened(lines: tuple[int, ...]) -> str:
    return str(lines) if len(lines) <= 8 else f"{str(lines[:8])[:-1]}, ...) ({len(lines)} lines)"
