"""Options that several commands share: one function adds an option, so that it reads alike everywhere."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from medinr.io.choice import ScanChoice

#: Exit code of ``--strict`` for a result with a warning.
FAILED_CHECK = 3

#: Raw data that are read.
RAW = "raw data (ISMRMRD, fastMRI, Data Exchange .h5; BART .cfl; HTC 2022 .mat; .npy or .mat with a sidecar)"

#: Scans that are read.
SCAN = "DICOM folder, file, DICOMDIR or zip; NIfTI (.nii, .nii.gz, .hdr/.img), .mgz, .nrrd, .mha"


def choice_of(options: argparse.Namespace) -> ScanChoice:
    """Which scan is meant: what `add_choice` added, as one value; `inspect` has no ``--straighten``."""
    return ScanChoice(options.index, options.series, options.modality, getattr(options, "straighten", False))


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Add ``--index``, ``--series``, ``--modality`` and ``--straighten``."""
    add_one_of_several(parser)
    add_modality(parser)
    parser.add_argument(
        "--straighten", action="store_true", help="resample a DICOM stack with gantry tilt to a straight grid"
    )


def add_one_of_several(parser: argparse.ArgumentParser) -> None:
    """Add ``--index`` and ``--series``."""
    parser.add_argument("--index", type=int, help="which volume of a 4D file, from 0")
    parser.add_argument(
        "--series", metavar="CHOICE", help="which DICOM series: number from 1, UID, or text such as 't2*tra'"
    )


def add_modality(parser: argparse.ArgumentParser) -> None:
    """Add ``--modality``."""
    parser.add_argument("--modality", choices=["MR", "CT"], help="of a file that does not name it, such as NIfTI")


def add_task(parser: argparse.ArgumentParser) -> None:
    """Add ``--task``."""
    parser.add_argument(
        "--task",
        default="kspace",
        help="denoise, superres, kspace, ct, or a configuration file (default: %(default)s)",
    )


def add_slices(parser: argparse.ArgumentParser) -> None:
    """Add ``--slices``."""
    parser.add_argument("--slices", type=parse_slices, help="10 or 10,12,14 or 10:20:2, counted from 0; default: all")


def parse_positive(text: str) -> int:
    """Read a whole number of 1 or more."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def parse_slices(text: str) -> tuple[int, ...]:
    """Read ``10``, ``10,12,14`` or ``10:20:2`` (end excluded) as slice numbers.

    Examples
    --------
    >>> parse_slices("10:16:2")
    (10, 12, 14)
    """
    try:
        if ":" in text:
            start, stop, *step = (int(part) for part in text.split(":"))
            numbers = tuple(range(start, stop, *step))
        else:
            numbers = tuple(int(part) for part in text.split(","))
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 10 or 10,12,14 or 10:20:2") from error
    if not numbers:
        raise argparse.ArgumentTypeError(f"{text!r} names no slice")
    return numbers


def add_deidentify(parser: argparse.ArgumentParser) -> None:
    """Add ``--deidentify``."""
    parser.add_argument(
        "--deidentify",
        action="store_true",
        help="write DICOM without what identifies the patient (basic profile); burned-in text and faces stay",
    )


def add_sidecar(parser: argparse.ArgumentParser) -> None:
    """Add ``--sidecar``."""
    parser.add_argument(
        "--sidecar",
        type=Path,
        metavar="FILE",
        help="YAML file with facts that a raw file lacks: axes, spacing, angles (default: SOURCE.yaml)",
    )


def add_out(parser: argparse.ArgumentParser, default: str) -> None:
    """Add ``--out``, a folder."""
    parser.add_argument("--out", type=Path, default=Path(default), help="output folder (default: %(default)s)")


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Add ``--strict``."""
    parser.add_argument(
        "--strict",
        action="store_true",
        help=f"exit with code {FAILED_CHECK} when the result is written with a warning",
    )


def strict_code(options: argparse.Namespace, warnings: Sequence[str]) -> int:
    """Exit code of a command whose result has these warnings."""
    return FAILED_CHECK if options.strict and warnings else 0


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add ``--set`` and ``--overwrite``."""
    add_overrides(parser)
    add_overwrite(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add ``--set``."""
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="setting that overrides the configuration, such as plug_and_play.iterations=40 (repeatable)",
    )


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add ``--overwrite``."""
    parser.add_argument("--overwrite", action="store_true", help="replace an existing result")
