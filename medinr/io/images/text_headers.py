"""Text headers of NRRD and MetaImage: what they declare, checked before SimpleITK reads the file.

Sources: teem's NRRD0005 (Kindlmann, "Definition of NRRD File Format"), ITK's MetaIO documentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from medinr.errors import FileError

#: A header ends within this many bytes.
_LONGEST_HEADER = 64 * 1024

#: Bytes per value by NRRD's names of types; signs do not matter here.
_NRRD_BYTES = {
    **dict.fromkeys(("char", "signed char", "unsigned char", "uchar", "int8", "uint8", "int8_t", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(
        ("int", "signed int", "uint", "unsigned int", "int32", "int32_t", "uint32", "uint32_t", "float"), 4
    ),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "signed long long int"), 8),
    **dict.fromkeys(("int64", "int64_t", "ulonglong", "unsigned long long", "unsigned long long int"), 8),
    **dict.fromkeys(("uint64", "uint64_t", "double"), 8),
}

#: The same by MetaImage's names, which may have _ARRAY at the end.
_META_BYTES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 8, "ULONG": 8}
_META_BYTES |= {"LONG_LONG": 8, "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}

#: Fields of MetaImage with as many values as axes, or as many squared.
_META_LENGTHS = {
    **dict.fromkeys(("ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "CenterOfRotation"), 1),
    **dict.fromkeys(("TransformMatrix", "Orientation", "Rotation"), 2),
}

_MM_PER_UNIT = {"mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "m": 1000.0, "cm": 10.0, "um": 0.001, "µm": 0.001}


@dataclass(frozen=True)
class TextHeader:
    """What the header of an NRRD or MetaImage file declares.

    Attributes
    ----------
    shape : tuple of int
        All axes, also those of components.
    itemsize : int
        Bytes per value.
    compressed : bool
        Whether the voxels are compressed by Deflate.
    length : int
        Bytes of the header, where the voxels follow in the same file.
    has_orientation : bool
    mm_per_unit : float
    modality : {"", "MR", "CT"}
    """

    shape: tuple[int, ...]
    itemsize: int
    compressed: bool
    length: int
    has_orientation: bool
    mm_per_unit: float
    modality: str


def read_text_header(path: Path, kind: str) -> TextHeader:
    """Parse a header strictly; what another reader might understand otherwise is refused.

    Parameters
    ----------
    path : Path
    kind : {"nrrd", "metaimage"}

    Raises
    ------
    FileError
    """
    with path.open("rb") as file:
        start = file.read(_LONGEST_HEADER)
    return _nrrd(path, start) if kind == "nrrd" else _metaimage(path, start)


def _nrrd(path: Path, start: bytes) -> TextHeader:
    end = re.search(rb"\r?\n\r?\n", start)
    length = end.end() if end is not None else len(start)
    fields: dict[str, str] = {}
    values: dict[str, str] = {}
    for line in _lines(path, start[: end.start() if end is not None else length])[1:]:
        if line.startswith("#") or not line:
            continue
        pair = re.match(r"([^:]+):=(.*)$", line)
        field = re.match(r"([A-Za-z ]+): *(.*)$", line)
        if pair is not None:
            values[pair[1].strip().lower()] = pair[2].strip()
        elif field is not None:
            name = field[1].strip().lower()
            if name in fields:
                raise _not_understood(path, f"{name!r} twice")
            fields[name] = field[2].strip()
        else:
            raise _not_understood(path, "a line that is neither a field nor a key")
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise FileError(
            f"{path}: voxels are encoded as {encoding[:20]!r}; raw or gzip was expected. Convert to .nii.gz."
        )
    itemsize = _NRRD_BYTES.get(" ".join(fields.get("type", "").lower().split()))
    if itemsize is None:
        raise FileError(f"{path}: values of type {fields.get('type', '')[:20]!r} are no intensities.")
    directions = fields.get("space directions", "")
    named = values.get("modality", "").upper()
    return TextHeader(
        shape=_whole_numbers(path, fields.get("sizes", "")),
        itemsize=itemsize,
        compressed=encoding != "raw",
        length=length,
        has_orientation=bool(directions) and "space" in fields,
        mm_per_unit=_unit(path, fields.get("space units", "")),
        modality="MR" if "MR" in named else ("CT" if named == "CT" else ""),
    )


def _metaimage(path: Path, start: bytes) -> TextHeader:
    end = re.search(rb"(?m)^ElementDataFile[ \t]*=[^\n]*(?:\n|\Z)", start)
    if end is None:
        raise _not_understood(path, "no ElementDataFile")
    fields: dict[str, str] = {}
    for line in _lines(path, start[: end.end()]):
        field = re.match(r"(\w+)\s*=\s*(.*)$", line)
        if not line.strip():
            continue
        if field is None:
            raise _not_understood(path, "a line that is no field")
        if field[1].lower() in (name.lower() for name in fields):
            raise _not_understood(path, f"{field[1]!r} twice")
        fields[field[1]] = field[2].strip()
    if fields.get("BinaryData", "True").lower() not in ("true", "1", "t"):
        raise FileError(f"{path}: voxels are written as text; binary ones were expected. Convert it to .nii.gz.")
    itemsize = _META_BYTES.get(fields.get("ElementType", "").removeprefix("MET_").removesuffix("_ARRAY"))
    if itemsize is None:
        raise FileError(f"{path}: values of type {fields.get('ElementType', '')[:20]!r} are no intensities.")
    shape = _whole_numbers(path, fields.get("DimSize", ""))
    components = _whole_numbers(path, fields.get("ElementNumberOfChannels", "1"))
    # SimpleITK crashes where these disagree.
    for name, wanted in (("NDims", None), *_META_LENGTHS.items()):
        found = fields.get(name, "").split()
        if name == "NDims" and found != [str(len(shape))]:
            raise _not_understood(path, f"NDims {' '.join(found)[:20]!r} and {len(shape)} sizes")
        if wanted is not None and found and len(found) != len(shape) ** wanted:
            raise _not_understood(path, f"{name} of {len(found)} values for {len(shape)} axes")
    compressed = fields.get("CompressedData", "False").lower() in ("true", "1", "t")
    # MetaIO takes memory for as many compressed bytes as the header says.
    said = _whole_numbers(path, fields.get("CompressedDataSize", "0"))
    if said[0] > path.stat().st_size and fields["ElementDataFile"] == "LOCAL":
        raise FileError(f"{path}: {said[0]} compressed bytes are declared, more than the file holds. Copy it again.")
    named = fields.get("Modality", "")
    return TextHeader(
        shape=(*components, *shape) if components != (1,) else shape,
        itemsize=itemsize,
        compressed=compressed,
        length=end.end(),
        has_orientation=any(name in fields for name in ("TransformMatrix", "Orientation", "Rotation")),
        mm_per_unit=1.0,
        modality={"MET_MOD_CT": "CT", "MET_MOD_MR": "MR"}.get(named, ""),
    )


def _lines(path: Path, block: bytes) -> list[str]:
    text = block.decode("utf-8", "replace").replace("\r\n", "\n")
    if re.search(r"[\x00-\x08\x0b-\x1f]", text):
        raise _not_understood(path, "characters that are no text")
    return text.split("\n")


def _whole_numbers(path: Path, words: str) -> tuple[int, ...]:
    found = re.fullmatch(r"\d{1,9}(?:[ \t]+\d{1,9})*", words)
    if found is None:
        raise _not_understood(path, f"sizes {words[:40]!r}")
    return tuple(int(word) for word in words.split())


def _unit(path: Path, words: str) -> float:
    units = {unit.strip().lower() for unit in re.findall(r'"([^"]*)"', words)} - {"", "s", "ms", "sec"}
    if not units:
        return 1.0
    if len(units) > 1 or not units <= _MM_PER_UNIT.keys():
        raise FileError(f"{path}: lengths in {', '.join(sorted(units))[:40]}; mm were expected. Convert it to .nii.gz.")
    return _MM_PER_UNIT[units.pop()]


def _not_understood(path: Path, what: str) -> FileError:
    return FileError(f"{path}: the header is damaged or not understood ({what}). Export the scan again, as .nii.gz.")
