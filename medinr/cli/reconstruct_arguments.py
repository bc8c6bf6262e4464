"""Options and help texts of `reconstruct`, `reconstruct-simulated` and `simulate`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from medinr.cli.shared_options import (
    RAW,
    SCAN,
    add_choice,
    add_deidentify,
    add_out,
    add_settings,
    add_sidecar,
    add_slices,
    add_strict,
    add_task,
)

#: Options that only images have; `reconstruct` reads them, unlisted, to name the commands that take images.
OF_IMAGES = ("--index", "--series", "--modality", "--straighten", "--deidentify")


def add_reconstruct_commands(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Add the commands that reconstruct a measurement, or simulate one.

    Parameters
    ----------
    add : callable
        Makes the parser of a command from its name and description.
    """
    reconstruct = add("reconstruct", "Reconstruct raw data of a scanner, or a measurement file.")
    reconstruct.add_argument("source", type=Path, help=f"{RAW}; measurement .safetensors")
    add_task(reconstruct)
    add_slices(reconstruct)
    add_sidecar(reconstruct)
    _how(reconstruct, "reconstruction")
    for option in OF_IMAGES[:3]:
        reconstruct.add_argument(option, dest="of_images", action="append", help=argparse.SUPPRESS)
    for option in OF_IMAGES[3:]:
        reconstruct.add_argument(option, dest="of_images", action="append_const", const=option, help=argparse.SUPPRESS)

    simulated = add(
        "reconstruct-simulated",
        "Test a method on a scan: simulate a measurement of it, reconstruct that, and compare with the scan. "
        "The scan itself is not treated (medinr denoise and medinr superres do that).",
    )
    simulated.add_argument("source", type=Path, help=SCAN)
    add_task(simulated)
    add_slices(simulated)
    add_choice(simulated)
    _how(simulated, "simulated_reconstruction")
    add_deidentify(simulated)

    simulate = add("simulate", "Simulate the measurement of a scan and save it, without reconstructing.")
    simulate.add_argument("source", type=Path, help=SCAN)
    add_task(simulate)
    add_slices(simulate)
    add_choice(simulate)
    simulate.add_argument(
        "--out", type=Path, default=Path("measurement.safetensors"), help="file (default: %(default)s)"
    )
    add_settings(simulate)


def _how(parser: argparse.ArgumentParser, out: str) -> None:
    """Options of how a measurement is reconstructed."""
    parser.add_argument(
        "--prior",
        dest="auxiliary",
        type=Path,
        action="append",
        default=[],
        metavar="SCAN",
        help="an auxiliary scan of the patient, earlier or of another contrast (MR; NIfTI file or DICOM folder): "
        "registered, and used where it agrees with the measurement; repeatable, the same contrast first",
    )
    add_out(parser, out)
    parser.add_argument(
        "--model",
        help="shipped model, .safetensors file, 'random', or 'auto': the general one for an unusual scan; default: the "
        "task's",
    )
    parser.add_argument(
        "--method",
        help="plug-and-play (default), inr (a coordinate network), strainer (its published recipe), tv, or another of "
        "those that medinr evaluate compares (docs/evaluation.md)",
    )
    parser.add_argument(
        "--uncertainty",
        action="store_true",
        help="also write the standard deviation of every pixel, and the component not determined by the measurement",
    )
    parser.add_argument(
        "--fallback",
        action="store_true",
        help="write the direct image or that of total variation where it predicts held-out measurements better",
    )
    add_strict(parser)
    add_settings(parser)
