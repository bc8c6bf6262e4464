"""Sparsity in wavelets (Lustig, Donoho & Pauly 2007) through any operator, by SigPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import sigpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from medinr.baselines.regularised import norm_above
from medinr.operators.adapters import to_sigpy
from medinr.operators.base import LinearOperator

#: Orthogonal wavelet with four vanishing moments, as in SigPy's own ``L1WaveletRecon``.
WAVELET = "db4"


def wavelet_sparsity(
    data: Tensor,
    operator: LinearOperator,
    weight: float,
    *,
    sigma: float,
    iterations: int = 100,
    nonnegative: bool = False,
) -> Tensor:
    """Reconstruct by least squares with the 1-norm of wavelet coefficients.

    ``min_x 1/(2 sigma^2) |A x - y|^2 + weight / sigma |W x|_1``, accelerated proximal gradient (Beck & Teboulle 2009).

    Parameters
    ----------
    data : Tensor, shape of ``operator.range``
    operator : LinearOperator
        ``A``.
    weight : float
        Dimensionless, above 0.
    sigma : float
        Standard deviation of the noise, in the unit of the data.
    iterations : int
    nonnegative : bool
        Set negative values to zero at the end.

    Returns
    -------
    Tensor, shape of ``operator.domain``
    """
    start = operator.H(data)
    if not bool(start.abs().max() > 0):
        return torch.zeros_like(start)
    size = norm_above(operator, start)
    A, y = to_sigpy(operator), data.detach().resolve_conj().numpy()
    transform = sigpy.linop.Wavelet(tuple(start.shape), wave_name=WAVELET)
    x = np.ascontiguousarray(start.detach().resolve_conj().numpy()) / np.asarray(size**2, start.real.numpy().dtype)

    def proximal(step: float, image: NDArray[Any]) -> NDArray[Any]:
        # SigPy's own soft threshold makes real images complex, and warns about zeros.
        coefficients: NDArray[Any] = transform(image)
        size, least = np.abs(coefficients), step * weight * sigma
        shrunk: NDArray[Any] = transform.H(coefficients * (1 - least / np.maximum(size, least)))
        return shrunk.astype(image.dtype, copy=False)

    solver = sigpy.alg.GradientMethod(
        lambda image: A.H(A(image) - y), x, 1.0 / size**2, proxg=proximal, accelerate=True, max_iter=iterations
    )
    while not solver.done():
        solver.update()
    image = torch.from_numpy(np.ascontiguousarray(solver.x)).to(start.dtype)
    return image.clamp_min(0.0) if nonnegative else image
