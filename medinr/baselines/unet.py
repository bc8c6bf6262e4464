"""A U-Net (Ronneberger, Fischer & Brox 2015; MONAI's) from the plainest image to the truth, learned for one task.

What is usual where training pairs exist, as the baseline of fastMRI (Zbontar et al. 2018): magnitudes in, magnitudes
out. It has seen one sampling pattern, noise level and anatomy, and never looks at the measurement again.
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

    Its last layer is zero, so that training begins at the plain image: behind instance norms a drawn one would begin
    far from it.
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
    """Train a network on pairs of plain image and truth.

    Absolute error (as fastMRI's), Adam, step size rising and falling once; patches with random flips left to right.

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
    largest = max(size for plain, _ in pairs for size in plain.shape)
    side = min(PATCH, largest + -largest % MULTIPLE)
    for step in range(steps):
        chosen = torch.randint(len(pairs), (BATCH,), generator=generator).tolist()
        batch = torch.stack([_patch(pairs[number], side, generator) for number in chosen])
        plain, truth = batch[:, :1], batch[:, 1:]
        error = functional.l1_loss(plain + network(plain), truth)
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, float(error.detach()))
    return network.eval()


@torch.no_grad()
def improve(network: nn.Module, plain: Tensor) -> Tensor:
    """Apply a trained network to a real image ``(y, x)`` of any size, in the scale it was trained in."""
    whole = _padded(plain)
    better: Tensor = whole + network(whole)
    return better[0, 0, : plain.shape[0], : plain.shape[1]]


def _padded(image: Tensor) -> Tensor:
    """Continue an image below and to the right to a multiple of `MULTIPLE`, shape (1, 1, y, x)."""
    below, right = (-size % MULTIPLE for size in image.shape)
    return functional.pad(image[None, None], (0, right, 0, below), mode="replicate")


def _patch(pair: tuple[Tensor, Tensor], side: int, generator: torch.Generator) -> Tensor:
    """A square of both at one place, shape (2, side, side), zero beyond images that are smaller."""
    both = torch.cat([_padded(image) for image in pair])[:, 0]
    y, x = (int(torch.randint(max(0, size - side) + 1, (1,), generator=generator)) for size in both.shape[1:])
    patch = both[:, y : y + side, x : x + side]
    patch = functional.pad(patch, (0, side - patch.shape[2], 0, side - patch.shape[1]))
    return patch.flip(-1) if bool(torch.rand(1, generator=generator) < 0.5) else patch
