"""Options and help texts of every command."""

from __future__ import annotations

import argparse
from pathlib import Path

from medinr.cli.manifest_arguments import add_manifest_commands
from medinr.cli.reconstruct_arguments import add_reconstruct_commands
from medinr.cli.scan_verb_arguments import add_scan_verbs
from medinr.cli.shared_options import (
    RAW,
    SCAN,
    add_choice,
    add_deidentify,
    add_modality,
    add_one_of_several,
    add_out,
    add_overrides,
    add_overwrite,
    add_settings,
    add_sidecar,
    add_slices,
    add_task,
    parse_positive,
)
from medinr.cli.threads import parse_threads

DESCRIPTION = """\
Denoising, super-resolution and reconstruction of CT and MR scans as inverse problems, with models pretrained on a
handful of scans: learned denoisers, and coordinate networks with a shared trunk."""

EPILOG = "Not a medical device. Undersampling simulated from processed scans gives better images than a scanner's."

#: Commands of two words: `main` joins them, and help and errors show them as typed.
TWO_WORDS = ("models choose", "manifest build", "manifest verify", "manifest split")

#: Commands that compute, and so have --threads.
COMPUTING = (
    *("denoise", "superres", "pretrain", "reconstruct", "reconstruct-simulated", "simulate", "evaluate"),
    *("models choose", "demo"),
)


def _millimetres(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length of 0.01 to 100 mm")
    return value


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return names


class _Version(argparse.Action):
    """Print the version; it is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"medinr {version('medinr')}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the `medinr` command."""
    # Options that every command has are defined once, on a parent parser.
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    computing = argparse.ArgumentParser(add_help=False)
    computing.add_argument(
        "--threads", type=parse_threads, metavar="N", help="processor threads (default: all that this process may use)"
    )
    parser = argparse.ArgumentParser("medinr", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        parents = [computing, common] if name in COMPUTING else [common]
        return commands.add_parser(name, help=text, description=text, parents=parents, epilog=EPILOG)

    inspect = add(
        "inspect",
        "Describe a file or folder: series, geometry, units, what a scan went through, and whether it can be used "
        "(exit code 2 when nothing can).",
    )
    inspect.add_argument("path", type=Path)
    add_one_of_several(inspect)
    add_modality(inspect)
    inspect.add_argument("--json", action="store_true", help="print JSON, without names of files and dates")
    add_sidecar(inspect)

    convert = add("convert", "Write any scan as NIfTI or as a derived DICOM series, on its own grid or another.")
    convert.add_argument("source", type=Path, help=SCAN)
    convert.add_argument("--out", type=Path, required=True, help=".nii.gz or .nii file; or a folder, for DICOM")
    add_slices(convert)
    add_choice(convert)
    convert.add_argument(
        "--grid", default="native", help="native, isotropic, or a scan whose grid is wanted (default: %(default)s)"
    )
    convert.add_argument(
        "--spacing", type=_millimetres, metavar="MM", help="of the isotropic grid (default: the finest)"
    )
    convert.add_argument(
        "--of",
        type=Path,
        metavar="SERIES",
        help="DICOM series that the scan was made from: what is written belongs to its patient and study",
    )
    add_deidentify(convert)
    add_overwrite(convert)

    pretrain = add("pretrain", "Train a model on the train split of a manifest; continues when interrupted.")
    pretrain.add_argument("config", help="configuration file, or name of a shipped one (pretrain_brain_mr)")
    add_out(pretrain, "models")
    add_settings(pretrain)

    add_scan_verbs(add)

    add_reconstruct_commands(add)

    evaluate = add("evaluate", "Score medinr and its baselines on the held-out split of a manifest; resumable.")
    evaluate.add_argument("manifest", help="CSV file, or name of a shipped one (excerpts)")
    evaluate.add_argument("config", nargs="?", default="evaluate", help="configuration (default: %(default)s)")
    evaluate.add_argument(
        "--tasks", type=_names, metavar="A,B", help="instead of the configuration's, such as kspace_mr_single_4x,ct"
    )
    evaluate.add_argument("--methods", type=_names, metavar="X,Y", help="instead of all quick methods that suit a task")
    evaluate.add_argument(
        "--model",
        dest="models",
        action="append",
        default=[],
        metavar="FILE",
        help="your own model instead of the tasks', for tasks of its modality (repeatable)",
    )
    evaluate.add_argument(
        "--workers", type=parse_positive, default=1, metavar="N", help="processes that share the threads (default: 1)"
    )
    evaluate.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="CLAIM",
        help="exit with 1 unless the claim holds, such as 'psnr[kspace_mr_single_4x] >= tv + 1.0' (repeatable)",
    )
    add_out(evaluate, "evaluation")
    add_settings(evaluate)

    report = add("report", "Write one HTML page of an evaluation: numbers, charts, images. It opens offline.")
    report.add_argument("folder", type=Path, help="output folder of `medinr evaluate`")
    report.add_argument("--out", type=Path, default=Path("report.html"), help="HTML file (default: %(default)s)")
    report.add_argument("--title", default="Evaluation", help="heading of the page (default: %(default)s)")
    report.add_argument(
        "--megabytes",
        type=parse_positive,
        default=13,
        metavar="MB",
        help="for the pictures; more keeps more grey levels and slices (default: %(default)s)",
    )
    report.add_argument("--pdf", action="store_true", help="also print it to PDF; needs Chromium")
    report.add_argument("--figures", action="store_true", help="also draw PNG and SVG for papers, in <OUT>_figures")
    add_overwrite(report)

    models = add("models", "List the models that ship with medinr, or show the card and layers of one.")
    models.add_argument("name", nargs="?", help="model or .safetensors file whose card to show")

    choose = add("models choose", "Rank models for a measurement by how well they predict a held-out part of it.")
    choose.add_argument("source", type=Path, help=f"{RAW}; measurement .safetensors; scan (simulated first): {SCAN}")
    add_task(choose)
    add_slices(choose)
    add_choice(choose)
    add_sidecar(choose)
    choose.add_argument(
        "--model",
        dest="models",
        action="append",
        default=[],
        metavar="FILE",
        help=".safetensors file to rank together with the shipped models (repeatable)",
    )
    add_overrides(choose)

    add_manifest_commands(add)

    check = add("check-operator", "Test your own forward operator: adjoint, derivative, linearity, batch, precision.")
    check.add_argument(
        "target",
        metavar="MODULE:OBJECT",
        help="an operator, or a function that makes one, as module:object or path/to/file.py:object; its code is run",
    )
    check.add_argument("--seed", type=int, default=0, help="of the random inputs (default: %(default)s)")
    check.add_argument(
        "--tolerance", type=_tolerance, help="largest relative error in float64 (default: 1e-10; float32 at least 1e-5)"
    )

    demo = add("demo", "Reconstruct a shipped 4x undersampled brain slice and compare it with TV.")
    add_out(demo, "demo")
    add_overwrite(demo)
    return parser
