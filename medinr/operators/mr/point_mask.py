"""Which points of a plane of k-space are measured: two phase-encoding directions, or a simulated 2D scan."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.operators.mr.poisson_disc import poisson_disc
from medinr.operators.mr.sampling import DENSITY_EXPONENT, DENSITY_FLOOR, nearest_name, sampled_half

POINT_KINDS = ("poisson", "variable", "random", "equispaced")

#: A lattice takes the nearest whole step if that is within this fraction of the exact one: few points are left over,
#: and aliasing stays coherent.
SNAP = 0.01


@dataclass(frozen=True)
class PointMask:
    """The points of a plane ``(ky, kx)`` or ``(kz, ky)`` that were measured, and how they were chosen.

    Attributes
    ----------
    shape : tuple of int
        Points of the full scan; the zero frequency is at ``n // 2``.
    bits : bytes
        One bit per point, rows after each other, the first point in the highest bit: what `numpy.packbits` gives.
    kind : str
        ``"poisson"``, ``"variable"``, ``"random"`` or ``"equispaced"``; ``"measured"`` for points read from a scan.
    acceleration : float
        What was asked for; see `achieved_acceleration`.
    centre : tuple of int
        Extent of the block sampled without gap around the zero frequency.
    partial_fourier : tuple of float
        Fraction of each axis in which all points lie, counted from the upper end.
    seed : int

    Raises
    ------
    ConfigError
        If there is no point, or the bits do not fit the shape.
    """

    shape: tuple[int, int]
    bits: bytes
    kind: str = "measured"
    acceleration: float = 1.0
    centre: tuple[int, int] = (0, 0)
    partial_fourier: tuple[float, float] = (1.0, 1.0)
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or min(self.shape) < 1 or len(self.bits) != -(-math.prod(self.shape) // 8):
            raise ConfigError(f"A point mask of shape {self.shape} does not have {len(self.bits)} bytes of points.")
        if not any(self.bits):
            raise ConfigError(f"A point mask of shape {self.shape} wants at least one point; got none.")
        if self.bits[-1] & ((1 << (-math.prod(self.shape) % 8)) - 1):
            raise ConfigError(f"A point mask of shape {self.shape} has points beyond its end.")

    @classmethod
    def of(cls, mask: Tensor, **facts: Any) -> PointMask:
        """Make a mask from booleans.

        Parameters
        ----------
        mask : Tensor, bool, shape (rows, columns)
        facts
            The other attributes.

        Raises
        ------
        ConfigError
            If the tensor is not boolean or not a plane.
        """
        if mask.dtype != torch.bool or mask.ndim != 2:
            raise ConfigError(
                f"A point mask is made of booleans (rows, columns); got {mask.dtype} {tuple(mask.shape)}."
            )
        flat = torch.nn.functional.pad(mask.flatten().to(torch.uint8), (0, -mask.numel() % 8)).reshape(-1, 8)
        places = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=mask.device)
        rows, columns = mask.shape
        return cls((rows, columns), bytes((flat * places).sum(1).tolist()), **facts)

    @property
    def achieved_acceleration(self) -> float:
        """Points of the full scan per measured point."""
        return math.prod(self.shape) / int.from_bytes(self.bits, "big").bit_count()

    @property
    def indices(self) -> Tensor:
        """The measured points as increasing indices into the flattened plane, int64, shape (points,)."""
        return self.as_tensor().flatten().nonzero().flatten()

    def as_tensor(self) -> Tensor:
        """Return the mask as booleans, shape ``shape``."""
        packed = torch.tensor(list(self.bits), dtype=torch.uint8)[:, None]
        flat = packed.bitwise_right_shift(torch.arange(7, -1, -1, dtype=torch.uint8)).bitwise_and(1).flatten()
        return flat[: math.prod(self.shape)].reshape(self.shape).bool()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON or YAML file; the points compressed (zlib) and as text (base64)."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {**values, "bits": base64.b64encode(zlib.compress(self.bits, 9)).decode("ascii")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PointMask:
        """Read what `to_dict` wrote.

        Raises
        ------
        ConfigError
            If a key is unknown or missing, or the points are damaged.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise ConfigError(f"A point mask has no {key!r}; did you mean {nearest_name(key, known)!r}?")
        for key in ("shape", "bits"):
            if key not in values:
                raise ConfigError(f"A point mask needs {key!r}; got only {sorted(values)}.")
        try:
            bits = zlib.decompress(base64.b64decode(values["bits"], validate=True))
        except (binascii.Error, zlib.error, TypeError, ValueError) as error:
            raise ConfigError(f"The points of this mask are damaged ({error}); write it again with to_dict.") from error
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**{**plain, "bits": bits})

    def __repr__(self) -> str:
        points = int.from_bytes(self.bits, "big").bit_count()
        return (
            f"PointMask({points} of {self.shape[0]} x {self.shape[1]} points, {self.kind}, "
            f"acceleration {self.achieved_acceleration:.2f}, seed {self.seed})"
        )


