"""What every way of measuring knows of itself: operator, noise, direct image, held-out groups, scale, simulation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medinr.acquisition.spoiled import Spoiled
from medinr.errors import ConfigError
from medinr.measurement import Measurement
from medinr.operators import Gaussian, LinearOperator, NoiseModel, Rician, TransmissionPoisson
from medinr.solve.problem import Problem
from medinr.units import hu_from_attenuation
from medinr.volume import Volume


class Acquisition(ABC):
    """One way of measuring, explaining one measurement.

    A subclass in a file of its own in this folder adds a way of measuring; nothing else has to know of it but a
    configuration of the same name.

    Parameters
    ----------
    measurement : Measurement
        Of the subclass's ``task``.

    Attributes
    ----------
    task : str
        Name in measurements and of the configuration file.
    modality : {"MR", "CT"}
        That is measured so.
    title : str
        Of figures.
    direct_name, direct_words : str
        What the direct image is called in tables, and what it is.
    groups : str
        What is held out together, in the plural.
    tells_noise : bool
        Whether a measurement says how noisy it is; else that is to be found from the data.
    whole_scan : bool
        Whether a slice cannot be judged without all others of its scan being measured.
    Simulation : type
        Frozen dataclass: settings of a simulated measurement, with a ``seed``.
    """

    task: ClassVar[str]
    modality: ClassVar[str]
    title: ClassVar[str]
    direct_name: ClassVar[str]
    direct_words: ClassVar[str]
    groups: ClassVar[str] = "pixels"
    complex_image: ClassVar[bool] = False
    tells_noise: ClassVar[bool] = True
    whole_scan: ClassVar[bool] = False
    group_axis: int | None = None
    Simulation: ClassVar[type]

    def __init__(self, measurement: Measurement) -> None:
        self.measurement = measurement

    @property
    def facts(self) -> Mapping[str, Any]:
        """Plain values that say how it was measured."""
        return self.measurement.parameters

    @abstractmethod
    def operator(self, position: int = 0) -> LinearOperator:
        """Forward operator of one slice.

        From the image ``(y, x)`` (magnitude or complex MR in the scan's units; attenuation in 1/mm for CT) to the shape
        of one slice's data.
        """

    @abstractmethod
    def direct(self, data: Tensor, operator: LinearOperator) -> Tensor:
        """Image ``(y, x)`` of one slice's data without any model: noisy, interpolated, zero-filled, back-projected."""

    @property
    def shares_operator(self) -> bool:
        """Whether all slices are measured by one operator."""
        return True

    @property
    def sampled_alike(self) -> bool:
        """Whether all slices are sampled in the same way, so that neighbours lack the same."""
        return True

    def gains_from_neighbours(self, cubic: bool) -> bool:
        """Whether joint multi-slice reconstruction was measured to help; ``cubic``: voxels are about cubic."""
        return cubic

    @property
    def noise(self) -> NoiseModel:
        """Noise model of the measurement."""
        kinds = {"gaussian": Gaussian, "rician": Rician}
        kind = self.facts["noise"]
        if kind == "poisson":
            return TransmissionPoisson(float(self.facts["photons"]))
        if kind not in kinds:
            raise ConfigError(f"Noise {kind!r} is not one of gaussian, rician, poisson.")
        return kinds[kind](float(self.facts["sigma"]))

    @property
    def noise_warning(self) -> str:
        """That the noise was not what was told, in words; empty where it was."""
        return ""

    @property
    def noisy_end(self) -> float:
        """Factor on the last noise level of noisy measurements, see `medinr.solve.problem.Problem`."""
        return 1.0

    def protected(self, position: int = 0) -> tuple[int, ...]:
        """Groups along the group axis that are never held out."""
        return ()

    def scale(self, data: Tensor, operator: LinearOperator) -> float:
        """Image units per solver unit, from what was measured: 99th percentile of the direct image's magnitude."""
        level = float(torch.quantile(self.direct(data, operator).abs().flatten().float(), 0.99))
        return level if level > 0 else 1.0

    def problem(self, position: int, operator: LinearOperator | None = None) -> Problem:
        """Pose the inverse problem of a slice; slices may share an operator and what it keeps."""
        operator = self.operator(position) if operator is None else operator
        data = self.measurement.data[position]
        return Problem(
            data=data,
            operator=operator,
            noise=self.noise,
            spacing=self.measurement.spacing,
            complex_image=self.complex_image,
            scale=self.scale(data, operator),
            group_axis=self.group_axis,
            protected=self.protected(position),
            noisy_end=self.noisy_end,
        )

    def problems(self) -> list[Problem]:
        """Pose the inverse problems of all slices, on one operator where they share it."""
        shared = self.operator() if self.shares_operator else None
        return [self.problem(position, shared) for position in range(self.measurement.slices)]

    def export(self, image: Tensor) -> NDArray[np.float32]:
        """An image in the units a reader expects: magnitude for MR, the measurement's unit for CT; shape (y, x)."""
        if self.measurement.unit == "HU":
            return np.asarray(hu_from_attenuation(image.detach().double().numpy()), dtype=np.float32)
        magnitude: Any = image.detach().abs() if image.is_complex() else image.detach().clamp_min(0.0)
        return np.asarray(magnitude.numpy(), dtype=np.float32)

    def sampling(self, position: int) -> dict[str, Any]:
        """Plain values that say how a slice was sampled, for a drawing."""
        return {"kind": "none"} | {key: self.facts[key] for key in ("factor", "sigma") if key in self.facts}

    @classmethod
    def measured_slices(cls, scan: Volume, settings: Any, name: str) -> Volume:
        """The scan in the slices that a simulation measures; its own unless the settings say otherwise."""
        return scan

    @classmethod
    @abstractmethod
    def draw(cls, scan: Volume, level: float, settings: Any) -> dict[str, Any]:
        """Draw everything random about a simulated measurement but the noise itself.

        Parameters
        ----------
        scan : Volume
            The slices to be measured.
        level : float
            99th percentile of the whole volume, for the noise level.
        settings : Simulation

        Returns
        -------
        dict
            Plain values, to be stored with the measurement.
        """

    @classmethod
    def images(cls, scan: Volume, parameters: Mapping[str, Any]) -> Tensor:
        """What a simulated scanner measures, shape (slices, y, x)."""
        return torch.from_numpy(np.ascontiguousarray(np.abs(scan.array)))

    @classmethod
    def arrays(cls, scan: Volume, settings: Any) -> dict[str, Tensor]:
        """Coil maps and the like of a simulated measurement."""
        return {}

    @classmethod
    def noise_facts(cls, images: Tensor, settings: Any) -> dict[str, Any]:
        """Noise level of a simulated measurement where it depends on the images."""
        return {}

    @classmethod
    def spoiled(cls, scan: Volume, level: float, settings: Any) -> Spoiled | None:
        """Data and reference of a simulated measurement that does not tell its noise; None where it does.

        Parameters
        ----------
        scan, level, settings
            As for `draw`.
        """
        return None
