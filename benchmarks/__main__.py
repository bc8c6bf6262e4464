"""`python -m benchmarks NAME`: options in, table out; exit code 0 done, 1 our failure, 2 bad input, 130 interrupted."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.acquired_arguments import add_acquired
from benchmarks.ct_arguments import add_ct
from benchmarks.thick_arguments import add_thick
from medinr.cli.memory import keep_freed_memory
from medinr.cli.shared_options import parse_positive, parse_slices
from medinr.cli.threads import parse_threads, use_threads, wait_briefly
from medinr.errors import ConfigError, InputError

PROGRAM = "python -m benchmarks"
DESCRIPTION = "Measure speed, stability and design choices, both sides of a comparison in one run."

#: Called with a line of progress.
Announce = Callable[[str], None]

Run = Callable[[argparse.Namespace, Announce], Table]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        Exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["hashes"]:
        # It runs other processes, has options of its own, and measures no time.
        from benchmarks import image_hashes

        return image_hashes.main(words[1:], f"{PROGRAM} hashes")
    options = build_parser().parse_args(words)
    errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    if not options.debug:
        warnings.simplefilter("ignore")
    try:
        _run(options)
    except KeyboardInterrupt:
        errors.print("Interrupted. Run the same command again.")
        return 130
    except Exception as error:
        if options.debug:
            raise
        if isinstance(error, InputError):
            errors.print(f"benchmarks: {error}")
            return 2
        errors.print(f"benchmarks failed: {type(error).__name__}: {error}\nRun again with --debug for the traceback.")
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    # Before torch is loaded, which reads what these set.
    wait_briefly()
    keep_freed_memory()
    use_threads(options.threads)
    # No markup: names of scans may hold brackets. No wrapping: paths are there to be copied.
    console = Console(markup=False, soft_wrap=True)
    table = options.run(options, lambda line: console.print(line, highlight=False))
    console.print(table, soft_wrap=False)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all benchmarks."""
    parser = argparse.ArgumentParser(PROGRAM, description=DESCRIPTION)
    commands = parser.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")

    def add(name: str, run: Run, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        command.add_argument(
            "--out", type=Path, default=Path("benchmark"), help="folder of the result (default: %(default)s)"
        )
        command.add_argument("--overwrite", action="store_true", help="replace a finished result")
        command.add_argument(
            "--threads",
            type=parse_threads,
            metavar="N",
            help="processor threads (default: all this process is granted)",
        )
        command.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
        return command

    fit = add("fit", _fit, "Time to 30, 35, 40 dB and to the published recipe's last image, as ratios.")
    _manifest(fit)
    _number(fit, "--count", 3, "slices")
    _size(fit, 178)
    _model(fit)
    _number(fit, "--recipe-steps", 2000, "steps of the published recipe")
    _device(fit)

    step = add("step", _step, "A training step against the machine's matrix-product rate, and its memory.")
    _size(step, 256)
    _device(step)

    volume = add("volume", _volume, "All slices of a volume fitted jointly against one by one.")
    volume.add_argument("--scan", type=Path, help="brain MR scan (default: the held-out excerpt)")
    volume.add_argument("--slices", type=parse_slices, help="10 or 10,12,14 or 10:20:2, counted from 0; default: all")
    _size(volume, 256)
    _number(volume, "--singles", 4, "slices also fitted alone")
    _model(volume)

    pretrain = add("pretrain", _pretrain, "Time to pretrain a trunk on ten scans.")
    _manifest(pretrain)
    _number(pretrain, "--count", 10, "scans")
    _size(pretrain, 178)

    drawdown = add("drawdown", _drawdown, "How far the PSNR falls during a fit, over tasks, slices and seeds.")
    _manifest(drawdown)
    _number(drawdown, "--count", 5, "slices")
    _size(drawdown, 178)
    _number(drawdown, "--seeds", 5, "runs per task and slice")
    _number(drawdown, "--recipe-steps", 30, "steps of the published recipe")
    _model(drawdown)

    backbones = add("backbones", _backbones, "Quality of each network backbone on a subject left out.")
    _manifest(backbones)
    _size(backbones, 128)
    _number(backbones, "--count", 10, "slices to pretrain on")

    trunks = add("trunks", _trunks, "What a network's trunk should be pretrained on.")
    _manifest(trunks)
    _size(trunks, 128)

    raw = add("raw", _raw, "Held-out samples of a real multi-coil scan, against SigPy's reconstructions.")
    raw.add_argument("--scan", type=Path, metavar="FILE", help="Cartesian k-space of several coils")
    raw.add_argument(
        "--sidecar",
        type=Path,
        metavar="FILE",
        help="YAML file with what a raw file does not say: axes, spacing (default: SCAN.yaml)",
    )
    _model(raw)
    _number(raw, "--seeds", 5, "random draws of the held-out samples")

    likeness = add("likeness", _likeness, "How many usual slices and unusual images are warned of.")
    _manifest(likeness)
    likeness.add_argument("--scans", type=Path, nargs="+", default=(), metavar="FILE", help="MR of other anatomies")
    _model(likeness)

    operators = add(
        "operators", _operators, "Time and memory of every operator against SciPy, SigPy, skimage, deepinv, ASTRA."
    )
    _number(operators, "--size", None, "pixels per side (default: 256 and then 512)")
    operators.add_argument(
        "--images", type=parse_slices, default=(1, 257), help="numbers of images in a batch (default: 1,257)"
    )

    scan_io = add("scan-io", _scan_io, "Time and memory of reading and writing a CT series, beside MONAI's.")
    _number(scan_io, "--slices", 500, "slices of the synthetic series")
    _size(scan_io, 512)
    _number(scan_io, "--rounds", 3, "runs of every task")

    fuzz = add("fuzz-readers", _fuzz_readers, "Damaged DICOM and NIfTI through readers and writers.")
    _number(fuzz, "--inputs", 20_000, "damaged inputs")
    fuzz.add_argument("--seed", type=int, default=0, metavar="N", help="of all damage (default: %(default)s)")
    _number(fuzz, "--minutes", 60, "longest time")
    _number(fuzz, "--workers", 2, "processes")
    fuzz.add_argument("--only", type=int, metavar="N", help="number of a single input to try again")

    for more in (add_acquired, add_ct, add_thick):
        more(add)

    # Only listed here: `main` passes its options on.
    text = "Hashes of every image that a fixed set of commands makes."
    commands.add_parser("hashes", help=text, description=text, add_help=False)
    return parser


def _number(parser: argparse.ArgumentParser, name: str, default: int | None, words: str) -> None:
    words = words if default is None else f"{words} (default: %(default)s)"
    parser.add_argument(name, type=parse_positive, default=default, metavar="N", help=words)


def _size(parser: argparse.ArgumentParser, default: int) -> None:
    _number(parser, "--size", default, "pixels per side")


def _manifest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--manifest", default="excerpts", help="CSV file or shipped manifest of the scans (default: %(default)s)"
    )


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="brain_mr", help="shipped model or .safetensors file (default: %(default)s)")


