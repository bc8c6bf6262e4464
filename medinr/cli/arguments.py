"""Every command's options and help texts."""

from __future__ import annotations

import argparse
from pathlib import Path

from medinr.cli.threads import parse_threads

DESCRIPTION = """\
Shared-trunk coordinate networks for CT and MR: pretrain one trunk on a handful of scans, transfer it to a
new scan, and solve denoising, super-resolution and reconstruction as inverse problems."""

EPILOG = "Not a medical device. Undersampling simulated from processed scans looks better than a scanner's."


#: Raw data that are read.
RAW = "raw data (ISMRMRD, fastMRI, Data Exchange .h5; BART .cfl; HTC 2022 .mat; .npy or .mat with a sidecar)"

#: Commands that compute, and so take --threads.
COMPUTING = ("pretrain", "reconstruct", "simulate", "evaluate", "trunks choose", "benchmark", "demo")

#: What `medinr benchmark` measures.
BENCHMARKS = {
    "fit": "time to 30, 35, 40 dB and to the published recipe's last image, as ratios",
    "step": "a training step against the machine's matrix-product rate, and its memory",
    "volume": "all slices of a volume at once against one by one",
    "pretrain": "time to learn ten scans",
    "drawdown": "how far the PSNR falls during a fit, over tasks, slices and seeds",
    "backbones": "which backbone is best at what",
    "trunks": "what a trunk should be pretrained on",
    "raw": "held-out samples of a real multi-coil scan, against SigPy's reconstructions",
    "operators": "time and memory of every operator against SciPy, SigPy, skimage, deepinv, ASTRA",
}


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


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


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return names


