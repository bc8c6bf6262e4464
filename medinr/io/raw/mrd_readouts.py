"""Readouts of an ISMRMRD file, sorted: those of the image, their positions in k-space, and noise scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ismrmrd
import numpy as np
import torch
from torch import Tensor

from medinr.errors import FileError
from medinr.io.raw.array_sidecar import cycles_per_unit
from medinr.io.raw.checks import require_room
from medinr.io.raw.mrd_header import MrdGeometry

#: Readouts that are no part of the image.
_ELSEWHERE = (
    ismrmrd.ACQ_IS_NAVIGATION_DATA,
    ismrmrd.ACQ_IS_PHASECORR_DATA,
    ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
    ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
    ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
    ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA,
    ismrmrd.ACQ_IS_PHASE_STABILIZATION,
    ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE,
)

#: Counters of which only the first value is read.
_REPEATS = ("contrast", "phase", "repetition", "set")

#: Trajectories within this were written in cycles per pixel (Gadgetron's unit), others in cycles per field of view.
_HALF_CYCLE = 0.5 + 1e-3


@dataclass(frozen=True)
class Readouts:
    """Acquisitions of the image and of noise; `slice_numbers` are the counters of the slices that are there."""

    image: tuple[Any, ...]
    noise: tuple[Any, ...]
    slice_numbers: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def slices(self) -> int:
        """Number of slices."""
        return len(self.slice_numbers)

    def only(self, chosen: Sequence[int]) -> Readouts:
        """Keep some slices, counted from 0 among those that are there."""
        numbers = tuple(self.slice_numbers[i] for i in chosen)
        return replace(self, image=tuple(a for a in self.image if a.idx.slice in numbers), slice_numbers=numbers)

    def central_line(self, geometry: MrdGeometry) -> int:
        """Counter of the line at the centre of k-space: that of the header, unless lines are then outside the grid.

        Writers that leave the field at 0 count from the edge.
        """
        ny, centre = geometry.encoded[1], geometry.centre[0]
        lines = [a.idx.kspace_encode_step_1 for a in self.image]
        fits = min(lines) - centre + ny // 2 >= 0 and max(lines) - centre + ny // 2 < ny
        return centre if fits or max(lines) >= ny else ny // 2

    def on_grid(self, geometry: MrdGeometry, name: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Sort Cartesian readouts into k-space.

        Returns
        -------
        kspace : ndarray, complex64 (slice, coil, kz, ky, kx)
            Readings of the same line averaged.
        count : ndarray, int (kz, ky, kx)
            Readings of each sample.

        Raises
        ------
        FileError
            When a counter lies outside the encoded grid, or slices were sampled differently.
        """
        nz, ny, nx = geometry.encoded
        coils = self.image[0].data.shape[0]
        require_room((self.slices, coils, nz, ny, nx), 8, name)
        total = np.zeros((self.slices, coils, nz, ny, nx), np.complex64)
        count = np.zeros((self.slices, nz, ny, nx), np.int32)
        central = self.central_line(geometry)
        for readout in self.image:
            line = readout.idx.kspace_encode_step_1 - central + ny // 2
            part = readout.idx.kspace_encode_step_2 - geometry.centre[1] + nz // 2
            samples, first = _placed(readout, nx)
            last = first + samples.shape[1]
            if not (0 <= line < ny and 0 <= part < nz and first >= 0 and last <= nx) or samples.shape[0] != coils:
                raise FileError(
                    f"{name}: readout {readout.scan_counter} ({samples.shape[0]} coils, line {line}, partition {part}, "
                    f"samples {first} to {last - 1}) lies outside the encoded grid of {coils} coils, {ny} lines, {nz} "
                    f"partitions and {nx} samples. The header does not fit the data; export the scan again."
                )
            number = self.slice_numbers.index(readout.idx.slice)
            total[number, :, part, line, first:last] += samples
            count[number, part, line, first:last] += 1
        if (count != count[:1]).any():
            raise FileError(f"{name}: the slices were sampled differently. Read one slice at a time.")
        return total / np.maximum(count, 1)[:, None], count[0]

    def along_paths(self, geometry: MrdGeometry, name: str, unit: str | None) -> tuple[np.ndarray[Any, Any], Tensor]:
        """Stack non-Cartesian readouts ``(slice, coil, readout, sample)``, and their trajectory.

        Returns
        -------
        samples : ndarray, complex64
        trajectory : Tensor, float64 (readout, sample, 2)
            ``(ky, kx)`` in cycles per field of view.

        Raises
        ------
        FileError
            When the trajectory is missing, differs between slices or leaves the plane.
        """
        by_slice = [sorted(self._of(number), key=_order) for number in self.slice_numbers]
        if len({tuple(a.data.shape for a in readouts) for readouts in by_slice}) != 1 or (
            len({a.data.shape for a in by_slice[0]}) != 1
        ):
            raise FileError(
                f"{name}: readouts differ in length or number from slice to slice. Read one slice at a time."
            )
        if any(a.traj.shape[-1] < 2 for a in self.image):
            raise FileError(
                f"{name}: the header names trajectory {geometry.trajectory}, but readouts have none. "
                "Write it into the file, or export k-space and trajectory as arrays with a sidecar."
            )
        paths = [np.stack([a.traj for a in readouts]).astype(np.float64) for readouts in by_slice]
        path = paths[0]
        if not np.isfinite(path).all():
            raise FileError(f"{name}: the trajectory holds NaN or infinity. Export the scan again.")
        if any(not np.allclose(path, other, atol=1e-5) for other in paths[1:]):
            raise FileError(f"{name}: the trajectory differs from slice to slice. Read one slice at a time.")
        if path.shape[-1] > 2 and np.abs(path[..., 2]).max() > 1e-5:
            raise FileError(f"{name}: the trajectory leaves the plane (kz is not 0); only planar ones are read.")
        unit = unit or ("cycles/pixel" if np.abs(path[..., :2]).max() <= _HALF_CYCLE else "cycles/fov")
        scale = cycles_per_unit(unit, geometry.shape)
        samples = np.stack([np.stack([a.data for a in readouts], axis=1) for readouts in by_slice])
        return samples, torch.from_numpy(path[..., 1::-1] * scale)

    def noise_covariance(self, geometry: MrdGeometry) -> np.ndarray[Any, Any] | None:
        """Return ``E[n n^H] / 2`` of the coils at the dwell time of the data; None without a noise scan.

        White noise has a variance in proportion to the bandwidth, one over the dwell time (Kellman & McVeigh 2005).
        """
        if not self.noise:
            return None
        samples = np.concatenate([a.data for a in self.noise], axis=1).astype(np.complex128)
        samples -= samples.mean(axis=1, keepdims=True)
        covariance = samples @ samples.conj().T / (2 * max(1, samples.shape[1] - 1))
        noise_dwell, dwell = self.noise[0].sample_time_us, self.image[0].sample_time_us
        if noise_dwell > 0 and dwell > 0:
            covariance *= noise_dwell / (dwell * geometry.noise_bandwidth)
        return np.asarray(covariance)

    def _of(self, number: int) -> list[Any]:
        return [a for a in self.image if a.idx.slice == number]


