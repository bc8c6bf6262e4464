"""Inputs of the first layer: coordinates of a point, random Fourier features of them, or features of a hash grid."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

from medinr.errors import ConfigError

#: All encodings by name.
ENCODINGS = ("none", "fourier", "hash")

#: Levels of the hash grid and features per level (Mueller et al. 2022, table 1: 16 and 2). Half the levels: a slice
#: spans three octaves between the coarsest cells and its pixels, a factor of about 1.4 from level to level.
LEVELS, FEATURES = 8, 2

#: Cells of the coarsest level per unit of network coordinate: 16 across ``[-1, 1]``, as there.
COARSEST = 8

#: Rows of a level's table at most, for 2 and 3 coordinates (as there, between 2^14 and 2^24).
ROWS = {2: 2**17, 3: 2**19}

#: The grid covers ``[-EXTENT, EXTENT]``: scans may be larger than those that set the length scale. A point outside
#: gets the features of the nearest point inside.
EXTENT = 2

#: Multipliers of the spatial hash (Mueller et al. 2022, eq. 4).
PRIMES = (1, 2_654_435_761, 805_459_861)

#: Half-width of the initial table entries. The 1e-4 of Mueller et al. 2022 is for a random head and an output near
#: zero; a head solved in closed form would undo it with weights in the thousands, and the first step on the table
#: would destroy the image.
TABLE_BOUND = 0.1


class Encoding(nn.Module, ABC):
    """A map from points to the inputs of the first layer.

    Attributes
    ----------
    inputs, outputs : int
        Numbers per point before and after.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs

    @abstractmethod
    def forward(self, points: Tensor) -> Tensor:
        """Encode points ``(n, inputs)``, shape (n, outputs)."""


class Coordinates(Encoding):
    """The coordinates themselves."""

    def __init__(self, inputs: int) -> None:
        super().__init__(inputs, inputs)

    def forward(self, points: Tensor) -> Tensor:
        """Return the points unchanged."""
        return points


class FourierFeatures(Encoding):
    """``[cos(B r), sin(B r)]`` with ``B`` drawn once (Tancik et al., NeurIPS 2020).

    Parameters
    ----------
    inputs : int
    frequencies : int
        Rows of ``B``.
    sigma : float
        Standard deviation of the entries of ``B``, rad per unit of network coordinate.
    generator : torch.Generator, optional
    """

    frequencies: Tensor

    def __init__(self, inputs: int, frequencies: int, sigma: float, generator: torch.Generator | None = None) -> None:
        super().__init__(inputs, 2 * frequencies)
        self.register_buffer("frequencies", sigma * torch.randn(frequencies, inputs, generator=generator))

    def forward(self, points: Tensor) -> Tensor:
        """Encode points, shape (n, 2 * frequencies)."""
        phase = functional.linear(points, self.frequencies)
        return torch.cat([phase.cos(), phase.sin()], dim=1)


