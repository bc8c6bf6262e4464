"""Joseph's projection as sparse matrices, kept or built again in blocks, in plain torch on any device."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from medinr.operators.ct.rays import Rays

#: Entries of one block while it is built, with padding. Bounds the scratch memory to about 200 MB.
_ENTRIES_PER_BLOCK = 4_000_000

#: Images multiplied together. With more, a row of the dense factor no longer stays in the cache (measured:
#: 257 images of 192 x 192 at once take twice as long).
_IMAGES_AT_ONCE = 32

#: Matrices larger than this many bytes, or than half of the free memory, are not kept.
MOST_BYTES = 4 * 2**30


class Matrices:
    """The matrix of some rays in blocks of sparse rows (CSR), each with its transpose.

    Kept if they fit, which costs about ``29 views ny nx`` bytes in float32 (0.45 GB for 60 views of
    512 x 512); otherwise built block by block in every product, which is slow but needs no memory.

    Parameters
    ----------
    rays : Rays
    dtype : torch.dtype
        float32 or float64.
    device : torch.device
    """

    def __init__(self, rays: Rays, dtype: torch.dtype, device: torch.device) -> None:
        # Blocks are built where they are used, but for devices without float64.
        home = device if device.type == "cuda" else torch.device("cpu")
        tensors = (rays.down, rays.start, rays.slope, rays.step, rays.first, rays.last)
        self._rays = Rays(rays.shape, *(t.to(home) for t in tensors))
        self._dtype, self._device = dtype, device
        self.kept = self.bytes_if_kept <= allowed_bytes(device)
        self._blocks = tuple(self._build()) if self.kept else ()

    @property
    def bytes_if_kept(self) -> int:
        """Memory of all blocks and their transposes."""
        return 2 * 2 * self._rays.samples * (4 + self._dtype.itemsize)

    def forward(self, images: Tensor) -> Tensor:
        """Project: (image, pixel) -> (image, ray)."""
        few = _columns(images)
        results: list[list[Tensor]] = [[] for _ in few]
        for matrix, _ in self._each():
            for result, part in zip(results, few, strict=True):
                result.append(matrix @ part)
        return torch.cat([torch.cat(result).T for result in results])

    def backward(self, sinograms: Tensor) -> Tensor:
        """Apply the transpose: (image, ray) -> (image, pixel)."""
        few = _columns(sinograms)
        results = [part.new_zeros(math.prod(self._rays.shape), part.shape[1]) for part in few]
        row = 0
        for _, transpose in self._each():
            for result, part in zip(results, few, strict=True):
                result.addmm_(transpose, part[row : row + transpose.shape[1]])
            row += transpose.shape[1]
        return torch.cat([result.T for result in results])

    def _each(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self._blocks) if self.kept else self._build()

    def _build(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self._rays.start)
        together = max(1, _ENTRIES_PER_BLOCK // (2 * max(self._rays.shape)))
        for start in range(0, count, together):
            counts, pixels, weights = self._rays.entries(slice(start, start + together))
            starts = torch.zeros(len(counts) + 1, dtype=torch.int32, device=pixels.device)
            starts[1:] = counts.cumsum(0)
            size = (len(counts), math.prod(self._rays.shape))
            with warnings.catch_warnings():
                # torch announces CSR as beta; the tests check the products used here against dense ones.
                warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
                values = weights.to(self._dtype)
                block = torch.sparse_csr_tensor(starts, pixels, values, size, check_invariants=False)
                transpose = block.t().to_sparse_csr()
            yield block.to(self._device), transpose.to(self._device)


def _columns(images: Tensor) -> list[Tensor]:
    """Few images at a time, as contiguous columns: the sparse product takes three times as long otherwise."""
    few = images.tensor_split(max(1, math.ceil(len(images) / _IMAGES_AT_ONCE)))
    return [part.T.contiguous() for part in few]


def allowed_bytes(device: torch.device) -> int:
    """Memory that matrices may take on a device: `MOST_BYTES`, or half of what is free if that is less."""
    if device.type == "cuda":
        return min(MOST_BYTES, torch.cuda.mem_get_info(device)[0] // 2)
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return MOST_BYTES
    return min(MOST_BYTES, free // 2)