def select(acquisitions: Sequence[Any], geometry: MrdGeometry, name: str) -> Readouts:
    """Separate readouts of the image from noise scans and from all others.

    Raises
    ------
    FileError
        When none belong to the image.
    """
    noise = tuple(a for a in acquisitions if a.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT))
    others = [a for a in acquisitions if not a.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)]
    image = [a for a in others if not any(a.is_flag_set(flag) for flag in _ELSEWHERE)]
    notes = []
    if not geometry.embedded_calibration:
        image = [a for a in image if not a.is_flag_set(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)]
    if len(image) < len(others):
        notes.append(f"{len(others) - len(image)} navigator, correction or calibration readouts were left out")
    encodings = {int(a.encoding_space_ref) for a in image}
    if len(encodings) > 1:
        image = [a for a in image if a.encoding_space_ref == 0]
        notes.append(f"the first of {len(encodings)} encodings was read")
    for counter in _REPEATS:
        values = sorted({int(getattr(a.idx, counter)) for a in image})
        if len(values) > 1:
            image = [a for a in image if getattr(a.idx, counter) == values[0]]
            notes.append(f"the first of {len(values)} values of {counter} was read")
    if not image:
        raise FileError(f"{name}: none of {len(acquisitions)} readouts belongs to an image. Export the scan again.")
    return Readouts(tuple(image), noise, tuple(sorted({int(a.idx.slice) for a in image})), tuple(notes))


def _placed(readout: Any, size: int) -> tuple[np.ndarray[Any, Any], int]:
    """Samples of a readout without those to be discarded, and the grid index of the first."""
    samples = np.asarray(readout.data)
    first, end = int(readout.discard_pre), samples.shape[1] - int(readout.discard_post)
    centre = int(readout.center_sample) or samples.shape[1] // 2
    if readout.is_flag_set(ismrmrd.ACQ_IS_REVERSE):
        samples, first, end = samples[:, ::-1], samples.shape[1] - end, samples.shape[1] - first
        centre = samples.shape[1] - 1 - centre
    return samples[:, first:end], first - centre + size // 2


def _order(readout: Any) -> tuple[int, int]:
    return int(readout.idx.kspace_encode_step_1), int(readout.scan_counter)
