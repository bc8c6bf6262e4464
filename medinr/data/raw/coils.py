"""Coils of raw k-space: white noise, and fewer of them."""

from __future__ import annotations

import torch
from torch import Tensor

from medinr.data.raw.steps import fourier_along
from medinr.errors import ConfigError, GeometryError
from medinr.raw import RawMeasurement

#: Smallest eigenvalue of a valid noise covariance, relative to the largest.
_LEAST_EIGENVALUE = 1e-6


def prewhiten(raw: RawMeasurement) -> RawMeasurement:
    """Mix the coils so that their noise is white, of unit variance and independent (Pruessmann et al. 2001, eq. 6).

    ``L^-1 d`` with ``L L^H`` the covariance: afterwards ``noise_sigma`` is 1, for the real and the imaginary part of
    each sample. Coil maps are mixed alike.

    Parameters
    ----------
    raw : RawMeasurement
        With ``noise_covariance``.

    Raises
    ------
    ConfigError
        When the covariance of the noise is not known.
    GeometryError
        When it is not positive definite, as with a dead coil or too few noise samples.
    """
    covariance = raw.arrays.get("noise_covariance")
    if covariance is None:
        raise ConfigError(
            "prewhiten needs the covariance of the noise; the file has no noise scan. Leave this step out."
        )
    covariance = covariance.to(torch.complex128)
    eigenvalues = torch.linalg.eigvalsh(covariance)
    if not bool(eigenvalues[0] > _LEAST_EIGENVALUE * eigenvalues[-1]):
        raise GeometryError(
            f"The noise covariance is not positive definite (eigenvalues {float(eigenvalues[0]):.3g} to "
            f"{float(eigenvalues[-1]):.3g}): a dead coil, or a noise scan of fewer samples than coils. "
            "Leave coils out, or this step."
        )
    whitener = torch.linalg.inv(torch.linalg.cholesky(covariance))
    identity = torch.eye(len(covariance), dtype=raw.data.dtype)
    return raw.after(
        "Coils were prewhitened: unit noise variance.",
        data=_mixed(whitener, raw.data),
        facts={"noise_sigma": 1.0},
        arrays=_mixed_maps(whitener, raw) | {"noise_covariance": identity},
    )


def compress_coils(raw: RawMeasurement, coils: int, method: str = "svd") -> RawMeasurement:
    """Replace the coils by fewer virtual ones that hold most of the energy.

    Parameters
    ----------
    raw : RawMeasurement
        k-space; prewhitened, because otherwise strong noise counts as signal.
    coils : int
        How many to keep.
    method : {"svd", "gcc"}
        One matrix for all samples (Buehrer et al. 2007; Huang et al. 2008), or one for each position along the readout,
        aligned from each to the next (geometric coil compression, Zhang et al. 2013): fewer coils for the same loss.
        The latter needs a fully measured readout and, so that the noise stays white, prewhitened data.

    Raises
    ------
    ConfigError
        When there are not so many coils, or the method cannot be used.
    """
    if raw.kind != "kspace":
        raise ConfigError("compress_coils is for k-space; this is a sinogram.")
    count = raw.data.shape[1]
    if not 1 <= coils <= count:
        raise ConfigError(f"compress_coils keeps 1 to {count} coils; got {coils}.")
    if method == "gcc":
        return _geometric(raw, coils)
    if method != "svd":
        raise ConfigError(f"compress_coils has the methods 'svd' and 'gcc'; got {method!r}.")
    samples = raw.data.transpose(0, 1).reshape(count, -1).to(torch.complex128)
    mixing, energy = _leading(samples @ samples.mH, coils)
    arrays = _mixed_maps(mixing, raw)
    covariance = raw.arrays.get("noise_covariance")
    if covariance is not None:
        arrays["noise_covariance"] = (mixing @ covariance.to(mixing.dtype) @ mixing.mH).to(covariance.dtype)
    step = f"{count} coils were compressed to {coils} by SVD, which hold {100 * energy:.2f} % of the energy."
    return raw.after(step, data=_mixed(mixing, raw.data), arrays=arrays)


def _geometric(raw: RawMeasurement, coils: int) -> RawMeasurement:
    covariance, mask = raw.arrays.get("noise_covariance"), raw.arrays.get("mask")
    axis = -2 if raw.facts.get("readout_axis", "kx") == "ky" else -1
    whole = raw.is_cartesian and (mask is None or bool((mask == mask.any(axis, keepdim=True)).all()))
    count = raw.data.shape[1]
    if not whole:
        raise ConfigError("Geometric compression needs Cartesian k-space with whole readouts; use method='svd'.")
    if covariance is not None and not torch.allclose(covariance, torch.eye(count, dtype=covariance.dtype), atol=1e-4):
        raise ConfigError("Geometric compression needs white noise; prewhiten first.")
    hybrid = fourier_along(raw.data, axis, inverse=True).movedim(axis, 0).movedim(2, 1)  # (x, coil, slice, line)
    samples = hybrid.reshape(*hybrid.shape[:2], -1).to(torch.complex128)
    leading = [_leading(part @ part.mH, coils) for part in samples]
    aligned = [leading[0][0]]
    for mixing, _ in leading[1:]:
        # Zhang et al. 2013, eq. 7: the rotation of this basis that is closest to the previous one.
        u, _, v = torch.linalg.svd(mixing @ aligned[-1].mH)
        aligned.append((u @ v).mH @ mixing)
    mixing = torch.stack(aligned)
    mixed = (mixing @ samples).reshape(len(samples), coils, *hybrid.shape[2:]).to(raw.data.dtype)
    data = fourier_along(mixed.movedim(1, 2).movedim(0, axis), axis, inverse=False)
    if mask is not None:
        data = data * mask
    arrays: dict[str, Tensor | None] = {}
    maps = raw.arrays.get("coil_maps")
    if maps is not None:
        moved = maps.movedim(axis, 0).movedim(-2, -1).to(mixing.dtype)  # (x, [slice,] other, coil)
        moved = (moved.reshape(len(mixing), -1, count) @ mixing.mT).reshape(*moved.shape[:-1], coils)
        arrays["coil_maps"] = moved.movedim(-1, -2).movedim(0, axis).to(maps.dtype)
    if covariance is not None:
        arrays["noise_covariance"] = torch.eye(coils, dtype=covariance.dtype)
    kept = float(mixed.abs().square().sum() / samples.abs().square().sum())
    step = f"{count} coils were compressed to {coils} at each readout position (GCC), {100 * kept:.2f} % of the energy."
    return raw.after(step, data=data, arrays=arrays)


def _leading(gram: Tensor, coils: int) -> tuple[Tensor, float]:
    """Rows of the compression ``(coils, coil)`` and the share of the energy that they keep."""
    values, vectors = torch.linalg.eigh(gram)
    total = float(values.sum())
    return vectors.flip(-1)[:, :coils].mH.contiguous(), float(values.flip(-1)[:coils].sum()) / total if total else 1.0


def _mixed(mixing: Tensor, values: Tensor) -> Tensor:
    """Apply a matrix to the coils, third axis from the end."""
    flat = values.movedim(-3, -1)
    return (flat.to(mixing.dtype) @ mixing.mT).movedim(-1, -3).to(values.dtype).contiguous()


def _mixed_maps(mixing: Tensor, raw: RawMeasurement) -> dict[str, Tensor | None]:
    maps = raw.arrays.get("coil_maps")
    return {} if maps is None else {"coil_maps": _mixed(mixing, maps)}
