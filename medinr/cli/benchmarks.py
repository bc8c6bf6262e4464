"""`medinr benchmark WHAT`: options in, the benchmark's pipeline called, its table out."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from rich.table import Table

from medinr.errors import ConfigError

Announce = Callable[[str], None]


def run(options: argparse.Namespace, announce: Announce) -> Table:
    """Run the benchmark that was asked for."""
    table: Table = _RUNS[options.what](options, announce)
    return table


def _fit(options: argparse.Namespace, announce: Announce) -> Any:
    from medinr.pipelines.benchmark_fit import benchmark_fit

    return benchmark_fit(
        options.manifest,
        options.count or 3,
        options.size or 178,
        options.trunk,
        options.recipe_steps or 2000,
        options.out,
        device=options.device,
        overwrite=options.overwrite,
        announce=announce,
    )


def _step(options: argparse.Namespace, announce: Announce) -> Any:
    from medinr.pipelines.benchmark_step import benchmark_step

    return benchmark_step(options.size or 256, options.out, device=options.device, overwrite=options.overwrite)


def _volume(options: argparse.Namespace, announce: Announce) -> Any:
    from medinr.io.scan import read_scan
    from medinr.pipelines.benchmark_volume import benchmark_volume
    from medinr.pipelines.cases import excerpt

    scan = options.scan or excerpt("brain_mr", "patient20_study2_FLAIR.nii.gz")
    return benchmark_volume(
        scan,
        options.slices or tuple(range(read_scan(scan, modality="MR").shape[0])),
        options.size or 256,
        options.singles,
        options.trunk,
        options.out,
        overwrite=options.overwrite,
        announce=announce,
    )


def _pretrain(options: argparse.Namespace, announce: Announce) -> Any:
    from medinr.pipelines.benchmark_pretrain import benchmark_pretrain

    return benchmark_pretrain(
        options.manifest, options.count or 10, options.size or 178, options.out, overwrite=options.overwrite
    )


def _drawdown(options: argparse.Namespace, announce: Announce) -> Any:
    from medinr.pipelines.benchmark_drawdown import benchmark_drawdown

    return benchmark_drawdown(
        options.manifest,
        options.count or 5,
        options.size or 178,
        options.seeds,
        options.recipe_steps or 30,
        options.trunk,
        options.out,
        overwrite=options.overwrite,
        announce=announce,
    )


def _backbones(options: argparse.Namespace, announce: Announce) -> Any:
    from medinr.pipelines.benchmark_backbones import benchmark_backbones

    return benchmark_backbones(
        options.manifest,
        options.size or 128,
        options.count or 10,
        8.0,
        options.out,
        overwrite=options.overwrite,
        announce=announce,
    )


def _trunks(options: argparse.Namespace, announce: Announce) -> Any:
    from medinr.pipelines.benchmark_trunks import benchmark_trunks

    return benchmark_trunks(
        options.manifest, options.size or 128, 300, options.out, overwrite=options.overwrite, announce=announce
    )


def _raw(options: argparse.Namespace, announce: Announce) -> Any:
    from medinr.pipelines.benchmark_raw import benchmark_raw

    if options.scan is None:
        raise ConfigError("medinr benchmark raw wants --scan FILE, multi-coil k-space on a grid.")
    return benchmark_raw(
        options.scan,
        options.sidecar,
        options.trunk,
        options.seeds,
        options.out,
        overwrite=options.overwrite,
        announce=announce,
    )


def _operators(options: argparse.Namespace, announce: Announce) -> Any:
    from medinr.pipelines.benchmark_operators import benchmark_operators

    sizes = (options.size,) if options.size else (256, 512)
    return benchmark_operators(sizes, options.images, options.out, overwrite=options.overwrite, announce=announce)


_RUNS: dict[str, Callable[[Any, Announce], Any]] = {
    "fit": _fit,
    "step": _step,
    "volume": _volume,
    "pretrain": _pretrain,
    "drawdown": _drawdown,
    "backbones": _backbones,
    "trunks": _trunks,
    "raw": _raw,
    "operators": _operators,
}
