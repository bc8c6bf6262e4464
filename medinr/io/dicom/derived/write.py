"""A result as a derived DICOM series in the study of its source.

On the source's voxels an enhanced object gives an enhanced one, and classic files give one derived file each. On
another grid (other slices, another resolution) the series has one slice a file, with its own geometry in the source's
frame of reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from medinr.errors import FileError, MedinrError
from medinr.io.atomic import atomic_path
from medinr.io.dicom.derived.deidentify import Deidentifier, notes_of
from medinr.io.dicom.derived.enhanced import enhanced_object
from medinr.io.dicom.derived.header import Derivation, copied
from medinr.io.dicom.derived.quantisation import Quantisation, quantisation
from medinr.io.dicom.derived.single import Stack, slice_elsewhere, slice_on_source, stack_of
from medinr.io.dicom.derived.sources import Place, Source, on_source_voxels, open_sources
from medinr.io.dicom.frames import Frame
from medinr.io.dicom.lenient import without_validation
from medinr.volume import Volume

#: Makes a source's header into one that derived objects may copy, de-identified where that is asked for.
Prepare = Callable[[Source], Dataset]


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes
    ----------
    files : tuple of Path
        In slice order.
    step : float
        Distance of the stored values, in the volume's unit; none is off by more than half of it.
    notes : tuple of str
        What the reader of a result should know, in words.
    """

    files: tuple[Path, ...]
    step: float
    notes: tuple[str, ...] = ()


def write_derived_series(
    volume: Volume,
    folder: Path | str,
    *,
    description: str,
    settings_summary: str,
    derivation: str = "reconstruction",
    source: Volume | None = None,
    overwrite: bool = False,
    deidentify: bool = False,
) -> Written:
    """Write a result as a derived series.

    Parameters
    ----------
    volume : Volume
        New values on the voxels of a DICOM series, perhaps reoriented or with some slices only; or on any other
        rectangular grid in its frame of reference.
    folder : Path or str
        Appears only when all files are written.
    description : str
        SeriesDescription; cut at 64 characters, as DICOM does.
    settings_summary : str
        DerivationDescription: how the pixels were made; cut at 1024 characters.
    derivation : {"reconstruction", "denoising", "resolution", ""}
        Kind of DerivationCodeSequence; none when empty.
    source : Volume, optional
        The scan that the volume was made of; by default the volume's own provenance says it.
    overwrite : bool
    deidentify : bool
        Apply the Basic Application Level Confidentiality Profile. Burned-in text and faces stay.

    Returns
    -------
    Written

    Raises
    ------
    FileError
        When there is no source that derived objects can be made of (`why_not_dicom` of
        `medinr.io.dicom.derived.sources` says so before), or files cannot be written.
    GeometryError
        When the volume's axes are not perpendicular.
    IntensityError
        When values are complex, not finite, or beyond 16 bits for HU.
    LibraryError
        When `deidentify` is set and its library is missing.
    UnitError
        When CT values are not in HU.
    OutputExistsError
        When the folder exists and `overwrite` is not set.
    """
    folder = Path(folder)
    values = quantisation(volume)
    sources = open_sources(volume if source is None else source)
    cleaner = Deidentifier() if deidentify else None

    def prepare(one: Source) -> Dataset:
        header = copied(one.header)
        if cleaner is not None:
            cleaner(header)
        return header

    unit = f" {volume.unit}" if volume.unit != "a.u." else ""
    settings = f"{settings_summary}; stored in steps of {values.slope:.3g}{unit}"
    record = Derivation(description, settings, derivation, dated=not deidentify)
    names = []
    # Sources with values outside their VR (odd dates, long names) are common and are copied unchanged.
    with writing(folder), atomic_path(folder, overwrite) as temporary:
        temporary.mkdir()
        for number, dataset in enumerate(_objects(volume, sources, prepare, values, record), start=1):
            names.append(f"{number:04d}.dcm")
            dataset.save_as(temporary / names[-1], enforce_file_format=True)
    notes = notes_of(sources[0].header) if deidentify else ()
    return Written(tuple(folder / name for name in names), values.slope, notes)


def _objects(
    volume: Volume, sources: Sequence[Source], prepare: Prepare, values: Quantisation, record: Derivation
) -> Iterator[Dataset]:
    placed = on_source_voxels(volume, sources)
    if placed is None:
        yield from _elsewhere(volume, sources, prepare, values, record)
        return
    moved, places = placed
    if places[0].source.enhanced:
        slices: dict[int, list[int]] = {}
        for number, place in enumerate(places):
            slices.setdefault(id(place.source), []).append(number)
        for instance, numbers in enumerate(slices.values(), start=1):
            part = replace(moved, array=moved.array[numbers])
            source, frames = places[numbers[0]].source, [places[number].frame.number or 0 for number in numbers]
            yield enhanced_object(part, prepare(source), frames, values, record, instance)
    else:
        for number, (place, plane) in enumerate(zip(places, moved.array, strict=True), start=1):
            yield slice_on_source(prepare(place.source), plane, values, record, (number, len(places)))


def _elsewhere(
    volume: Volume, sources: Sequence[Source], prepare: Prepare, values: Quantisation, record: Derivation
) -> Iterator[Dataset]:
    stack = stack_of(volume)
    headers = {id(source): prepare(source) for source in sources}
    places = [Place.of(source, frame) for source in sources for frame in source.frames if _located(frame)]
    count = volume.shape[0]
    for number, origin in enumerate(stack.origins, start=1):
        plane = volume.array[count - number if stack.backwards else number - 1]
        near, nearest = _near(places, stack, origin, volume.shape)
        used = dict.fromkeys([id(place.source) for place in near] or headers)
        chosen = nearest.source if nearest is not None else sources[0]
        frame = (0 if nearest is None else nearest.frame.number or 0) if chosen.enhanced else None
        yield slice_elsewhere(
            [headers[key] for key in used], (headers[id(chosen)], frame), plane, values, record, stack, (number, count)
        )


def _near(
    places: Sequence[Place], stack: Stack, origin: np.ndarray, shape: tuple[int, int, int]
) -> tuple[list[Place], Place | None]:
    """Source slices that a slice elsewhere cuts or lies between, and the nearest of them."""
    if not places:
        return [], None
    x, y, _ = stack.spacing
    _, rows, columns = shape
    across, down = stack.row * x * (columns - 1), stack.column * y * (rows - 1)
    corners = np.stack([origin, origin + across, origin + down, origin + across + down])
    normal = places[0].normal
    along = np.array([float(place.corners[0] @ normal) for place in places])
    ends = corners @ normal
    # Its own thickness and the distance of the source's slices reach beyond it.
    gaps = np.diff(np.unique(np.round(along, 3)))
    reach = max(stack.spacing[2] / 2, float(gaps.max()) if len(gaps) else 0.0)
    inside = np.flatnonzero((along > ends.min() - reach) & (along < ends.max() + reach))
    nearest = int(np.argmin(np.abs(along - float(ends.mean()))))
    return [places[int(number)] for number in inside] or [places[nearest]], places[nearest]


def _located(frame: Frame) -> bool:
    return None not in (frame.position, frame.orientation, frame.pixel_spacing)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn whatever fails while DICOM is written into a `FileError` without the source's values in its words."""
    try:
        with without_validation():
            yield
    except MedinrError:
        raise
    except OSError as error:
        raise FileError(f"{folder.name}: cannot be written ({error.strerror}). Choose another folder.") from error
    except Exception as error:
        raise FileError(
            f"{folder.name}: the source's header cannot be written as DICOM ({type(error).__name__}). Write NIfTI "
            "instead."
        ) from error
