"""What the benchmarks of scans as they were acquired compare: medinr, and every baseline whose library is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medinr.baselines.acquired import BASELINES, Baseline
from medinr.errors import ConfigError
from medinr.models.checkpoint import load_model_for
from medinr.noise.scan_noise import ScanNoise
from medinr.solve.denoise_scan import denoise_scan
from medinr.volume import Volume

Array = NDArray[np.float32]

#: Called with a line of progress.
Announce = Callable[[str], None]

#: Denoises a scan whose noise is estimated, or told.
Denoise = Callable[[Volume, ScanNoise], Array]


@dataclass(frozen=True)
class Candidate:
    """A row: one method with one setting.

    Attributes
    ----------
    method : str
        Name of the row.
    setting : str
        In words; empty where there is none.
    denoise : callable
    chosen : bool
        Whether it is the setting that was chosen on training scans; others only count for the best setting.
    unbiased : bool
        Whether it takes the bias of magnitudes out.
    """

    method: str
    setting: str
    denoise: Denoise
    chosen: bool = True
    unbiased: bool = False


def candidates(names: Sequence[str], oracle: bool, *, told: bool = False, debias: bool = True) -> list[Candidate]:
    """Baselines for single scans, each with its chosen setting, and with every other one where the best is wanted.

    Parameters
    ----------
    names : sequence of str
        Of `BASELINES`; all that are installed when empty.
    oracle : bool
        Every setting.
    told : bool
        Use the given sigma even where a baseline has an estimate of its own.
    debias : bool
        See `Baseline.denoise`.

    Raises
    ------
    ConfigError
        For an unknown name, or a baseline of series.
    """
    found: list[Candidate] = []
    for name, baseline in named_baselines(names, series=False).items():
        for number, setting in enumerate(settings_of(baseline, oracle)):
            denoise = _by(baseline, setting, told, debias)
            found.append(Candidate(name, words(setting), denoise, number == 0, baseline.unbiased or debias))
    return found


def named_baselines(names: Sequence[str], *, series: bool) -> Mapping[str, Baseline]:
    """Baselines of single scans, or of series; see `candidates`."""
    kind = {name: baseline for name, baseline in BASELINES.items() if baseline.series == series}
    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise ConfigError(f"There is no baseline {unknown[0]!r}. Known: {', '.join(BASELINES)}.")
    return {name: baseline for name, baseline in kind.items() if (name in names if names else baseline.available)}


def settings_of(baseline: Baseline, oracle: bool) -> list[dict[str, object]]:
    """The chosen setting of a baseline, and after it every other one where the best is wanted."""
    chosen = dict(baseline.chosen)
    return [chosen, *(dict(setting) for setting in baseline.settings if oracle and dict(setting) != chosen)]


def words(setting: Mapping[str, object]) -> str:
    """A setting in words."""
    return " ".join(f"{name}={value}" for name, value in setting.items())


def _by(baseline: Baseline, setting: Mapping[str, object], told: bool, debias: bool) -> Denoise:
    return lambda scan, noise: baseline.denoise(scan.array.real, noise, setting, told=told, debias=debias)


def by_medinr(model: str, modality: str, announce: Announce) -> Denoise | None:
    """What ``medinr denoise`` does once the noise is known; None, and said, where the model cannot do it."""
    prior = load_model_for(model, modality).prior
    if prior is None or prior.scan_denoiser is None:
        announce(f"{model} has no denoiser for scans as they were acquired: the rows of medinr are left out.")
        return None

    def denoise(scan: Volume, noise: ScanNoise) -> Array:
        return np.asarray(denoise_scan(scan, noise, prior), np.float32)

    return denoise
