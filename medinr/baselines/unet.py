"""A U-Net (Ronneberger, Fischer & Brox 2015; MONAI's) from the direct image to the reference, trained for one task.

This is the usual method where training pairs exist, as the baseline of fastMRI (Zbontar et al. 2018), on magnitudes. It
is trained for one sampling pattern, noise level and anatomy, and has no data consistency.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.networks.nets.basic_unet import BasicUNet
from torch import Tensor, nn
from torch.nn import functional

from medinr.errors import ConfigError

#: Feature maps from the finest level to the coarsest, and of the last layer: half a million weights.
FEATURES = (16, 16, 32, 64, 128, 16)

#: Images are padded to multiples of this: four levels of halving.
MULTIPLE = 16

#: Patches per step, their side in pixels, and the peak step size of Adam.
BATCH, PATCH, RATE = 4, 128, 1e-3


def untrained_unet(seed: int = 0) -> nn.Module:
    """Return the network with weights drawn from a seed; the global random state stays as it was.

    Its last layer is zero, so that training begins at the direct image. A random last layer behind instance norms would
    begin far from it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = BasicUNet(2, 1, 1, FEATURES)
        for weight in network.get_submodule("final_conv").parameters():
            nn.init.zeros_(weight)
    return network


def train_unet(
    pairs: Sequence[tuple[Tensor, Tensor]],
    steps: int,
    *,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> nn.Module:
    """Train a network on pairs of direct image and reference.

    Absolute error (as fastMRI's), Adam, one cycle of the step size, patches with random left-right flips.

    Parameters
    ----------
    pairs : sequence of (Tensor, Tensor), each of shape (y, x)
        Real, of order one.
    steps : int
    seed : int
        Of weights and patches.
    progress : callable, optional
        Called after every step with the steps done and the absolute error.

    Returns
    -------
    Module
        For `improve`.

    Raises
    ------
    ConfigError
        When there is no pair or no step.
    """
    if not pairs or steps < 1:
        raise ConfigError(f"A U-Net is trained on one pair or more, for one step or more; got {len(pairs)}, {steps}.")
    generator = torch.Generator().manual_seed(seed)
    network = untrained_unet(seed).train()
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=max(steps, 2))
    largest = max(size for direct, _ in pairs for size in direct.shape)
    side = min(PATCH, largest + -largest % MULTIPLE)
    for step in range(steps):
        chosen = torch.randint(len(pairs), (BATCH,), generator=generator).tolist()
        batch = torch.stack([_patch(pairs[number], side, generator) for number in chosen])
        direct, reference = batch[:, :1], batch[:, 1:]
        error = functional.l1_loss(direct + network(direct), reference)
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, float(error.detach()))
    return network.eval()


@torch.no_grad()
def improve(network: nn.Module, direct: Tensor) -> Tensor:
    """Apply a trained network to a real image ``(y, x)`` of any size, in the scale of its training."""
    whole = _padded(direct)
    better: Tensor = whole + network(whole)
    return better[0, 0, : direct.shape[0], : direct.shape[1]]


def _padded(image: Tensor) -> Tensor:
    """Extend an image below and to the right to a multiple of `MULTIPLE`, shape (1, 1, y, x)."""
    below, right = (-size % MULTIPLE for size in image.shape)
    return functional.pad(image[None, None], (0, right, 0, below), mode="replicate")


def _patch(pair: tuple[Tensor, Tensor], side: int, generator: torch.Generator) -> Tensor:
    """A square patch of both images at one position, shape (2, side, side), with zeros beyond smaller images."""
    both = torch.cat([_padded(image) for image in pair])[:, 0]
    y, x = (int(torch.randint(max(0, size - side) + 1, (1,), generator=generator)) for size in both.shape[1:])
    patch = both[:, y : y + side, x : x + side]
    patch = functional.pad(patch, (0, side - patch.shape[2], 0, side - patch.shape[1]))
    return patch.flip(-1) if bool(torch.rand(1, generator=generator) < 0.5) else patch
