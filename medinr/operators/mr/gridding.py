"""Non-uniform Fourier sums by the library finufft (Barnett, Magland & af Klinteberg 2019), with derivatives."""

from __future__ import annotations

import functools
import importlib
import math
import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medinr.operators.linear_map import linear_map

#: Relative error asked of finufft. Single precision is limited by the rounding of the phases, not by the gridding.
SINGLE_TOLERANCE, DOUBLE_TOLERANCE = 1e-6, 1e-12

#: Plans kept per set of points: forward and adjoint for two batch sizes.
KEPT_PLANS = 4

# The package pytorch_finufft makes a new plan, which sorts all samples, at every call, and its backward pass keeps
# the images alive for a gradient with respect to the samples. A plan that is kept saves a tenth or more of one
# image's time, and a linear map needs no memory of its input.


class NonUniformSums:
    """The sums ``y_m = sum_r x_r exp(-i w_m r)`` over a centred grid ``r``, and their transpose.

    Parameters
    ----------
    shape : sequence of int
        Grid, 1 to 3 axes; the index ``n // 2`` of each axis is ``r = 0``.
    frequencies : Tensor, shape (samples, axes)
        ``w`` in rad per pixel, float64; periodic in ``2 pi``.
    """

    def __init__(self, shape: Sequence[int], frequencies: Tensor) -> None:
        self.shape = tuple(shape)
        self.samples = len(frequencies)
        self.frequencies = torch.remainder(frequencies.detach().cpu().double() + math.pi, 2.0 * math.pi) - math.pi
        self._plans: dict[tuple[object, ...], Any] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"shape": self.shape, "samples": self.samples, "frequencies": self.frequencies}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._plans, self._lock = {}, threading.Lock()

    def __call__(self, value: Tensor, transposed: bool = False) -> Tensor:
        """Map ``(..., *shape)`` to ``(..., samples)``, or back by the conjugate transpose; no scaling.

        The sums run on the processor, on as many threads as torch may use; other devices' tensors travel there
        and back.
        """
        ways = [functools.partial(self.compute, transposed=way) for way in (transposed, not transposed)]
        return linear_map(value, *ways)

    def compute(self, value: Tensor, transposed: bool) -> Tensor:
        """Evaluate without autograd."""
        inner, outer = ((self.samples,), self.shape) if transposed else (self.shape, (self.samples,))
        batch = value.shape[: value.ndim - len(inner)]
        count = math.prod(batch)
        if count == 0:
            return value.new_zeros((*batch, *outer))
        data = value.cpu().resolve_conj().resolve_neg().reshape(count, *inner).contiguous()
        result = torch.empty((count, *outer), dtype=value.dtype)
        # A plan holds work space of its own, so two threads must not run it at once.
        with self._lock:
            plan = self._plan(value.dtype, count, transposed)
            # finufft takes and returns a single transform without the axis of transforms.
            first = 0 if count == 1 else slice(None)
            plan.execute(data[first].numpy(), out=result[first].numpy())
        return result.reshape(*batch, *outer).to(value.device)

    def _plan(self, dtype: torch.dtype, count: int, transposed: bool) -> Any:
        single = dtype == torch.complex64
        threads = torch.get_num_threads()
        key = (dtype, count, transposed, threads)
        if key not in self._plans:
            if len(self._plans) >= KEPT_PLANS:
                del self._plans[next(iter(self._plans))]
            # Left to itself finufft may oversample the two directions differently, and they would no longer be
            # each other's adjoint to rounding.
            plan = importlib.import_module("finufft").Plan(
                1 if transposed else 2,
                self.shape,
                n_trans=count,
                eps=SINGLE_TOLERANCE if single else DOUBLE_TOLERANCE,
                isign=1 if transposed else -1,
                dtype="complex64" if single else "complex128",
                upsampfac=2.0,
                nthreads=threads,
            )
            points = self.frequencies.to(torch.float32 if single else torch.float64)
            plan.setpts(*(axis.contiguous().numpy() for axis in points.unbind(-1)))
            self._plans[key] = plan
        return self._plans[key]
