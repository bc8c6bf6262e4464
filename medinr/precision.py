"""Precision of matrix products: full float32, or bfloat16 products summed in float32 where that is fast.

Processors with matrix tiles (AMX) multiply bfloat16 several times faster than float32. Its 8 bits suffice while a
network is far from its target, but not when it is close; `Precision` switches between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from medinr.errors import ConfigError

PRECISIONS = ("auto", "float32")

#: Relative error (root mean square) below which products are exact again: four roundings of bfloat16 (2^-8), with
#: margin for the gradient's own noise. Measured: a fit in bfloat16 alone converges more slowly from about 2^-7 on.
EXACT_BELOW = 2.0**-6


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 matrix products are several times faster than float32 ones on a device."""
    if device.type == "cpu":
        # Missing in the oldest torch that is allowed; products are then float32, which is slower.
        ask: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
        return bool(ask().get("amx_bf16", False))
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


@contextmanager
def reduced_products() -> Iterator[None]:
    """Multiply float32 matrices as bfloat16 (TF32 on CUDA), summing in float32, within the context."""
    # torch refuses to mix these with the older `allow_tf32`; a caller may have set either.
    processors: list[Any] = [torch.backends.mkldnn.matmul, torch.backends.cuda.matmul]  # type: ignore[attr-defined]
    before = [processor.fp32_precision for processor in processors]
    for processor, precision in zip(processors, ("bf16", "tf32"), strict=True):
        processor.fp32_precision = precision
    try:
        yield
    finally:
        for processor, precision in zip(processors, before, strict=True):
            processor.fp32_precision = precision


@dataclass
class Precision:
    """Chooses the precision of the products, step by step.

    Once float32, it stays float32. The choice depends on the device and on the error alone, so runs are reproducible.

    Attributes
    ----------
    kind : {"auto", "float32"}
    device : torch.device
    scale : float
        Mean square of the target.
    """

    kind: str
    device: torch.device
    scale: float

    def __post_init__(self) -> None:
        if self.kind not in PRECISIONS:
            raise ConfigError(f"Precision {self.kind!r} is not one of {', '.join(PRECISIONS)}.")
        self.reduced = self.kind == "auto" and has_fast_bfloat16(self.device)

    def products(self, squared_error: float) -> AbstractContextManager[None]:
        """Context for the next step, given the running mean squared error."""
        self.reduced = self.reduced and squared_error > EXACT_BELOW**2 * self.scale
        return reduced_products() if self.reduced else nullcontext()
