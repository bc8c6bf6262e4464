"""The same operations as medinr's operators by other libraries, for `benchmarks.operators` to time beside them.

What a library has to prepare (plans, masks, grids) is prepared here, outside of the timed call. Libraries that are
not installed are left out: deepinv and ASTRA are not dependencies.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage
import torch
from torch import Tensor

from medinr.operators import FanBeam, ParallelBeam


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Baseline:
    """An operation by one library.

    Attributes
    ----------
    run : callable
        What is timed: from the library's own arrays of a batch to its own result.
    tolerance : float
        Largest relative difference to medinr at which both count as the same operation: rounding, or where the
        method differs (skimage turns the image, SigPy grids with 1e-2) that method's own error.
    take : callable
        From medinr's input to the library's, untimed.
    give : callable
        From the library's result to medinr's, untimed.
    """

    run: Callable[[Any], Any]
    tolerance: float = 1e-4
    take: Callable[[Tensor], Any] = Tensor.numpy
    give: Callable[[Any], Any] = _same


#: Baselines of an operation by the name of their library.
Baselines = Mapping[str, Baseline]

#: Errors of the method: SigPy's gridding at its default width; on a smooth image, a rotated image in place of Joseph's
#: interpolation, and, coarser, the length of a ray in each pixel.
GRIDDING, PROJECTION, LENGTHS = 1e-2, 3e-2, 6e-2


def installed(library: str) -> bool:
    """Whether a library is installed."""
    return importlib.util.find_spec(library) is not None


def each(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Let a function of one image take a batch."""
    return lambda batch: np.stack([function(image) for image in batch])


def fourier(inverse: bool) -> Baselines:
    """Centred orthonormal transform."""
    import sigpy

    transform = scipy.fft.ifft2 if inverse else scipy.fft.fft2
    axes = (-2, -1)

    def with_scipy(x: Any) -> Any:
        spectrum = transform(scipy.fft.ifftshift(x, axes), norm="ortho", workers=torch.get_num_threads())
        return scipy.fft.fftshift(spectrum, axes)

    with_sigpy = sigpy.ifft if inverse else sigpy.fft
    return {"SciPy": Baseline(with_scipy), "SigPy": Baseline(lambda x: with_sigpy(x, axes=axes))}


def sense(maps: Tensor, mask: Tensor, adjoint: bool) -> Baselines:
    """Undersampled multi-coil k-space, which both libraries hold on the full grid; ``mask`` (y, x): measured points."""
    import sigpy.mri

    places = mask.flatten().nonzero().flatten()
    lines = bool((mask == mask[:, :1]).all())

    def filled(y: Tensor) -> Tensor:
        full = y.new_zeros((*y.shape[:2], mask.numel()))
        full[..., places] = y.flatten(2)
        return full.reshape(*y.shape[:2], *mask.shape)

    def measured(full: Tensor) -> Tensor:
        kept = full.flatten(2)[..., places]
        return kept.reshape(*kept.shape[:2], -1, mask.shape[1]) if lines else kept

    linop = sigpy.mri.linop.Sense(maps.numpy(), weights=mask.float().numpy())
    found = {
        "SigPy": Baseline(each(linop.H), take=lambda y: filled(y).numpy())
        if adjoint
        else Baseline(each(linop), give=lambda y: measured(torch.as_tensor(y)))
    }
    if installed("deepinv"):
        from deepinv.physics import MultiCoilMRI

        physics = MultiCoilMRI(mask=mask.float(), coil_maps=maps[None])

        def split(z: Tensor) -> Tensor:
            return torch.view_as_real(z).movedim(-1, 1).contiguous()

        def joined(z: Tensor) -> Tensor:
            return torch.view_as_complex(z.movedim(1, -1).contiguous())

        found["deepinv"] = (
            Baseline(physics.A_adjoint, take=lambda y: split(filled(y)), give=joined)
            if adjoint
            else Baseline(physics.A, take=split, give=lambda y: measured(joined(y)))
        )
    return found


def nufft(shape: tuple[int, int], trajectory: Tensor, adjoint: bool) -> Baselines:
    """Transform at arbitrary points."""
    import sigpy.linop

    linop = sigpy.linop.NUFFT(shape, trajectory.numpy())
    return {"SigPy": Baseline(each(linop.H if adjoint else linop), GRIDDING)}


def gaussian(sigma: float, reach: int) -> Baselines:
    """Gaussian blur with reflecting border; its matrix is symmetric."""

    def blurred(x: Any) -> Any:
        return scipy.ndimage.gaussian_filter(x, sigma, mode="reflect", radius=reach, axes=(-2, -1))

    return {"SciPy": Baseline(blurred)}


def box(width: int) -> Baselines:
    """Mean over an odd number of pixels; its matrix is symmetric."""
    return {"SciPy": Baseline(lambda x: scipy.ndimage.uniform_filter(x, width, mode="reflect", axes=(-2, -1)))}


def measured(kernel: Tensor, adjoint: bool) -> Baselines:
    """Convolution with any kernel; no library has the adjoint with its reflecting border."""
    if adjoint:
        return {}
    weights = kernel.numpy()[None]
    return {"SciPy": Baseline(lambda x: scipy.ndimage.convolve(x, weights, mode="reflect"))}


