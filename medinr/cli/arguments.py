"""Every command's options and help texts."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """\
Shared-trunk coordinate networks for CT and MR: pretrain one trunk on a handful of scans, transfer it to a
new scan, and solve denoising, super-resolution and reconstruction as inverse problems."""

EPILOG = "Not a medical device. Undersampling simulated from processed scans looks better than a scanner's."


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


def build_parser(version: str) -> argparse.ArgumentParser:
    """Build the parser of the `medinr` command."""
    # Options every command has stand once, on a parent.
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    parser = argparse.ArgumentParser("medinr", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"medinr {version}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common], epilog=EPILOG)

    inspect = add("inspect", "Say what is in a file or folder: series, geometry, units, oddities.")
    inspect.add_argument("path", type=Path)
    _one_of_several(inspect)

    pretrain = add("pretrain", "Train a trunk on the train split of a manifest; continues when interrupted.")
    pretrain.add_argument("config", help="configuration file, or name of a shipped one (pretrain_brain_mr)")
    _out(pretrain, "trunks")
    _settings(pretrain)

    reconstruct = add(
        "reconstruct", "Reconstruct a scan (its measurement is simulated and saved) or a measurement file."
    )
    _source(reconstruct, "NIfTI file, DICOM folder, or measurement .safetensors")
    _out(reconstruct, "reconstruction")
    reconstruct.add_argument("--trunk", help="shipped trunk, .safetensors file, or 'random'; default: the task's")
    _settings(reconstruct)

    simulate = add("simulate", "Simulate the measurement of a scan and save it, replayable, without reconstructing.")
    _source(simulate, "NIfTI file or DICOM folder")
    simulate.add_argument(
        "--out", type=Path, default=Path("measurement.safetensors"), help="file (default: %(default)s)"
    )
    _settings(simulate)

    evaluate = add("evaluate", "Score medinr, the naive input and TV on the held-out split of a manifest.")
    evaluate.add_argument("manifest", help="CSV file, or name of a shipped one (excerpts)")
    evaluate.add_argument("config", nargs="?", default="evaluate", help="configuration (default: %(default)s)")
    _out(evaluate, "evaluation")
    _settings(evaluate)

    trunks = add("trunks", "List the trunks that ship with medinr, or show the card of one.")
    trunks.add_argument("name", nargs="?", help="trunk or .safetensors file whose card to show")

    benchmark = add("benchmark", "Measure speed as a ratio, side by side in one run.")
    benchmark.add_argument("what", choices=["fit"], help="fit: time to 30, 35 and 40 dB against the published recipe")
    benchmark.add_argument("--scan", type=Path, help="brain MR scan (default: the shipped held-out excerpt)")
    benchmark.add_argument("--slice", type=int, default=1, help="slice number (default: %(default)s)")
    benchmark.add_argument("--size", type=int, default=178, help="pixels per side (default: %(default)s)")
    benchmark.add_argument("--trunk", default="brain_mr", help="(default: %(default)s)")
    benchmark.add_argument("--recipe-steps", type=int, default=2000, help="at most (default: %(default)s)")
    _out(benchmark, "benchmark")
    benchmark.add_argument("--overwrite", action="store_true", help="replace a finished result")

    demo = add("demo", "Reconstruct a shipped 4x undersampled brain slice and compare it with TV.")
    _out(demo, "demo")
    demo.add_argument("--overwrite", action="store_true", help="replace a finished result")
    return parser


def _source(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("source", type=Path, help=what)
    parser.add_argument(
        "--task",
        default="kspace",
        help="denoise, superres, kspace, ct, or a configuration file (default: %(default)s)",
    )
    parser.add_argument("--slices", type=parse_slices, help="10 or 10,12,14 or 10:20:2, counted from 0; default: all")
    _one_of_several(parser)
    parser.add_argument("--modality", choices=["MR", "CT"], help="of a NIfTI file, which does not say")


def _one_of_several(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--index", type=int, help="which volume of a 4D NIfTI file, from 0")
    parser.add_argument("--series", type=int, help="which series of a DICOM folder, from 1")


def _out(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--out", type=Path, default=Path(default), help="output folder (default: %(default)s)")


def _settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="setting that wins over the configuration, such as fit.steps=50 (repeatable)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a finished result")