def build_parser(version: str) -> argparse.ArgumentParser:
    """Build the parser of the `medinr` command."""
    # Options every command has stand once, on a parent.
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    computing = argparse.ArgumentParser(add_help=False)
    computing.add_argument(
        "--threads", type=parse_threads, metavar="N", help="processor threads (default: all this process is granted)"
    )
    parser = argparse.ArgumentParser("medinr", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"medinr {version}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        parents = [computing, common] if name in COMPUTING else [common]
        return commands.add_parser(name, help=text, description=text, parents=parents, epilog=EPILOG)

    inspect = add("inspect", "Say what is in a file or folder: series, geometry, units, oddities.")
    inspect.add_argument("path", type=Path)
    _one_of_several(inspect)
    _sidecar(inspect)

    pretrain = add("pretrain", "Train a trunk on the train split of a manifest; continues when interrupted.")
    pretrain.add_argument("config", help="configuration file, or name of a shipped one (pretrain_brain_mr)")
    _out(pretrain, "trunks")
    _settings(pretrain)

    reconstruct = add(
        "reconstruct",
        "Reconstruct raw data of a scanner, a measurement file, or a scan, whose measurement is simulated and saved.",
    )
    _source(reconstruct, f"{RAW}; measurement .safetensors; NIfTI file or DICOM folder")
    _sidecar(reconstruct)
    reconstruct.add_argument(
        "--prior",
        dest="earlier",
        type=Path,
        action="append",
        default=[],
        metavar="SCAN",
        help="the patient's earlier scan or other contrast (MR; NIfTI file or DICOM folder): registered, and believed "
        "where it agrees with the measurement; repeatable, the same contrast first",
    )
    _out(reconstruct, "reconstruction")
    reconstruct.add_argument("--trunk", help="shipped trunk, .safetensors file, or 'random'; default: the task's")
    reconstruct.add_argument(
        "--uncertainty",
        action="store_true",
        help="also write the standard deviation of every pixel, and what of the image the measurement did not decide",
    )
    _settings(reconstruct)

    simulate = add("simulate", "Simulate the measurement of a scan and save it, replayable, without reconstructing.")
    _source(simulate, "NIfTI file or DICOM folder")
    simulate.add_argument(
        "--out", type=Path, default=Path("measurement.safetensors"), help="file (default: %(default)s)"
    )
    _settings(simulate)

    evaluate = add("evaluate", "Score medinr and its peers on the held-out split of a manifest; resumable.")
    evaluate.add_argument("manifest", help="CSV file, or name of a shipped one (excerpts)")
    evaluate.add_argument("config", nargs="?", default="evaluate", help="configuration (default: %(default)s)")
    evaluate.add_argument(
        "--tasks", type=_names, metavar="A,B", help="instead of the configuration's, such as kspace_mr_single_4x,ct"
    )
    evaluate.add_argument("--methods", type=_names, metavar="X,Y", help="instead of all that suit a task and are quick")
    evaluate.add_argument(
        "--trunk",
        dest="trunks",
        action="append",
        default=[],
        metavar="FILE",
        help="trunk of your own in place of the tasks', in those of its modality (repeatable)",
    )
    evaluate.add_argument(
        "--workers", type=_positive, default=1, metavar="N", help="processes that share the threads (default: 1)"
    )
    evaluate.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="CLAIM",
        help="exit with 1 unless it holds, such as 'psnr[kspace_mr_single_4x] >= tv + 1.0' (repeatable)",
    )
    _out(evaluate, "evaluation")
    _settings(evaluate)

    report = add("report", "Write one HTML page of an evaluation: numbers, charts, images. It opens offline.")
    report.add_argument("folder", type=Path, help="what `medinr evaluate` filled")
    report.add_argument("--out", type=Path, default=Path("report.html"), help="HTML file (default: %(default)s)")
    report.add_argument("--title", default="Evaluation", help="heading of the page (default: %(default)s)")
    report.add_argument(
        "--megabytes",
        type=_positive,
        default=13,
        metavar="MB",
        help="for the pictures; more keeps more grey levels and slices (default: %(default)s)",
    )
    report.add_argument("--pdf", action="store_true", help="also print it beside the page; needs Chromium")
    report.add_argument("--figures", action="store_true", help="also draw PNG and SVG for papers, in <OUT>_figures")
    report.add_argument("--overwrite", action="store_true", help="replace a finished result")

    trunks = add("trunks", "List the trunks that ship with medinr, or show card and layers of one.")
    trunks.add_argument("name", nargs="?", help="trunk or .safetensors file whose card to show")

    # Its name has a space: `main` joins the two words, and help and errors show them as they are typed.
    choose = add("trunks choose", "Rank trunks for a measurement by how well they predict a held-out part of it.")
    _source(choose, f"{RAW}; measurement .safetensors; NIfTI file or DICOM folder")
    _sidecar(choose)
    choose.add_argument(
        "--trunk",
        dest="trunks",
        action="append",
        default=[],
        metavar="FILE",
        help=".safetensors file to rank beside the shipped trunks (repeatable)",
    )
    _overrides(choose)

    check = add(
        "check-operator", "Test a forward operator of your own: adjoint, derivative, linearity, batch, precision."
    )
    check.add_argument(
        "target",
        metavar="MODULE:OBJECT",
        help="an operator, or a function that makes one, as module:object or path/to/file.py:object; its code is run",
    )
    check.add_argument("--seed", type=int, default=0, help="of the random inputs (default: %(default)s)")
    check.add_argument(
        "--tolerance", type=_tolerance, help="largest relative error in float64 (default: 1e-10; float32 at least 1e-5)"
    )

    benchmark = add("benchmark", "Measure speed, steadiness and choices of method, side by side in one run.")
    benchmark.add_argument("what", choices=list(BENCHMARKS), help="; ".join(f"{k}: {v}" for k, v in BENCHMARKS.items()))
    benchmark.add_argument(
        "--manifest", default="excerpts", help="CSV file or shipped manifest the scans come from (default: %(default)s)"
    )
    benchmark.add_argument(
        "--count", type=_positive, help="slices (fit 3, drawdown 5) or scans (pretrain, backbones 10)"
    )
    benchmark.add_argument("--size", type=_positive, help="pixels per side; default: what the benchmark is known by")
    benchmark.add_argument("--trunk", default="brain_mr", help="of fit, volume and drawdown (default: %(default)s)")
    benchmark.add_argument(
        "--recipe-steps", type=_positive, help="steps of the published recipe (fit 2000, drawdown 30)"
    )
    benchmark.add_argument("--seeds", type=_positive, default=5, help="of drawdown (default: %(default)s)")
    benchmark.add_argument(
        "--scan", type=Path, help="of volume: brain MR scan (default: the held-out excerpt); of raw: k-space"
    )
    _sidecar(benchmark)
    benchmark.add_argument("--slices", type=parse_slices, help="of volume: 10:54; default: all")
    benchmark.add_argument(
        "--singles", type=_positive, default=4, help="of volume: slices also fitted alone (default: %(default)s)"
    )
    benchmark.add_argument(
        "--images", type=parse_slices, default=(1, 257), help="of operators: images at once (default: 1,257)"
    )
    benchmark.add_argument("--device", default="cpu", help="of fit and step: cpu or cuda (default: %(default)s)")
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


def _sidecar(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sidecar",
        type=Path,
        metavar="FILE",
        help="YAML file with what a raw file does not say: axes, spacing, angles (default: SOURCE.yaml)",
    )


def _out(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--out", type=Path, default=Path(default), help="output folder (default: %(default)s)")


def _settings(parser: argparse.ArgumentParser) -> None:
    _overrides(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace a finished result")


def _overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="setting that wins over the configuration, such as fit.steps=50 (repeatable)",
    )
