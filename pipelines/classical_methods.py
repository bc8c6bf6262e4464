"""Methods that learn nothing, on one slice but for BM4D: the plainest image, filters, and convex regularisers."""

from __future__ import annotations

import time

import torch
from medinr.pipelines.outcome import Case, Outcome
from medinr.pipelines.slices import naive_image, problems_for, tv_image

from medinr.baselines import generalised_variation
from medinr.baselines.block_matching import block_matching
from medinr.baselines.iterative import least_squares, sirt
from medinr.baselines.nonlocal_means import nonlocal_means
from medinr.baselines.wavelet import wavelet_sparsity
from medinr.errors import ConfigError
from medinr.operators import Gaussian, Rician


def by_naive(case: Case) -> Outcome:
    """The plainest image: noisy, interpolated, zero-filled, FBP."""
    return Outcome(naive_image(case.measurement, case.problem))


def by_tv(case: Case) -> Outcome:
    """Total variation."""
    return Outcome(tv_image(case.problem, case.config.peer.tv_weight, case.config.peer.iterations))


def by_tgv(case: Case) -> Outcome:
    """Total generalised variation."""
    peer = case.config.peer
    return Outcome(tv_image(case.problem, peer.tgv_weight, peer.iterations, generalised_variation))


def by_wavelet(case: Case) -> Outcome:
    """Sparse wavelets; with coil maps, this is L1-ESPIRiT."""
    problem, peer = case.problem, case.config.peer
    noise = problem.noise
    if not isinstance(noise, Gaussian | Rician):
        raise ConfigError("Wavelets are compared where the noise has one standard deviation: k-space and images.")
    image = wavelet_sparsity(
        problem.data,
        problem.operator,
        peer.wavelet_weight,
        sigma=noise.sigma,
        # Plain denoising is one shrinkage.
        iterations=1 if case.config.task == "denoise" else peer.wavelet_iterations,
        nonnegative=not problem.complex_image,
    )
    return Outcome(noise.debias(image))


def by_least_squares(case: Case) -> Outcome:
    """Least squares stopped early; with coil maps, this is SENSE."""
    return Outcome(least_squares(case.problem.data, case.problem.operator, case.config.peer.linear_iterations))


def by_sirt(case: Case) -> Outcome:
    """Simultaneous iterative reconstruction."""
    return Outcome(sirt(case.problem.data, case.problem.operator, case.config.peer.sirt_iterations))


def by_nlm(case: Case) -> Outcome:
    """Non-local means."""
    return Outcome(nonlocal_means(case.problem.data, _rician(case), case.config.peer.nlm_strength))


def by_bm3d(case: Case) -> Outcome:
    """BM3D."""
    return Outcome(block_matching(case.problem.data, _rician(case), case.config.peer.bm3d_strength))


def by_bm4d(case: Case) -> Outcome:
    """BM4D on the slice and its neighbours; seconds are the slice's share."""
    strength, started = case.config.peer.bm3d_strength, time.perf_counter()
    stack = torch.stack([problem.data for problem in problems_for(case.measurement)])
    images = block_matching(stack, _rician(case), strength)
    return Outcome(images[case.position], (time.perf_counter() - started) / len(stack))


def _rician(case: Case) -> Rician:
    if not isinstance(case.problem.noise, Rician):
        raise ConfigError("Non-local means and BM3D are compared on magnitude images with Rician noise.")
    return case.problem.noise
