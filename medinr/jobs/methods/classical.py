"""Methods that learn nothing, on one slice but for BM4D: the direct image, filters, and convex regularisers."""

from __future__ import annotations

import time

import torch

from medinr.baselines import generalised_variation
from medinr.baselines.block_matching import block_matching
from medinr.baselines.iterative import least_squares, sirt
from medinr.baselines.nonlocal_means import nonlocal_means
from medinr.baselines.wavelet import wavelet_sparsity
from medinr.errors import ConfigError
from medinr.jobs.methods.input import MethodInput, Outcome
from medinr.jobs.methods.variational import tv_image
from medinr.operators import Gaussian, Identity, Rician


def by_direct(case: MethodInput) -> Outcome:
    """The direct image: noisy, interpolated, zero-filled, back-projected."""
    return Outcome(case.acquisition.direct(case.problem.data, case.problem.operator))


def by_tv(case: MethodInput) -> Outcome:
    """Total variation."""
    settings = case.config.total_variation
    return Outcome(tv_image(case.problem, settings.weight, settings.iterations))


def by_tgv(case: MethodInput) -> Outcome:
    """Total generalised variation."""
    iterations = case.config.total_variation.iterations
    return Outcome(tv_image(case.problem, case.config.baselines.tgv_weight, iterations, generalised_variation))


def by_wavelet(case: MethodInput) -> Outcome:
    """Sparse wavelets; with coil maps, this is L1-ESPIRiT."""
    problem, settings = case.problem, case.config.baselines
    noise = problem.noise
    if not isinstance(noise, Gaussian | Rician):
        raise ConfigError("Wavelets are compared where the noise has one standard deviation: k-space and images.")
    image = wavelet_sparsity(
        problem.data,
        problem.operator,
        settings.wavelet_weight,
        sigma=noise.sigma,
        # Plain denoising is one shrinkage.
        iterations=1 if isinstance(problem.operator, Identity) else settings.wavelet_iterations,
        nonnegative=not problem.complex_image,
    )
    return Outcome(noise.debias(image))


def by_least_squares(case: MethodInput) -> Outcome:
    """Least squares stopped early; with coil maps, this is SENSE."""
    iterations = case.config.baselines.linear_iterations
    return Outcome(least_squares(case.problem.data, case.problem.operator, iterations))


def by_sirt(case: MethodInput) -> Outcome:
    """Simultaneous iterative reconstruction."""
    return Outcome(sirt(case.problem.data, case.problem.operator, case.config.baselines.sirt_iterations))


def by_nlm(case: MethodInput) -> Outcome:
    """Non-local means."""
    return Outcome(nonlocal_means(case.problem.data, _rician(case), case.config.baselines.nlm_strength))


def by_bm3d(case: MethodInput) -> Outcome:
    """BM3D."""
    return Outcome(block_matching(case.problem.data, _rician(case), case.config.baselines.bm3d_strength))


def by_bm4d(case: MethodInput) -> Outcome:
    """BM4D on the slice and its neighbours; seconds are the slice's share."""
    strength, started = case.config.baselines.bm3d_strength, time.perf_counter()
    slices = torch.stack([problem.data for problem in case.acquisition.problems()])
    images = block_matching(slices, _rician(case), strength)
    return Outcome(images[case.position], (time.perf_counter() - started) / len(slices))


def _rician(case: MethodInput) -> Rician:
    if not isinstance(case.problem.noise, Rician):
        raise ConfigError("Non-local means and BM3D are compared on magnitude images with Rician noise.")
    return case.problem.noise
