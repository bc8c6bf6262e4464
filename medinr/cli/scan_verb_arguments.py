"""Options and help texts of `denoise` and `superres`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from medinr.cli.shared_options import SCAN, add_choice, add_deidentify, add_out, add_overwrite, add_slices, add_strict

#: Said in the help of both.
_LEARNED = (
    "A prior that was learned from other people's scans can remove small structure, or invent it: compare with the "
    "scan as it was acquired."
)


def add_scan_verbs(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Add the commands that treat a scan as it was acquired.

    Parameters
    ----------
    add : callable
        Makes the parser of a command from its name and description.
    """
    denoise = add(
        "denoise",
        "Denoise a scan as it was acquired (MR, CT; 2D, 3D, 4D): its noise is found from the scan itself. " + _LEARNED,
    )
    _common(
        denoise,
        "denoised",
        "plug-and-play (default): the learned denoiser, told the noise that was found; inr: coordinate networks that "
        "learn what it gives (no better in any measurement, about 30 times as long); inr-without-denoiser: coordinate "
        "networks fitted to the scan alone",
    )
    denoise.add_argument(
        "--each-alone",
        action="store_true",
        help="denoise every volume of a series by itself (default: four volumes or more help each other)",
    )

    superres = add(
        "superres",
        "Bring a scan as it was acquired to a finer grid (MR, CT), by its slice profile and its noise. " + _LEARNED,
    )
    grid = superres.add_mutually_exclusive_group(required=True)
    grid.add_argument(
        "--spacing", type=parse_lengths, metavar="MM[,MM,MM]", help="of the voxels wanted: cubic, or along x, y and z"
    )
    grid.add_argument(
        "--factor", type=parse_factors, metavar="N[,N,N]", help="times finer along all axes, or along x, y and z"
    )
    grid.add_argument("--like", type=Path, metavar="SCAN", help="another scan whose grid is wanted")
    superres.add_argument(
        "--slice-thickness",
        type=parse_length,
        metavar="MM",
        help="of the slices as they were acquired (default: the header's; of NIfTI without one, their distance)",
    )
    _common(
        superres,
        "superres",
        "plug-and-play (default): the learned denoiser as prior, in planes of several directions; inr: coordinate "
        "networks that learn what it gives (measured no better); inr-without-denoiser: coordinate networks between "
        "steps of data consistency (no better than those steps alone)",
    )


def _common(parser: argparse.ArgumentParser, out: str, methods: str) -> None:
    parser.add_argument("source", type=Path, help=SCAN)
    add_out(parser, out)
    parser.add_argument(
        "--sigma",
        metavar="NUMBER|MAP",
        help="standard deviation of the noise in the scan's units, or a map of it on the scan's grid (default: found)",
    )
    parser.add_argument("--noise-scan", type=Path, metavar="FILE", help="a scan without signal, to take the noise from")
    parser.add_argument(
        "--coils", type=parse_count, metavar="N", help="of a root sum of squares of so many coils (default: found)"
    )
    parser.add_argument(
        "--phase", type=Path, metavar="SCAN", help="phase of the magnitude (or imaginary part of the real one)"
    )
    parser.add_argument(
        "--blend",
        type=parse_share,
        metavar="0..1",
        help="how much of the full effect (default: 1; 0.25 where the noise could not be found reliably)",
    )
    parser.add_argument("--mask", type=Path, metavar="FILE", help="what is treated; elsewhere values stay as they are")
    parser.add_argument(
        "--model",
        help="shipped model, .safetensors file, or 'auto': the general one for an unusual scan; default: that of the "
        "modality",
    )
    parser.add_argument("--method", default="plug-and-play", help=methods)
    add_slices(parser)
    add_choice(parser)
    add_deidentify(parser)
    parser.add_argument(
        "--force",
        action="store_true",
        help="treat it although it looks like labels, a map, phase or another modality, or was denoised by medinr",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what was found, and how long it would take; write nothing"
    )
    add_strict(parser)
    add_overwrite(parser)


def parse_length(text: str) -> float:
    """Read a length in mm."""
    return _number(text, 0.01, 100.0, "a length of 0.01 to 100 mm")


def parse_lengths(text: str) -> tuple[float, ...]:
    """Read one length in mm, or three along x, y and z.

    Examples
    --------
    >>> parse_lengths("1"), parse_lengths("0.5,0.5,1")
    ((1.0,), (0.5, 0.5, 1.0))
    """
    return tuple(parse_length(part) for part in _one_or_three(text))


def parse_factors(text: str) -> tuple[float, ...]:
    """Read one factor, or three along x, y and z.

    Examples
    --------
    >>> parse_factors("2,2,1")
    (2.0, 2.0, 1.0)
    """
    return tuple(_number(part, 1.0, 20.0, "a factor of 1 to 20") for part in _one_or_three(text))


def parse_share(text: str) -> float:
    """Read a number from 0 to 1."""
    return _number(text, 0.0, 1.0, "a number from 0 to 1")


def parse_count(text: str) -> int:
    """Read a whole number of coils."""
    if not text.isdigit() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 to 256")
    return int(text)


def _one_or_three(text: str) -> list[str]:
    parts = text.split(",")
    if len(parts) not in (1, 3):
        raise argparse.ArgumentTypeError(f"{text!r} is neither one number nor three, for x, y and z")
    return parts


def _number(text: str, low: float, high: float, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value
