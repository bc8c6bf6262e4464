"""Options of the benchmark of sparse-view CT."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from benchmarks.acquired_arguments import Add
from medinr.cli.shared_options import parse_positive

#: Iterations of total variation that are tried.
ITERATIONS = (200, 300, 400, 600, 1000)


def add_ct(add: Add) -> None:
    """Add ``ct``."""
    ct = add("ct", _ct, "Seconds and PSNR of sparse-view CT beside total variation run to its limit.")
    ct.add_argument("--scan", type=Path, metavar="SCAN", help="CT scan (default: the held-out excerpt)")
    ct.add_argument("--slice", type=int, default=0, metavar="N", help="of the scan, from 0 (default: %(default)s)")
    ct.add_argument("--views", type=parse_positive, default=60, metavar="N", help="projections (default: %(default)s)")
    ct.add_argument(
        "--beams", nargs="+", choices=("parallel", "fan"), default=("parallel", "fan"), help="default: both"
    )
    ct.add_argument(
        "--iterations",
        type=parse_positive,
        nargs="+",
        default=ITERATIONS,
        metavar="N",
        help=f"of total variation, rising (default: {' '.join(map(str, ITERATIONS))})",
    )
    ct.add_argument("--model", default="chest_ct", help="shipped model or .safetensors file (default: %(default)s)")


def _ct(options: argparse.Namespace, announce: Callable[[str], None]) -> Table:
    from benchmarks.ct_speed import benchmark_ct
    from medinr.config.shipped import excerpt

    return benchmark_ct(
        options.scan or excerpt("chest_ct", "LIDC-IDRI-0002"),
        options.slice,
        options.views,
        options.beams,
        options.iterations,
        options.model,
        options.out,
        overwrite=options.overwrite,
        announce=announce,
    )