def downsampling(sigma: float, reach: int, factor: int, offset: int) -> Baselines:
    """Gaussian blur, then every ``factor``-th pixel."""

    def blurred_and_read(x: Any) -> Any:
        blurred = scipy.ndimage.gaussian_filter(x, sigma, mode="reflect", radius=reach, axes=(-2, -1))
        return np.ascontiguousarray(blurred[..., offset::factor, offset::factor])

    return {"SciPy": Baseline(blurred_and_read)}


def resampling(shape: tuple[int, int], affine: Tensor, adjoint: bool) -> Baselines:
    """Linear interpolation at ``affine @ index``; ``affine`` maps target to source indices ``(x, y, z, 1)``."""
    turned = affine.numpy()[:2, :2][::-1, ::-1]
    shift = affine.numpy()[:2, 3][::-1]
    last = torch.tensor([shape[1] - 1, shape[0] - 1], dtype=torch.float64)
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in shape), indexing="ij")
    source = torch.stack([x, y], -1) @ affine[:2, :2].T + affine[:2, 3]
    grid = (2 * source / last - 1).float()[None]

    def sampled(image: Tensor) -> Tensor:
        # The images as channels: the grid is read once.
        found = torch.nn.functional.grid_sample(image[None], grid, padding_mode="zeros", align_corners=True)
        return found[0]

    def spread(image: Tensor) -> Tensor:
        like = torch.empty((1, *image.shape))
        back = torch.ops.aten.grid_sampler_2d_backward(image[None], like, grid, 0, 0, True, (True, False))
        return torch.as_tensor(back[0][0])

    # The grid is in single precision.
    if adjoint:
        return {"torch grid_sample": Baseline(spread, 1e-3, take=_same)}

    def with_scipy(image: Any) -> Any:
        return scipy.ndimage.affine_transform(image, turned, shift, order=1, mode="grid-constant")

    return {"SciPy": Baseline(each(with_scipy), 1e-3), "torch grid_sample": Baseline(sampled, 1e-3, take=_same)}


def product(matrix: Tensor) -> Baselines:
    """Apply a matrix to the first axis of volumes."""
    weights = matrix.float().numpy()
    return {"NumPy": Baseline(lambda x: np.einsum("jz,bzyx->bjyx", weights, x, optimize=True))}


def projection(projector: ParallelBeam | FanBeam, operation: str) -> Baselines:
    """Projection ("forward"), its transpose ("adjoint") or filtered backprojection ("FBP") of square images."""
    found: dict[str, Baseline] = {}
    if isinstance(projector, ParallelBeam) and operation != "adjoint":
        found["skimage"] = _skimage(projector, operation)
    if installed("astra") and not (isinstance(projector, FanBeam) and operation == "FBP"):
        found["ASTRA"] = _astra(projector, operation)
    return found


def _skimage(projector: ParallelBeam, operation: str) -> Baseline:
    from skimage.transform import iradon, radon

    degrees = np.rad2deg(projector.angles.numpy())
    size = projector.domain.shape[0]
    if operation == "forward":
        return Baseline(each(lambda image: radon(image, degrees, circle=True).T), PROJECTION)
    return Baseline(each(lambda sinogram: iradon(sinogram.T, degrees, output_size=size, circle=True)), PROJECTION)


def _astra(projector: ParallelBeam | FanBeam, operation: str) -> Baseline:
    import astra

    (rows, columns), (_, detectors) = projector.domain.shape, projector.range.shape
    angles, pitch = projector.angles.numpy(), projector.detector_spacing
    volume = astra.create_vol_geom(rows, columns)
    if isinstance(projector, FanBeam):
        arms = projector.source_origin, projector.source_detector - projector.source_origin
        geometry = astra.create_proj_geom("fanflat", pitch, detectors, angles, *arms)
        handle = astra.create_projector("line_fanflat", geometry, volume)
    else:
        geometry = astra.create_proj_geom("parallel", pitch, detectors, angles)
        handle = astra.create_projector("linear", geometry, volume)
    image, sinogram = ("-vol", volume), ("-sino", geometry)
    forward = operation == "forward"
    source = astra.data2d.create(*(image if forward else sinogram))
    target = astra.data2d.create(*(sinogram if forward else image))
    names = ("VolumeDataId", "ProjectionDataId") if forward else ("ProjectionDataId", "ReconstructionDataId")
    kind = {"forward": "FP", "adjoint": "BP", "FBP": "FBP"}[operation]
    settings = astra.astra_dict(kind) | {"ProjectorId": handle, names[0]: source, names[1]: target}
    algorithm = astra.algorithm.create(settings)

    def run(array: Any) -> Any:
        astra.data2d.store(source, array)
        astra.algorithm.run(algorithm)
        return astra.data2d.get(target)

    tolerance = LENGTHS if isinstance(projector, FanBeam) else PROJECTION if operation == "FBP" else 1e-3
    return Baseline(each(run), tolerance)


def espirit(calibration: int, kernel: int, threshold: float, crop: float) -> Baselines:
    """Coil sensitivities; SigPy's phase is that of its first coil."""
    import sigpy.mri.app

    def maps(kspace: Any) -> Any:
        options = {"thresh": threshold, "kernel_width": kernel, "crop": crop, "show_pbar": False}
        return sigpy.mri.app.EspiritCalib(kspace, calibration, **options).run()

    return {"SigPy": Baseline(each(maps), 2e-2)}


def sigma_and_reach(fwhm: float) -> tuple[float, int]:
    """Return the standard deviation and half width in pixels that `GaussianPSF` samples."""
    sigma = fwhm / (2.0 * math.sqrt(2.0 * math.log(2.0)))
    return sigma, math.ceil(4.0 * sigma)
