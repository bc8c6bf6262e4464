"""ESPIRiT: coil sensitivities as eigenvectors of the reconstruction that calibration data leave unchanged."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.operators.mr.sensitivities import aligned_maps, calibration_region

#: Pixels whose matrices are formed and decomposed at once.
CHUNK = 8192


def espirit_maps(
    kspace: Tensor,
    calibration: int | tuple[int, int] = 24,
    kernel: int = 6,
    threshold: float = 0.02,
    crop: float = 0.95,
    sets: int = 1,
) -> Tensor:
    """Estimate coil sensitivities by ESPIRiT (Uecker et al. 2014).

    All windows of ``kernel x kernel`` samples of the calibration region span a subspace of low rank. Projecting the
    windows of k-space onto it and averaging is, pixel by pixel, a Hermitian matrix over the coils with eigenvalues
    between 0 and 1; the eigenvectors to eigenvalue 1 are the sensitivities.

    SigPy's ``EspiritCalib`` gives the same maps with the phase of its first coil set to zero.

    Parameters
    ----------
    kspace : Tensor, shape (coil, ky, kx)
        Complex; only its centre is used.
    calibration : int or tuple of int
        Extent of the fully sampled centre, along ``ky`` and ``kx``.
    kernel : int
        Edge of the window in samples.
    threshold : float
        Singular values below this fraction of the largest count as noise.
    crop : float
        Maps are zero where the eigenvalue is below this.
    sets : int
        1 gives maps for `Coils`; more, with the same axis in front, for `SoftCoils`.

    Returns
    -------
    Tensor, shape (coil, y, x) or, for more than one set, (set, coil, y, x)
        ``sum_c |s_c|^2 = 1`` in the object, 0 outside; the phase is that of `aligned_maps`.

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    ShapeError, IntensityError
        As for `low_resolution_maps`.
    """
    calib = calibration_region(kspace, calibration)
    coils = len(calib)
    if not 1 <= kernel <= min(calib.shape[1:]):
        raise ConfigError(
            f"A kernel of {kernel} samples does not fit into a calibration region {tuple(calib.shape[1:])}."
        )
    if not (0.0 < threshold < 1.0 and 0.0 <= crop <= 1.0):
        raise ConfigError(f"Threshold and crop lie between 0 and 1; got {threshold} and {crop}.")
    if not 1 <= sets <= coils:
        raise ConfigError(f"{coils} coils allow 1 to {coils} sets of maps; got {sets}.")
    correlations = _correlations(calib, kernel, threshold)
    rows, columns = (_waves(n, kernel, calib) for n in kspace.shape[1:])
    pieces = [_dominant(correlations, part, columns, sets) for part in rows.split(max(1, CHUNK // len(columns)))]
    values, vectors = (torch.cat(part) for part in zip(*pieces, strict=True))
    maps = torch.where(values[..., None, :] > crop, vectors, 0.0).movedim((3, 2), (0, 1))
    maps = aligned_maps(maps, calib)
    return maps[0] if sets == 1 else maps


def _correlations(calibration: Tensor, kernel: int, threshold: float) -> Tensor:
    """Correlations of the kernels that span the windows, summed, (coil, coil, lag, lag), lag 0 in the middle.

    Their image, ``sum_k f_kc(r) conj(f_kd(r))`` for the kernels' images ``f``, is the matrix over the coils. They fit a
    grid of twice the kernel's size, which saves a full transform per kernel and coil.
    """
    coils = len(calibration)
    windows = calibration.unfold(1, kernel, 1).unfold(2, kernel, 1)
    rows = windows.movedim(0, 2).reshape(-1, coils * kernel**2).to(torch.complex128)
    # The right singular vectors come from the small Gram matrix, in double precision since it squares the values.
    values, vectors = torch.linalg.eigh(rows.mT @ rows.conj())
    kept = vectors[:, values > threshold**2 * values[-1]].mT.reshape(-1, coils, kernel, kernel)
    spectra = torch.fft.fft2(kept, s=(2 * kernel, 2 * kernel))
    sums = torch.fft.ifft2(torch.einsum("kcyx,kdyx->cdyx", spectra, spectra.conj())) / kernel**2
    centred: Tensor = torch.fft.fftshift(sums, dim=(-2, -1))
    return centred.to(calibration.dtype)


def _waves(size: int, kernel: int, like: Tensor) -> Tensor:
    """``exp(2 pi i d r / n)`` for pixels ``r`` and lags ``d``, (size, 2 kernel)."""
    r = torch.arange(size, dtype=torch.float64, device=like.device) - size // 2
    d = torch.arange(2 * kernel, dtype=torch.float64, device=like.device) - kernel
    phase = 2.0 * math.pi * r[:, None] * d / size
    return torch.polar(torch.ones_like(phase), phase).to(like.dtype)


def _dominant(correlations: Tensor, rows: Tensor, columns: Tensor, sets: int) -> tuple[Tensor, Tensor]:
    """Largest eigenvalues (y, x, set), decreasing, and their vectors (y, x, coil, set)."""
    along_y = torch.einsum("yl,cdlm->ycdm", rows, correlations)
    matrices = torch.einsum("ycdm,xm->yxcd", along_y, columns)
    values, vectors = torch.linalg.eigh(matrices)
    return values[..., -sets:].flip(-1), vectors[..., -sets:].flip(-1)