def _device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")


def _fit(options: argparse.Namespace, announce: Announce) -> Table:
    from benchmarks.fit import benchmark_fit

    return benchmark_fit(
        options.manifest,
        options.count,
        options.size,
        options.model,
        options.recipe_steps,
        options.out,
        device=options.device,
        overwrite=options.overwrite,
        announce=announce,
    )


def _step(options: argparse.Namespace, announce: Announce) -> Table:
    from benchmarks.step import benchmark_step

    return benchmark_step(options.size, options.out, device=options.device, overwrite=options.overwrite)


def _volume(options: argparse.Namespace, announce: Announce) -> Table:
    from benchmarks.volume import benchmark_volume
    from medinr.config.shipped import excerpt
    from medinr.io.scan import read_scan

    scan = options.scan or excerpt("brain_mr", "patient20_study2_FLAIR.nii.gz")
    return benchmark_volume(
        scan,
        options.slices or tuple(range(read_scan(scan, modality="MR").shape[0])),
        options.size,
        options.singles,
        options.model,
        options.out,
        overwrite=options.overwrite,
        announce=announce,
    )


def _pretrain(options: argparse.Namespace, announce: Announce) -> Table:
    from benchmarks.pretrain import benchmark_pretrain

    return benchmark_pretrain(options.manifest, options.count, options.size, options.out, overwrite=options.overwrite)


def _drawdown(options: argparse.Namespace, announce: Announce) -> Table:
    from benchmarks.drawdown import benchmark_drawdown

    return benchmark_drawdown(
        options.manifest,
        options.count,
        options.size,
        options.seeds,
        options.recipe_steps,
        options.model,
        options.out,
        overwrite=options.overwrite,
        announce=announce,
    )


def _backbones(options: argparse.Namespace, announce: Announce) -> Table:
    from benchmarks.backbones import benchmark_backbones

    return benchmark_backbones(
        options.manifest,
        options.size,
        options.count,
        8.0,
        options.out,
        overwrite=options.overwrite,
        announce=announce,
    )


def _trunks(options: argparse.Namespace, announce: Announce) -> Table:
    from benchmarks.trunks import benchmark_trunks

    return benchmark_trunks(
        options.manifest, options.size, 300, options.out, overwrite=options.overwrite, announce=announce
    )


def _raw(options: argparse.Namespace, announce: Announce) -> Table:
    from benchmarks.raw import benchmark_raw

    if options.scan is None:
        raise ConfigError("raw wants --scan FILE, multi-coil k-space on a grid.")
    return benchmark_raw(
        options.scan,
        options.sidecar,
        options.model,
        options.seeds,
        options.out,
        overwrite=options.overwrite,
        announce=announce,
    )


def _likeness(options: argparse.Namespace, announce: Announce) -> Table:
    from benchmarks.likeness import benchmark_likeness

    return benchmark_likeness(
        options.manifest, options.scans, options.model, options.out, overwrite=options.overwrite, announce=announce
    )


def _operators(options: argparse.Namespace, announce: Announce) -> Table:
    from benchmarks.operators import benchmark_operators

    sizes = (options.size,) if options.size else (256, 512)
    return benchmark_operators(sizes, options.images, options.out, overwrite=options.overwrite, announce=announce)


def _scan_io(options: argparse.Namespace, announce: Announce) -> Table:
    from benchmarks.scan_io import benchmark_scan_io

    return benchmark_scan_io(
        options.slices, options.size, options.rounds, options.out, overwrite=options.overwrite, announce=announce
    )


def _fuzz_readers(options: argparse.Namespace, announce: Announce) -> Table:
    from benchmarks.fuzz_readers import fuzz_readers

    return fuzz_readers(
        options.inputs,
        options.seed,
        options.out,
        minutes=options.minutes,
        workers=options.workers,
        only=options.only,
        overwrite=options.overwrite,
        announce=announce,
    )


if __name__ == "__main__":
    sys.exit(main())
