"""How exactly matrices are multiplied: full float32, or bfloat16 products summed in float32 where that is fast.

Processors with matrix tiles (AMX) multiply bfloat16 several times faster than float32. Its 8 bits are enough while a
network is far from its target and too few when it is close; `Precision` knows the difference.
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
#: margin for the gradient's own noise. Measured: a fit in bfloat16 alone stays behind from about 2^-7 on.
EXACT_BELOW = 2.0**-6


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 matrix products are several times faster than float32 ones on a device."""
    if device.type == "cpu":
        # Not in the oldest torch that is allowed: better slow than not at all.
        ask: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
        return bool(ask().get("amx_bf16", False))
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


@contextmanager
def reduced_products() -> Iterator[None]:
    """Multiply float32 matrices as bfloat16 (TF32 on CUDA), summing in float32, while the context lasts."""
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
    """Decides, step by step, how exactly to multiply.

    Once exact it stays exact. Which branch a step takes depends on the device and on the error alone, so runs repeat.

    Attributes
    ----------
    kind : {"auto", "float32"}
    device : torch.device
    scale : float
        Mean square of what is fitted.
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