def point_mask(
    shape: Sequence[int],
    acceleration: float,
    centre: int | tuple[int, int] = 24,
    kind: str = "poisson",
    seed: int = 0,
    partial_fourier: tuple[float, float] = (1.0, 1.0),
) -> PointMask:
    """Choose ``round(prod(shape) / acceleration)`` points of a plane of k-space, the centre always among them.

    Parameters
    ----------
    shape : sequence of int
        ``(ky, kx)`` or ``(kz, ky)`` of the full scan.
    acceleration : float
        At least 1, against the full plane: partial Fourier and the centre count towards it.
    centre : int or tuple of int
        Extent of the block sampled without gap around the zero frequency, at least 1.
    kind : {"poisson", "variable", "random", "equispaced"}
        How the other points are drawn. ``"poisson"``: irregular, but no closer than a distance that grows with the
        radius, see `poisson_disc`. ``"variable"``: without replacement, with a density that falls as a polynomial of
        the radius (Lustig, Donoho & Pauly 2007). ``"random"``: uniformly. ``"equispaced"``: on a sheared lattice
        (Breuer et al. 2006), each row shifted against the one above.
    seed : int
    partial_fourier : tuple of float
        Fraction of each axis that is sampled at all, above 0.5; the lower end is left out.

    Returns
    -------
    PointMask

    Raises
    ------
    ConfigError
        If a value is out of range, or the centre alone takes more points than the acceleration leaves.

    Examples
    --------
    >>> point_mask((64, 48), acceleration=4, centre=12)
    PointMask(768 of 64 x 48 points, poisson, acceleration 4.00, seed 0)
    """
    if kind not in POINT_KINDS:
        nearest = nearest_name(str(kind), POINT_KINDS)
        raise ConfigError(f"A point mask is one of {', '.join(POINT_KINDS)}; got {kind!r}. Did you mean {nearest!r}?")
    rows, columns = (int(n) for n in shape)
    if min(rows, columns) < 1:
        raise ConfigError(f"A point mask wants a positive shape; got {(rows, columns)}.")
    if not 1.0 <= acceleration <= rows * columns:
        raise ConfigError(
            f"The acceleration of {rows} x {columns} points lies between 1 and {rows * columns}; got {acceleration}."
        )
    block = (centre, centre) if isinstance(centre, int) else (int(centre[0]), int(centre[1]))
    if not (1 <= block[0] <= rows and 1 <= block[1] <= columns):
        raise ConfigError(f"The centre lies between 1 x 1 and {rows} x {columns}; got {block[0]} x {block[1]}.")
    allowed = torch.zeros(rows, columns, dtype=torch.bool)
    allowed[
        tuple(slice(sampled_half(n, part), n) for n, part in zip((rows, columns), partial_fourier, strict=True))
    ] = True
    mask = torch.zeros_like(allowed)
    mask[tuple(slice(n // 2 - c // 2, n // 2 - c // 2 + c) for n, c in zip((rows, columns), block, strict=True))] = True
    mask &= allowed
    outer = allowed & ~mask
    budget = round(rows * columns / acceleration)
    number = budget - int(mask.sum())
    if number < 0:
        raise ConfigError(
            f"A centre of {block[0]} x {block[1]} points does not fit into the {budget} points that acceleration "
            f"{acceleration:g} leaves of {rows} x {columns}; make it smaller or accelerate less."
        )
    if number > int(outer.sum()):
        raise ConfigError(
            f"Partial Fourier {partial_fourier} leaves {int(allowed.sum())} of {rows} x {columns} points, acceleration "
            f"{acceleration:g} wants {budget}; accelerate by at least {rows * columns / int(allowed.sum()):.4g}."
        )
    if number > 0:
        mask.view(-1)[_drawn(outer, number, kind, torch.Generator().manual_seed(seed))] = True
    halves = (float(partial_fourier[0]), float(partial_fourier[1]))
    return PointMask.of(
        mask, kind=kind, acceleration=float(acceleration), centre=block, partial_fourier=halves, seed=seed
    )


def _drawn(outer: Tensor, number: int, kind: str, generator: torch.Generator) -> Tensor:
    """Flat indices of ``number`` different points of ``outer``."""
    rows, columns = outer.shape
    points = outer.flatten().nonzero().flatten()
    if kind == "random":
        return points[torch.randperm(len(points), generator=generator)[:number]]
    if kind == "equispaced":
        return points[_lattice_order(points, columns, len(points) / number, generator)[:number]]
    y = ((torch.arange(rows, dtype=torch.float64) - rows // 2) / (rows / 2))[:, None]
    x = (torch.arange(columns, dtype=torch.float64) - columns // 2) / (columns / 2)
    radius = torch.hypot(y, x)
    if kind == "poisson":
        return poisson_disc(radius, outer, number, generator)
    density = (1.0 - radius).clamp(min=0.0) ** DENSITY_EXPONENT + DENSITY_FLOOR
    return points[torch.multinomial(density.flatten()[points], number, replacement=False, generator=generator)]


def _lattice_order(points: Tensor, columns: int, step: float, generator: torch.Generator) -> Tensor:
    """Order of the points such that the first ones form a sheared lattice, one of ``step`` points in each row."""
    whole = max(1, round(step))
    if abs(step - whole) < SNAP * step:
        step = float(whole)
    shuffled = torch.randperm(len(points), generator=generator)
    y, x = points[shuffled] // columns, points[shuffled] % columns
    offset = torch.rand((), generator=generator, dtype=torch.float64) * step
    # Whole steps give whole phases but for rounding, many points each; the shuffle spreads what is left over.
    phase = torch.remainder((x - _shear(step) * y).double() + offset.floor(), step)
    return shuffled[phase.argsort(stable=True)]


def _shear(step: float) -> int:
    """Shift from row to row for which the closest lattice points are farthest apart."""

    def closest(shift: int) -> float:
        return min(math.hypot(dy, (dy * shift + step / 2) % step - step / 2) for dy in range(1, math.ceil(step) + 1))

    return max(range(math.ceil(step)), key=lambda shift: min(closest(shift), step))
