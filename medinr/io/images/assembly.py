"""Voxels and affine of a file to a `Volume`, with what the sidecar, the name and the values say about them."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from medinr.errors import GeometryError
from medinr.io.hashes import hash_scan
from medinr.io.images.bids import facts_of, partner_note, read_b_value, read_sidecar
from medinr.io.images.modality import find_kind
from medinr.io.images.pairs import scan_files
from medinr.io.padding import HU_FLOOR, fill_padding, padding_note
from medinr.volume import Affine, Array, Provenance, ScanFacts, Volume


def assemble_volume(
    path: Path,
    array: Array,
    affine: Affine,
    *,
    file_format: str,
    index: int,
    modality: str | None,
    notes: list[str],
    header_text: str = "",
    header_facts: ScanFacts | None = None,
    digest: str = "",
) -> Volume:
    """Make a volume of a format that does not name the modality itself.

    Parameters
    ----------
    path : Path
    array : ndarray, shape (z, y, x), float32 or complex64
        Padding of a CT in HU is set to `medinr.io.padding.HU_FLOOR` in place; all else keeps its values.
    affine : ndarray, shape (4, 4)
        RAS mm.
    file_format : str
        For the provenance.
    index : int
        Which volume of the file it is.
    modality : {"MR", "CT", "OT"} or None
        What the caller says; see `medinr.io.images.modality.find_kind`.
    notes : list of str
        Found so far.
    header_text : str
        Free text of the header.
    header_facts : ScanFacts, optional
        What the header says; a sidecar goes before it.
    digest : str
        Hash of the scan, where it is known.

    Raises
    ------
    GeometryError
        When the affine describes no grid.
    UnitError
        When `modality` is unknown.
    """
    sidecar, sidecar_notes = read_sidecar(path)
    kind = find_kind(array, path, modality, sidecar, header_text)
    facts = _merged(facts_of(sidecar), header_facts or ScanFacts())
    facts = replace(facts, component=kind.component, b_value=read_b_value(path, index))
    every_note = [*notes, *sidecar_notes, *kind.notes]
    if kind.unit == "HU" and array.dtype == "float32":
        changed = sum(fill_padding(plane) for plane in array)  # a slice at a time, for memory
        every_note += [padding_note(changed, HU_FLOOR)] if changed else []
    partner = partner_note(path)
    every_note += [partner] if partner else []
    provenance = Provenance(file_format, scan_files(path), digest or hash_scan(path), "", tuple(every_note), facts)
    try:
        return Volume(array, affine, kind.modality, kind.unit, provenance)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from error


def _merged(first: ScanFacts, second: ScanFacts) -> ScanFacts:
    """Facts of the first, and of the second where the first says nothing."""
    values = {field.name: getattr(first, field.name) for field in fields(first)}
    known = {name: value for name, value in values.items() if value not in (None, "", (), False)}
    return replace(second, **known)
