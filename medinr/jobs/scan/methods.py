"""Every way to treat a scan, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from medinr.errors import ConfigError
from medinr.jobs.scan.target import FinerGrid
from medinr.models.model import Model
from medinr.noise.scan_noise import ScanNoise
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.solve.unfinished import Unfinished
from medinr.volume import Volume

#: Called with the number of slices (or steps) that are done, and of all.
Progress = Callable[[int, int], None]


class Sharpened(Protocol):
    """What a method gives: a volume on the finer grid, and what it leaves of the scan over sigma."""

    @property
    def volume(self) -> Volume:
        """On the grid that was solved."""

    @property
    def residual(self) -> float:
        """Root mean square over sigma."""


#: Brings a scan to a finer grid.
Sharpen = Callable[[Volume, FinerGrid, ScanNoise, Model, Progress | None, Unfinished | None], Sharpened]

#: Gives the full effect: values of shape (z, y, x) on the scan's grid.
Denoise = Callable[[Volume, ScanNoise, Model, Progress | None, Unfinished | None], NDArray[Any]]

DEFAULT_METHOD = "plug-and-play"


def by_denoiser(
    volume: Volume,
    noise: ScanNoise,
    model: Model,
    progress: Progress | None = None,
    unfinished: Unfinished | None = None,
) -> NDArray[Any]:
    """Denoise by the model's denoiser for scans (`medinr.solve.denoise_scan`)."""
    from medinr.solve.denoise_scan import denoise_scan

    return denoise_scan(volume, noise, denoiser_of(model), progress=progress, unfinished=unfinished)


def by_sharpening(
    volume: Volume,
    grid: FinerGrid,
    noise: ScanNoise,
    model: Model,
    progress: Progress | None = None,
    unfinished: Unfinished | None = None,
) -> Sharpened:
    """Bring a scan to a finer grid by the model's denoiser as prior (`medinr.solve.sharpen_scan`)."""
    from medinr.solve.sharpen_scan import sharpen_scan

    return sharpen_scan(
        volume,
        grid.target,
        noise,
        denoiser_of(model),
        thickness=grid.thickness,
        progress=progress,
        unfinished=unfinished,
    )


def by_network(
    volume: Volume,
    noise: ScanNoise,
    model: Model,
    progress: Progress | None = None,
    unfinished: Unfinished | None = None,
) -> NDArray[Any]:
    """Fit coordinate networks to what the model's denoiser makes of the scan (`medinr.network.scan_fit`).

    Of an unfinished volume the denoiser's part goes on where it was stopped; the networks' part starts again.
    """
    from medinr.network.scan_fit import fit_scan

    target = by_denoiser(volume, noise, model, _half(progress, 0), unfinished)
    return fit_scan(volume, noise, model.trunk, model.length_scale, target=target, progress=_half(progress, 1))


def by_network_alone(
    volume: Volume,
    noise: ScanNoise,
    model: Model,
    progress: Progress | None = None,
    unfinished: Unfinished | None = None,
) -> NDArray[Any]:
    """Fit coordinate networks to the scan itself until they learn its noise (`medinr.network.scan_fit`).

    An unfinished volume starts again.
    """
    from medinr.network.scan_fit import fit_scan

    return fit_scan(volume, noise, model.trunk, model.length_scale, progress=progress)


def by_finer_network(
    volume: Volume,
    grid: FinerGrid,
    noise: ScanNoise,
    model: Model,
    progress: Progress | None = None,
    unfinished: Unfinished | None = None,
) -> Sharpened:
    """Fit coordinate networks to what the model's denoiser gives as prior (`medinr.network.scan_sharpen`).

    Of an unfinished volume the denoiser's part goes on where it was stopped; the networks' part starts again.
    """
    target = by_sharpening(volume, grid, noise, model, _half(progress, 0), unfinished).volume
    return _by_networks(volume, grid, noise, model, target, _half(progress, 1))


def by_finer_network_alone(
    volume: Volume,
    grid: FinerGrid,
    noise: ScanNoise,
    model: Model,
    progress: Progress | None = None,
    unfinished: Unfinished | None = None,
) -> Sharpened:
    """Fit coordinate networks between steps of data consistency, no denoiser (`medinr.network.scan_sharpen`).

    An unfinished volume starts again.
    """
    return _by_networks(volume, grid, noise, model, None, progress)


def _by_networks(
    volume: Volume, grid: FinerGrid, noise: ScanNoise, model: Model, target: Volume | None, progress: Progress | None
) -> Sharpened:
    from medinr.network.scan_sharpen import sharpen_by_networks

    return sharpen_by_networks(
        volume,
        grid.target,
        noise,
        model.trunk,
        model.length_scale,
        target=target,
        thickness=grid.thickness,
        progress=progress,
    )


def _half(progress: Progress | None, half: int) -> Progress | None:
    """Of a bar over two steps, the first or the second."""
    return None if progress is None else (lambda done, total: progress(half * total + done, 2 * total))


#: Of `medinr superres`.
SHARPENERS: dict[str, Sharpen] = {
    DEFAULT_METHOD: by_sharpening,
    "inr": by_finer_network,
    "inr-without-denoiser": by_finer_network_alone,
}

#: Of `medinr denoise`.
DENOISERS: dict[str, Denoise] = {
    DEFAULT_METHOD: by_denoiser,
    "inr": by_network,
    "inr-without-denoiser": by_network_alone,
}


def denoiser_of(model: Model) -> DenoiserPrior:
    """Give a model's denoiser (raises `ConfigError` when it has none)."""
    if model.prior is None:
        name = "random weights" if model.card is None else repr(model.card.name)
        raise ConfigError(f"The model of {name} has no denoiser. Choose one that has, with --model (medinr models).")
    return model.prior


def require_method(method: str, methods: Mapping[str, object]) -> str:
    """Return a method's name as the table has it (raises `ConfigError` when there is none)."""
    known = {name.lower(): name for name in methods}
    if method.lower() not in known:
        raise ConfigError(f"There is no method {method!r} for this; there are {', '.join(methods)}.")
    return known[method.lower()]
