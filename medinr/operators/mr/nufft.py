"""The Fourier transform of a non-Cartesian MR scan."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medinr.errors import GeometryError, ShapeError
from medinr.operators.base import Composition, LinearOperator, Space
from medinr.operators.mr.gridding import NonUniformSums

#: How far a sample may lie outside the grid's k-space, in cycles per field of view: gradient delays, rounding.
OVERSHOOT = 1.0


class NonUniformFourier(LinearOperator):
    """Centred, orthonormal-like Fourier transform at arbitrary points of k-space.

    ``y_m = 1 / sqrt(N) sum_r x_r exp(-2 pi i sum_a k_ma (r_a - n_a // 2) / n_a)``, ``N`` pixels, by the
    non-uniform fast Fourier transform (Fessler & Sutton 2003; Barnett, Magland & af Klinteberg 2019). On the full
    Cartesian trajectory, ``k_a = index - n_a // 2``, it is `Fourier`. The relative error is 1e-12 in double and
    about 1e-5 in single precision; forward and adjoint transform are each other's adjoint to rounding. Unlike
    `Fourier`, its adjoint is not its inverse: weigh the samples by their density first, or solve.

    SigPy has the same units, sign and scaling, with errors up to 1e-2 at its default settings.

    Parameters
    ----------
    shape : sequence of int
        Trailing shape of the image, such as ``(y, x)``, ``(coil, y, x)`` or ``(z, y, x)``.
    trajectory : Tensor, shape (..., axes)
        Positions in k-space in cycles per field of view, in the order of the last image axes: ``(ky, kx)`` or
        ``(kz, ky, kx)``. Its leading axes, such as ``(spoke, readout)``, become those of the data. Not
        differentiated.
    toeplitz : bool
        Whether `normal` is a `ToeplitzNormal`, which needs no gridding.

    Raises
    ------
    ShapeError
        If the trajectory is not real, or has other than 1 to 3 axes or more than the image.
    GeometryError
        If a position is not finite or outside the k-space of the image.
    """

    def __init__(self, shape: Sequence[int], trajectory: Tensor, toeplitz: bool = False) -> None:
        shape = tuple(shape)
        axes = _checked_axes(shape, trajectory)
        self.trajectory = trajectory.detach().double()
        self._image = shape[-axes:]
        self._sums = NonUniformSums(self._image, _radians(self._image, self.trajectory))
        self.domain = Space(shape, "complex")
        self.range = Space((*shape[:-axes], *trajectory.shape[:-1]), "complex")
        self._normal = ToeplitzNormal(shape, trajectory) if toeplitz else None

    @property
    def normal(self) -> LinearOperator:
        """``A.H @ A``, as a `ToeplitzNormal` if that was asked for."""
        return Composition(self.H, self) if self._normal is None else self._normal

    def _apply(self, x: Tensor) -> Tensor:
        samples = self._sums(x) / math.sqrt(math.prod(self._image))
        return samples.reshape(*samples.shape[:-1], *self.trajectory.shape[:-1])

    def _adjoint(self, y: Tensor) -> Tensor:
        batch = y.shape[: y.ndim - (self.trajectory.ndim - 1)]
        return self._sums(y.reshape(*batch, -1), transposed=True) / math.sqrt(math.prod(self._image))


class ToeplitzNormal(LinearOperator):
    """``A^H W A`` of a `NonUniformFourier` as a convolution on a grid of twice the size (Wajer & Pruessmann 2001).

    ``(A^H W A x)_r = sum_s p_(r - s) x_s`` with ``p_d = 1 / N sum_m w_m exp(2 pi i sum_a k_ma d_a / n_a)``. The kernel
    is computed once in double precision; each application costs two Fourier transforms, however many samples.

    Parameters
    ----------
    shape, trajectory
        As for `NonUniformFourier`.
    weights : Tensor, optional
        Real weight of each sample, such as its density compensation; shape ``trajectory.shape[:-1]``.

    Raises
    ------
    ShapeError
        If the weights are complex or do not fit the trajectory; otherwise as `NonUniformFourier`.
    """

    def __init__(self, shape: Sequence[int], trajectory: Tensor, weights: Tensor | None = None) -> None:
        shape = tuple(shape)
        axes = _checked_axes(shape, trajectory)
        if weights is None:
            weights = torch.ones(trajectory.shape[:-1])
        if weights.is_complex() or weights.shape != trajectory.shape[:-1]:
            raise ShapeError(
                f"The weights of a trajectory {tuple(trajectory.shape)} are real and of shape "
                f"{tuple(trajectory.shape[:-1])}; got {weights.dtype} {tuple(weights.shape)}."
            )
        self._image = shape[-axes:]
        self._dims = tuple(range(-axes, 0))
        sums = NonUniformSums([2 * n for n in self._image], _radians(self._image, trajectory.detach().double()))
        kernel = sums(weights.detach().cpu().to(torch.complex128).flatten(), transposed=True)
        for axis in self._dims:
            # No two pixels are a whole image apart; without this entry the kernel is Hermitian and its spectrum real.
            kernel.select(axis, 0).zero_()
        spectrum: Tensor = torch.fft.fftn(torch.fft.ifftshift(kernel, dim=self._dims), dim=self._dims)
        self.spectrum = (spectrum.real / math.prod(self._image)).to(trajectory.device)
        self.domain = self.range = Space(shape, "complex")

    def _apply(self, x: Tensor) -> Tensor:
        padded: Tensor = torch.fft.fftn(x, s=self.spectrum.shape, dim=self._dims)
        full: Tensor = torch.fft.ifftn(self.spectrum.to(x.real.dtype) * padded, dim=self._dims)
        for axis, n in zip(self._dims, self._image, strict=True):
            full = full.narrow(axis, 0, n)
        return full

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._apply(y)


def _radians(image: tuple[int, ...], trajectory: Tensor) -> Tensor:
    """From cycles per field of view to rad per pixel, shape (samples, axes)."""
    size = torch.tensor(image, dtype=torch.float64, device=trajectory.device)
    return 2.0 * math.pi * trajectory.reshape(-1, len(image)) / size


def _checked_axes(shape: tuple[int, ...], trajectory: Tensor) -> int:
    """Return the number of transformed axes, or refuse the trajectory."""
    axes = trajectory.shape[-1] if trajectory.ndim >= 2 else 0
    if not 1 <= axes <= min(3, len(shape)) or not trajectory.is_floating_point() or not trajectory.numel():
        raise ShapeError(
            f"A trajectory for images of shape {shape} is real and of shape (..., axes) with 1 to "
            f"{min(3, len(shape))} axes; got {trajectory.dtype} {tuple(trajectory.shape)}."
        )
    farthest = trajectory.detach().abs().reshape(-1, axes).amax(0).tolist()
    for n, k in zip(shape[-axes:], farthest, strict=True):
        if not k <= n / 2 + OVERSHOOT:
            raise GeometryError(
                f"The k-space of {n} pixels reaches {n / 2:g} cycles per field of view, the trajectory {k:g}. "
                "Convert it to cycles per field of view, reconstruct more pixels, or leave out the samples outside."
            )
    return int(axes)
