"""Parallel imaging by SigPy's own applications for multi-coil k-space."""

from __future__ import annotations

import sigpy.mri
import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError


def sense_cg(kspace: Tensor, mask: Tensor, maps: Tensor, weight: float, iterations: int = 60) -> Tensor:
    """SENSE by conjugate gradients with Tikhonov regularisation (Pruessmann et al. 2001), ``SenseRecon``.

    Parameters
    ----------
    kspace : Tensor, shape (coil, ky, kx)
        Zero where not measured.
    mask : Tensor, bool, shape (ky, kx)
    maps : Tensor, shape (coil, y, x)
    weight : float
        Of the squared norm of the image, 0 or more.
    iterations : int

    Returns
    -------
    Tensor, complex, shape (y, x)
    """
    _check(kspace, mask, maps, weight)
    app = sigpy.mri.app.SenseRecon(
        kspace.numpy(), maps.numpy(), lamda=weight, weights=_weights(mask), max_iter=iterations, show_pbar=False
    )
    return torch.from_numpy(app.run())


def l1_wavelet(kspace: Tensor, mask: Tensor, maps: Tensor, weight: float, iterations: int = 100) -> Tensor:
    """Compressed sensing with Daubechies-4 wavelets (Lustig, Donoho & Pauly 2007), ``L1WaveletRecon``.

    Parameters and result as for `sense_cg`; the weight is that of the 1-norm of the wavelet coefficients.
    """
    _check(kspace, mask, maps, weight)
    app = sigpy.mri.app.L1WaveletRecon(
        kspace.numpy(), maps.numpy(), lamda=weight, weights=_weights(mask), max_iter=iterations, show_pbar=False
    )
    return torch.from_numpy(app.run())


def _weights(mask: Tensor) -> object:
    return mask.to(torch.float32).numpy()


def _check(kspace: Tensor, mask: Tensor, maps: Tensor, weight: float) -> None:
    if kspace.shape != maps.shape or mask.shape != kspace.shape[-2:]:
        raise ShapeError(
            f"SENSE needs k-space and maps (coil, y, x) and a mask (y, x); got {tuple(kspace.shape)}, "
            f"{tuple(maps.shape)} and {tuple(mask.shape)}."
        )
    if weight < 0:
        raise ConfigError(f"A weight is 0 or more; got {weight}.")
