"""Elements of a chart as SVG: a frame with ticks, markers that differ in shape, lines that differ in dashes.

Colours are set by class in the style sheet, so that they suit the light and the dark page; every text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

#: Number of colours, shapes and dashes before they repeat.
SERIES = 8


_SHAPES = (
    "M-5,0 a5,5 0 1,0 10,0 a5,5 0 1,0 -10,0 Z",  # circle
    "M-4.5,-4.5 H4.5 V4.5 H-4.5 Z",  # square
    "M0,-5.5 L5.5,4.5 H-5.5 Z",  # triangle
    "M0,-6 L6,0 L0,6 L-6,0 Z",  # diamond
    "M0,5.5 L5.5,-4.5 H-5.5 Z",  # triangle, upside down
    "M-1.6,-5.5 H1.6 V-1.6 H5.5 V1.6 H1.6 V5.5 H-1.6 V1.6 H-5.5 V-1.6 H-1.6 Z",  # plus
    "M-5,-3 L-3,-5 L0,-2 L3,-5 L5,-3 L2,0 L5,3 L3,5 L0,2 L-3,5 L-5,3 L-2,0 Z",  # cross
    "M0,-6 L1.5,-2 L5.7,-1.9 L2.4,0.8 L3.5,4.9 L0,2.5 L-3.5,4.9 L-2.4,0.8 L-5.7,-1.9 L-1.5,-2 Z",  # star
)

_DASHES = ("none", "8 3", "2 3", "10 3 2 3", "5 5", "12 3", "2 6", "6 2 2 2 2 2")


@dataclass(frozen=True)
class Axis:
    """One axis of a frame.

    Attributes
    ----------
    label : str
        Quantity, with its unit.
    low, high : float
        Ends, in the unit.
    log : bool
        Decades instead of steps; `low` is positive then.
    """

    label: str
    low: float
    high: float
    log: bool = False

    @classmethod
    def around(cls, label: str, values: Iterable[float], log: bool = False) -> Axis:
        """Choose ends that leave a margin around the finite values (positive ones when logarithmic)."""
        found = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
        low, high = (min(found), max(found)) if found else (1.0, 2.0)
        if log:
            margin = max((high / low) ** 0.08, 1.25)
            return cls(label, low / margin, high * margin, True)
        margin = 0.08 * (high - low) or max(0.05 * abs(high), 0.5)
        return cls(label, low - margin, high + margin)

    def share(self, value: float) -> float:
        """Where a value lies between the ends, 0 to 1."""
        if self.log:
            return math.log(max(value, 1e-300) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values between the ends."""
        if not self.log:
            step = _round_step((self.high - self.low) / 5)
            first = math.ceil(self.low / step - 1e-9)
            return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for parts in ((1,), (1, 3), (1, 2, 5)):
            found = [p * 10.0**d for d in decades for p in parts if self.low <= p * 10.0**d <= self.high]
            if len(found) >= 3:
                return found[:: math.ceil(len(found) / 7)]
        return Axis("", self.low, self.high).ticks() if len(found) < 2 else found


@dataclass(frozen=True)
class Frame:
    """Two axes on a drawing of `width` x `height`, its left upper corner at (`left`, `top`)."""

    x: Axis
    y: Axis
    width: float
    height: float
    left: float = 64.0
    top: float = 12.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Place of a value on the drawing."""
        return self.left + self.width * self.x.share(x), self.top + self.height * (1 - self.y.share(y))

    def axes(self) -> str:
        """Draw lines, ticks and labels."""
        bottom, right = self.top + self.height, self.left + self.width
        parts = []
        for value in self.x.ticks():
            x, _ = self.at(value, self.y.low)
            parts.append(line(x, self.top, x, bottom, "grid"))
            parts.append(text(x, bottom + 18, _number(value), "tick", "middle"))
        for value in self.y.ticks():
            _, y = self.at(self.x.low, value)
            parts.append(line(self.left, y, right, y, "grid"))
            parts.append(text(self.left - 8, y + 4, _number(value), "tick", "end"))
        parts.append(line(self.left, self.top, self.left, bottom, "axis"))
        parts.append(line(self.left, bottom, right, bottom, "axis"))
        parts.append(text((self.left + right) / 2, bottom + 40, self.x.label, "label", "middle"))
        middle = self.top + self.height / 2
        rotation = f' transform="rotate(-90 {self.left - 48:.1f} {middle:.1f})"'
        parts.append(text(self.left - 48, middle, self.y.label, "label", "middle", rotation))
        return "".join(parts)


def drawing(width: float, height: float, name: str, description: str, content: str, identity: str) -> str:
    """Wrap elements as an SVG with a name and a description for screen readers."""
    return (
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-labelledby="{identity}-t {identity}-d" xmlns="http://www.w3.org/2000/svg">'
        f'<title id="{identity}-t">{escape(name)}</title><desc id="{identity}-d">{escape(description)}</desc>'
        f"{content}</svg>"
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Draw a straight line of a class of the style sheet."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, words: str, kind: str, anchor: str = "start", more: str = "") -> str:
    """Write words at a place; `more` are further attributes, which the caller has escaped."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def mark(x: float, y: float, series: int, words: str = "", hollow: bool = False) -> str:
    """Draw the marker of a series, with words that are shown under the pointer."""
    title = f"<title>{escape(words)}</title>" if words else ""
    kind = "hollow" if hollow else "solid"
    return (
        f'<path class="s{series % SERIES} {kind}" d="{_SHAPES[series % SERIES]}" '
        f'transform="translate({x:.1f} {y:.1f})">{title}</path>'
    )


def curve(places: Sequence[tuple[float, float]], series: int) -> str:
    """Draw the line of a series through places of the drawing."""
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return (
        f'<polyline class="curve s{series % SERIES}" stroke-dasharray="{_DASHES[series % SERIES]}" points="{points}"/>'
    )


def legend(names: Sequence[tuple[str, int]], left: float, top: float, width: float) -> tuple[str, float]:
    """Write the names beside their markers, in as many rows as they need; return the elements and their height."""
    parts, x, y = [], left, top
    for name, series in names:
        room = 40 + 7.4 * len(name)
        if x > left and x + room > left + width:
            x, y = left, y + 22
        parts.append(mark(x + 6, y, series))
        parts.append(text(x + 16, y + 4.5, name, "name"))
        x += room
    return "".join(parts), y + 22 - top


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _number(value: float) -> str:
    return f"{0.0 if abs(value) < 1e-12 else value:.4g}".replace("-", "\N{MINUS SIGN}")
