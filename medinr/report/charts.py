"""Charts of a page: PSNR against seconds, and the convergence of iterative methods with their stopping points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from medinr.report import svg
from medinr.report.tables import PatientMean

_WIDTH, _HEIGHT, _PANEL = 640.0, 300.0, 250.0

#: Points a curve is thinned to: at this size more cannot be distinguished.
_POINTS = 120


def psnr_time_chart(points: Sequence[PatientMean], series: Mapping[str, int], task: str, identity: str) -> str:
    """Draw PSNR against seconds per slice, one mark per patient and method.

    Parameters
    ----------
    points : sequence of PatientMean
        Of one task.
    series : mapping of str to int
        Marker and colour of each method.
    task : str
        Name of the task, for readers.
    identity : str
        Prefix of the identifiers in the drawing, unique on its page.

    Returns
    -------
    str
        SVG; nothing where no mark has both numbers.
    """
    shown = [p for p in points if math.isfinite(p.psnr) and p.seconds > 0]
    if not shown:
        return ""
    frame = svg.Frame(
        svg.Axis.around("wall time per slice, s (logarithmic)", [p.seconds for p in shown], log=True),
        svg.Axis.around("PSNR, dB", [p.psnr for p in shown]),
        _WIDTH - 64 - 16,
        _HEIGHT,
    )
    marks = "".join(
        svg.mark(
            *frame.at(p.seconds, p.psnr),
            series[p.method],
            f"{p.method}, patient {p.subject}: {p.psnr:.2f} dB in {p.seconds:.3g} s",
            hollow=True,
        )
        for p in shown
    )
    names = [(name, series[name]) for name in dict.fromkeys(p.method for p in shown)]
    words, tall = svg.legend(names, 64, _HEIGHT + 78, _WIDTH - 72)
    patients = len({p.subject for p in shown})
    description = (
        f"One mark per patient and method: {len(names)} methods, {patients} patients. Higher is better, left is faster."
    )
    return svg.drawing(
        _WIDTH, _HEIGHT + 78 + tall, f"{task}: PSNR against time", description, frame.axes() + marks + words, identity
    )


def convergence_chart(
    curves: Mapping[str, Mapping[str, Any]], series: Mapping[str, int], name: str, identity: str
) -> str:
    """Draw PSNR and residual of the iterative methods against seconds, with their stopping points.

    Parameters
    ----------
    curves : mapping
        Of a `medinr.jobs.evaluate.results.Case`.
    series, name, identity
        As for `psnr_time_chart`; `name` is that of the slice, for readers.

    Returns
    -------
    str
        SVG; nothing where there is no curve.
    """
    wide = (_WIDTH - 2 * 64 - 24) / 2
    panels, names, left = [], [], 64.0
    for key, label, log in (("psnr", "PSNR, dB", False), ("residual", "residual (logarithmic)", True)):
        found = {method: places for method, curve in curves.items() if (places := _places(curve, key, log))}
        if not found:
            continue
        names += [method for method in found if method not in names]
        frame = svg.Frame(
            svg.Axis.around("wall time, s", [0.0, *(x for places in found.values() for x, _ in places)]),
            svg.Axis.around(label, [y for places in found.values() for _, y in places], log=log),
            wide,
            _PANEL,
            left,
        )
        panels.append(frame.axes())
        for method, places in found.items():
            stop = stop_place(curves[method], key) or places[-1]
            drawn = [frame.at(*place) for place in _thin(places)]
            panels.append(svg.curve(drawn, series[method]))
            panels.append(svg.mark(*frame.at(*stop), series[method], f"{method}: {stop_words(curves[method])}"))
        left += wide + 88
    if not panels:
        return ""
    shown = [(method, series[method]) for method in names]
    words, tall = svg.legend(shown, 64, _PANEL + 78, _WIDTH - 72)
    description = "; ".join(f"{method}: {stop_words(curves[method])}" for method in names)
    return svg.drawing(
        _WIDTH, _PANEL + 78 + tall, f"{name}: convergence", description, "".join(panels) + words, identity
    )


def stop_words(curve: Mapping[str, Any]) -> str:
    """Return where and why a method stopped. Without steps in the curve its last point is the result that was kept."""
    seconds = curve.get("seconds") or [math.nan]
    step = "" if curve.get("stopped_at") is None else f" at step {curve['stopped_at']}"
    reason = f" ({curve['reason']})" if curve.get("reason") else ""
    return f"stopped{step}; its result after {_stop_second(curve, seconds):.3g} s{reason}"


def stop_place(curve: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    """Find the second and the value (``psnr`` or ``residual``) a method stopped at; None without any."""
    places = _places(curve, key, log=False)
    wanted = _stop_second(curve, curve.get("seconds") or [math.nan])
    return min(places, key=lambda place: abs(place[0] - wanted)) if places else None


def _stop_second(curve: Mapping[str, Any], seconds: Sequence[float]) -> float:
    steps = curve.get("steps")
    if steps and curve.get("stopped_at") in steps:
        return float(seconds[steps.index(curve["stopped_at"])])
    return float(seconds[-1])


def _places(curve: Mapping[str, Any], key: str, log: bool) -> list[tuple[float, float]]:
    pairs = zip(curve.get("seconds") or [], curve.get(key) or [], strict=False)
    return [
        (float(x), float(y))
        for x, y in pairs
        if y is not None and math.isfinite(y) and x is not None and (y > 0 or not log)
    ]


def _thin(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(places) <= _POINTS:
        return list(places)
    return [places[round(k * (len(places) - 1) / (_POINTS - 1))] for k in range(_POINTS)]