class HashGrid(Encoding):
    """Learned features on grids of growing resolution, interpolated linearly (Mueller et al. 2022, section 3).

    Level ``l`` has ``round(COARSEST b^l)`` cells per unit of coordinate, ``b`` such that the last level has
    ``finest`` (eq. 2 and 3). Nodes of a level are rows of its part of the table, in order while they fit, else by the
    spatial hash (eq. 4). At a node the encoding equals the features of the node; between nodes they are interpolated
    along every axis, so the encoding is continuous and its slopes jump at cell borders.

    Parameters
    ----------
    inputs : {2, 3}
    finest : float
        Cells of the last level per unit of network coordinate; `COARSEST` at least.
    generator : torch.Generator, optional
        For the initial table.

    Attributes
    ----------
    table : Parameter, shape (rows of all levels, FEATURES)
    cells : Tensor, shape (LEVELS,)
        Cells per unit of coordinate.

    Raises
    ------
    ConfigError
        When there are neither 2 nor 3 inputs.
    """

    cells: Tensor
    strides: Tensor
    offsets: Tensor
    sizes: Tensor
    hashed: Tensor
    corners: Tensor

    def __init__(self, inputs: int, finest: float, generator: torch.Generator | None = None) -> None:
        if inputs not in ROWS:
            raise ConfigError(f"A hash grid wants 2 or 3 coordinates per point; got {inputs}.")
        super().__init__(inputs, LEVELS * FEATURES)
        growth = max(1.0, finest / COARSEST) ** (1 / (LEVELS - 1))
        cells = [round(COARSEST * growth**level) for level in range(LEVELS)]
        nodes = [2 * EXTENT * count + 1 for count in cells]
        sizes = [min(ROWS[inputs], count**inputs) for count in nodes]
        hashed = [count**inputs > ROWS[inputs] for count in nodes]
        strides = [
            [0 if skip else count**axis for axis in range(inputs)] for count, skip in zip(nodes, hashed, strict=True)
        ]
        offsets = [sum(sizes[:level]) for level in range(LEVELS)]
        # These follow from the settings and are left out of checkpoints.
        self.register_buffer("cells", torch.tensor(cells, dtype=torch.float32), persistent=False)
        self.register_buffer("strides", torch.tensor(strides), persistent=False)
        self.register_buffer("offsets", torch.tensor(offsets), persistent=False)
        self.register_buffer("sizes", torch.tensor(sizes), persistent=False)
        self.register_buffer("hashed", torch.tensor(hashed), persistent=False)
        self.register_buffer("corners", torch.tensor(list(product((0, 1), repeat=inputs))), persistent=False)
        table = torch.empty(sum(sizes), FEATURES).uniform_(-TABLE_BOUND, TABLE_BOUND, generator=generator)
        self.table = nn.Parameter(table)

    def rows(self, nodes: Tensor) -> Tensor:
        """Rows of the table that hold nodes.

        Parameters
        ----------
        nodes : Tensor of int64, shape (n, LEVELS, corners, inputs)
            Cells from the lower end of the grid, per level.

        Returns
        -------
        Tensor of int64, shape (n, LEVELS, corners)
        """
        mixed = nodes[..., 0] * PRIMES[0]
        for axis in range(1, self.inputs):
            mixed = mixed ^ (nodes[..., axis] * PRIMES[axis])
        in_order = (nodes * self.strides[:, None]).sum(dim=-1)
        row = torch.where(self.hashed[:, None], mixed % self.sizes[:, None], in_order)
        return row + self.offsets[:, None]

    def forward(self, points: Tensor) -> Tensor:
        """Encode points, shape (n, LEVELS * FEATURES)."""
        place = (points.clamp(-EXTENT, EXTENT) + EXTENT)[:, None] * self.cells[:, None]
        # The upper end of the grid belongs to the last cell.
        lower = torch.minimum(place.detach().floor(), (2 * EXTENT * self.cells - 1)[:, None])
        right = (place - lower)[:, :, None]
        weights = torch.where(self.corners == 1, right, 1 - right).prod(dim=-1)
        features = functional.embedding(self.rows(lower.long()[:, :, None] + self.corners), self.table)
        return (weights[..., None] * features).sum(dim=2).flatten(start_dim=1)


#: sigma of Tancik et al. 2020 for images (10 cycles per field of view of 256 training pixels) as a
#: fraction of the grid's Nyquist frequency.
SIGMA_PER_NYQUIST = 10 / 128


def build_encoding(
    name: str, inputs: int, width: int, nyquist: float, generator: torch.Generator | None = None
) -> Encoding:
    """Build an encoding for a grid.

    Parameters
    ----------
    name : {"none", "fourier", "hash"}
    inputs : int
        Coordinates per point.
    width : int
        Frequencies, for ``"fourier"``.
    nyquist : float
        Highest frequency of the grid, rad per unit of network coordinate. ``"fourier"``: sigma is
        `SIGMA_PER_NYQUIST` times that. ``"hash"``: the finest cells are the pixels, ``nyquist / pi`` per unit.
    generator : torch.Generator, optional

    Raises
    ------
    ConfigError
        When there is no such encoding.
    """
    if name == "none":
        return Coordinates(inputs)
    if name == "fourier":
        return FourierFeatures(inputs, width, SIGMA_PER_NYQUIST * nyquist, generator)
    if name == "hash":
        return HashGrid(inputs, nyquist / math.pi, generator)
    raise ConfigError(f"Encoding {name!r} is not one of {', '.join(ENCODINGS)}.")
