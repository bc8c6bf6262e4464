"""Treated volumes to files: NIfTI as the scan was stored, sidecars, derived DICOM."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.io.dicom.stored_padding import with_stored_padding as with_padding_of_dicom
from medinr.io.images.beside import write_beside
from medinr.io.nifti.padding import with_stored_padding as with_padding_of_nifti
from medinr.io.nifti.stored import FLOATS, StoredAs, stored_as
from medinr.io.nifti.write_series import nifti_series
from medinr.io.provenance import last_part
from medinr.io.treated import treated_by
from medinr.jobs.reconstruct.dicom_output import write_dicom
from medinr.jobs.record import versions
from medinr.jobs.scan.prepare import ScanJob
from medinr.volume import Volume

#: Whole numbers are kept where their step is at most this share of sigma: rounding then adds 1 % to the noise at most.
MOST_STEP = 0.5


@dataclass(frozen=True, eq=False)
class Treated:
    """One volume of a scan and what became of it.

    Attributes
    ----------
    before : Volume
        As it was read.
    after : Volume
        The result.
    change : ndarray or None
        What was removed, on the voxels of both; None on another grid.
    """

    before: Volume
    after: Volume
    change: NDArray[Any] | None = None


@dataclass
class Written:
    """What was written so far."""

    outputs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dicom: dict[str, Any] | None = None


def write_volumes(
    job: ScanJob, name: str, verb: str, like: Volume, treated: Iterable[Treated], with_change: bool
) -> Written:
    """Write all volumes, one in memory at a time.

    Parameters
    ----------
    job : ScanJob
    name : str
        Of the result, without ending.
    verb : str
        ``"denoise"`` or ``"superres"``, for the derived series.
    like : Volume
        Grid of the result, with the provenance of the source.
    treated : iterable of Treated
        As many as the scan has volumes.
    with_change : bool
        Write what was removed as ``residual.nii.gz``.

    Returns
    -------
    Written
    """
    out, count = job.request.out, job.source.count
    written = Written()
    pair = job.request.phase is not None
    form = _form(job, pair, written)
    with ExitStack() as files:

        def open_file(title: str, stored: StoredAs, description: str = "") -> Callable[[Any], None]:
            written.outputs.append(f"{title}.nii.gz")
            path = out / f"{title}.nii.gz"
            return files.enter_context(nifti_series(path, like, count, stored, True, description))

        said = treated_by(versions()["medinr"], verb)
        add_result = open_file(name, form, said)
        add_phase = open_file(f"{name}_phase", FLOATS, said) if pair else None
        complex_change = np.iscomplexobj(job.source.first.array) and not pair
        add_change = (
            open_file("residual", StoredAs(np.dtype(np.complex64)) if complex_change else FLOATS)
            if with_change
            else None
        )
        for number, one in enumerate(treated):
            values: Any = one.after.array
            if add_phase is not None:
                add_phase(np.angle(values).astype(np.float32))
                values = np.abs(values)
            if with_change:
                index = (job.request.choice.index or 0) + number
                values = with_padding_of_nifti(values, one.before, index, job.request.slices)
                values = with_padding_of_dicom(values, one.before)
            add_result(values)
            if add_change is not None and one.change is not None:
                change = np.abs(one.before.array) - values if pair else one.change
                add_change(change)
            _write_dicom(job, verb, one.after.with_array(values), number, written)
    _write_sidecars(job, name, like, written)
    return written


def write_sigma(job: ScanJob) -> list[str]:
    """Write the map of sigma where it varies; names of the files."""
    sigma = job.noise.sigma_map
    if sigma is None:
        return []
    name = "noise_sigma.nii.gz"
    with nifti_series(job.request.out / name, job.source.first, 1, FLOATS, overwrite=True) as add:
        add(sigma.astype(np.float32, copy=False))
    return [name]


def _form(job: ScanJob, pair: bool, written: Written) -> StoredAs:
    first = job.source.first
    form = stored_as(replace(first, array=np.abs(first.array)) if pair else first)
    if form.whole and job.noise.sigma > 0 and form.step > MOST_STEP * job.noise.sigma:
        written.notes.append(
            f"the scan is stored in steps of {form.step:.3g}, which is coarse beside sigma {job.noise.sigma:.3g}: the "
            "result is stored as float32"
        )
        return FLOATS
    return form


def _write_dicom(job: ScanJob, verb: str, volume: Volume, number: int, written: Written) -> None:
    if not job.dicom.wanted:
        return
    if np.iscomplexobj(volume.array):
        volume = replace(volume, array=np.abs(volume.array))
    said = treated_by(versions()["medinr"], verb)
    settings = f"{said}, model {last_part(job.model_name)}, blend {job.blend.value:g}"
    folder = job.request.out if job.source.count == 1 else job.request.out / "volumes" / f"{number:04d}"
    found = write_dicom(folder, job.dicom, volume, {}, verb, settings)
    below = "" if job.source.count == 1 else f"volumes/{number:04d}/"
    written.outputs += [f"{below}{name}" for name in found.outputs]
    if number == 0 or found.notes:
        written.dicom = written.dicom or found.facts
        written.notes += [note for note in found.notes if note not in written.notes]


def _write_sidecars(job: ScanJob, name: str, like: Volume, written: Written) -> None:
    own = job.source.first
    provenance = own.provenance
    if provenance.format != "nifti" or not provenance.files or job.request.choice.index is not None:
        return
    same_grid = like.shape == own.shape and job.request.slices is None
    one, other = (affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0) for affine in (like.affine, own.affine))
    same_axes = bool(np.allclose(one, other, atol=1e-4))
    source, result = provenance.files[0], job.request.out / f"{name}.nii.gz"
    written.outputs += write_beside(source, result, same_grid=same_grid, same_axes=same_axes, overwrite=True)
