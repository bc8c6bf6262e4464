"""How a slice was measured, drawn: lines or points of k-space, or the angles of the views."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from medinr.report import svg

_SIDE, _LEFT, _TOP = 240.0, 64.0, 12.0

#: Points drawn at most; a denser mask is thinned evenly.
_POINTS = 4000


def sampling_words(sampling: Mapping[str, Any]) -> str:
    """Describe what was sampled, in a sentence."""
    kind = sampling.get("kind", "none")
    if kind == "lines":
        lines, count = sampling.get("lines", []), sampling.get("count", 0)
        share = f": {count / len(lines):.2f}x undersampled" if lines and count else ""
        return f"{len(lines)} of {count} phase-encoding lines{share}."
    if kind == "points":
        return f"{len(sampling.get('points', []))} of {math.prod(sampling.get('shape', [0, 0]))} points of k-space."
    if kind == "angles":
        angles = sampling.get("angles", [])
        span = f" over {math.degrees(max(angles) - min(angles)):.4g} degrees" if angles else ""
        return f"{len(angles)} views{span}."
    return "Every pixel was measured: nothing to draw."


def sampling_chart(sampling: Mapping[str, Any], name: str, identity: str) -> str:
    """Draw what was sampled.

    Parameters
    ----------
    sampling : mapping
        Of a `medinr.jobs.evaluate.results.Case`: ``kind`` ``lines`` with ``count``, ``lines`` and ``axis``; ``points``
        with ``shape`` and ``points`` (pairs y, x); ``angles`` with ``angles`` in rad.
    name : str
        Name of the slice, for readers.
    identity : str
        Prefix of the identifiers in the drawing, unique on its page.

    Returns
    -------
    str
        SVG; nothing where everything was measured.
    """
    draw = {"lines": _lines, "points": _points, "angles": _angles}.get(str(sampling.get("kind")))
    content = draw(sampling) if draw else ""
    if not content:
        return ""
    size = _SIDE + _LEFT + 16
    return svg.drawing(size, _SIDE + 66, f"{name}: sampling", sampling_words(sampling), content, identity)


def _lines(sampling: Mapping[str, Any]) -> str:
    count, lines = int(sampling.get("count", 0)), sampling.get("lines", [])
    if not count or not lines:
        return ""
    across = sampling.get("axis", "y") == "x"
    thick = max(_SIDE / count, 0.6)
    parts = []
    for number in lines:
        start = _SIDE * number / count
        x, y, w, h = (start, 0.0, thick, _SIDE) if across else (0.0, _SIDE - start - thick, _SIDE, thick)
        parts.append(f'<rect class="sample" x="{_LEFT + x:.2f}" y="{_TOP + y:.2f}" width="{w:.2f}" height="{h:.2f}"/>')
    return _box("kx, 1/pixel", "ky, 1/pixel") + "".join(parts)


def _points(sampling: Mapping[str, Any]) -> str:
    points, shape = sampling.get("points", []), sampling.get("shape", [0, 0])
    if not points or not all(shape):
        return ""
    every = math.ceil(len(points) / _POINTS)
    rows, columns = shape
    w, h = max(_SIDE / columns, 0.8), max(_SIDE / rows, 0.8)
    path = "".join(
        f"M{_LEFT + _SIDE * x / columns:.1f},{_TOP + _SIDE * (1 - y / rows) - h:.1f}h{w:.1f}v{h:.1f}h-{w:.1f}z"
        for y, x in points[::every]
    )
    return _box("kx, 1/pixel", "ky, 1/pixel") + f'<path class="sample" d="{path}"/>'


def _box(x: str, y: str) -> str:
    frame = svg.Frame(svg.Axis(x, -0.5, 0.5), svg.Axis(y, -0.5, 0.5), _SIDE, _SIDE, _LEFT, _TOP)
    back = f'<rect class="back" x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}"/>'
    return back + frame.axes()


def _angles(sampling: Mapping[str, Any]) -> str:
    angles: Sequence[float] = sampling.get("angles", [])
    if not angles:
        return ""
    middle, radius = (_LEFT + _SIDE / 2, _TOP + _SIDE / 2), _SIDE / 2 - 26
    parts = [f'<circle class="back" cx="{middle[0]}" cy="{middle[1]}" r="{radius}"/>']
    for angle in angles:
        x, y = middle[0] + radius * math.cos(angle), middle[1] - radius * math.sin(angle)
        parts.append(svg.line(*middle, x, y, "view"))
    for degrees in range(0, 360, 45):
        angle = math.radians(degrees)
        x, y = middle[0] + (radius + 8) * math.cos(angle), middle[1] - (radius + 12) * math.sin(angle)
        anchor = "middle" if degrees % 180 == 90 else "start" if math.cos(angle) > 0 else "end"
        parts.append(svg.text(x, y + 4, f"{degrees}\N{DEGREE SIGN}", "tick", anchor))
    parts.append(svg.text(middle[0], _TOP + _SIDE + 22, "direction of each view, degrees", "label", "middle"))
    return "".join(parts)
