"""What makes conjugate gradients quick on projections: an approximate inverse of ``A^H W A + regularisation``.

Two things make that matrix ill-conditioned in CT: line integrals blur, answering the finest detail hundreds of times
more weakly than the coarsest, and rays through the body carry hundreds of times fewer photons than rays through air.
Fessler & Booth (IEEE TIP 8, 1999, equations 20 and 34) take them apart: ``A^H W A ~ K A^H A K`` with a gain ``K`` for
every pixel, the root of the mean weight of the rays through it, and ``K^-1 A^H W A K^-1`` is then nearly a
convolution, which the Fourier transform inverts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from medinr.operators import Projector
from medinr.solve.problem import Problem

#: Images of white noise that the response is measured with.
PROBES = 2

#: Gain, relative to the median, that pixels have at least: none passes through a corner that no ray meets.
LEAST_GAIN = 0.1


@dataclass(frozen=True, eq=False)
class Preconditioner:
    """Approximate inverse of ``A^H W A + regularisation`` on real images ``(y, x)``, symmetric and positive definite.

    Attributes
    ----------
    gain : Tensor, shape (y, x)
        ``K``; 0 where no ray passes, and the matrix is but ``regularisation``.
    response : Tensor, shape (y, x)
        Of ``K^-1 A^H W A K^-1`` to every frequency of the discrete Fourier transform, not negative.
    """

    gain: Tensor
    response: Tensor

    @staticmethod
    def suits(problem: Problem) -> bool:
        """Whether a problem is one that it was made for: the projections of a slice."""
        return isinstance(problem.operator, Projector) and not problem.complex_image

    @classmethod
    def measured(cls, problem: Problem, weight: Tensor) -> Self:
        """Measure gain and response of a problem's operator, whichever it is.

        Parameters
        ----------
        problem : Problem
            One that it `suits`.
        weight : Tensor, shape of the data
            ``W``, real, not negative.

        Returns
        -------
        Preconditioner
            The response is the mean over rings of frequencies: between few views it varies along a ring as well, but
            not as a convolution would.
        """
        total, every = problem.adjoint(weight).abs(), problem.adjoint(torch.ones_like(weight)).abs()
        gain = (total / every.clamp_min(torch.finfo(every.dtype).tiny)).sqrt()
        gain = torch.where(gain > LEAST_GAIN * gain.median(), gain, 0.0)
        y, x = problem.shape
        rings = _rings((y, x)).to(gain.device)
        answered, asked = gain.new_zeros(2, int(rings.max()) + 1)
        generator = torch.Generator().manual_seed(0)
        for _ in range(PROBES):
            noise = torch.randn(problem.shape, generator=generator, dtype=gain.dtype).to(gain.device)
            seen = problem.adjoint(weight * problem.predict(_over(noise, gain)))
            seen = _over(seen, gain)
            before, after = torch.fft.fft2(noise), torch.fft.fft2(seen)
            answered.index_add_(0, rings.flatten(), (before.conj() * after).real.flatten())
            asked.index_add_(0, rings.flatten(), before.abs().square().flatten())
        return cls(gain, (answered / asked).clamp_min(0)[rings])

    def __call__(self, gradient: Tensor, regularisation: float) -> Tensor:
        """Apply it.

        Parameters
        ----------
        gradient : Tensor, shape (y, x)
            Gradient of the least-squares problem.
        regularisation : float
            Above 0.

        Returns
        -------
        Tensor, shape (y, x)
        """
        # Regularisation is the same everywhere; behind the gain it is not, and a convolution knows its mean only.
        diagonal = self.response + regularisation * float(self.gain[self.gain > 0].square().reciprocal().mean())
        image = _over(torch.fft.ifft2(torch.fft.fft2(_over(gradient, self.gain)) / diagonal).real, self.gain)
        return torch.where(self.gain > 0, image, gradient / regularisation)


def _over(image: Tensor, gain: Tensor) -> Tensor:
    """An image divided by the gain; 0 where there is none."""
    return torch.where(gain > 0, image / gain, 0.0)


def _rings(shape: tuple[int, int]) -> Tensor:
    """Distance of every frequency from zero, in steps of the longer side's transform, rounded; int64, (y, x)."""
    along_y, along_x = (torch.fft.fftfreq(size, dtype=torch.float64) for size in shape)
    return (max(shape) * torch.hypot(along_y.unsqueeze(1), along_x)).round().long()
