"""NIfTI, MGH, NRRD and MetaImage files that fuzzing starts from, and damage to their headers."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.fuzz_damage import Damage, Files, pick

#: Fields of a NIfTI-1 header (nifti1.h).
_NIFTI = np.dtype(
    [
        *(("sizeof_hdr", "<i4"), ("unused", "S35"), ("dim_info", "u1"), ("dim", "<i2", 8), ("intent_p", "<f4", 3)),
        *(("intent_code", "<i2"), ("datatype", "<i2"), ("bitpix", "<i2"), ("slice_start", "<i2"), ("pixdim", "<f4", 8)),
        *(("vox_offset", "<f4"), ("scl_slope", "<f4"), ("scl_inter", "<f4"), ("slice_end", "<i2")),
        *(("slice_code", "u1"), ("xyzt_units", "u1"), ("cal", "<f4", 2), ("slice_duration", "<f4")),
        *(("toffset", "<f4"), ("glmax", "<i4", 2), ("descrip", "S80"), ("aux_file", "S24"), ("qform_code", "<i2")),
        *(("sform_code", "<i2"), ("quatern", "<f4", 3), ("qoffset", "<f4", 3), ("srow", "<f4", (3, 4))),
        *(("intent_name", "S16"), ("magic", "S4")),
    ]
)

#: Header damage concentrates on what decides about size, values and geometry.
_FIELDS = (
    *("sizeof_hdr", "dim", "dim", "dim", "dim", "datatype", "datatype", "bitpix", "pixdim", "pixdim"),
    *("vox_offset", "scl_slope", "scl_inter", "xyzt_units", "intent_code", "qform_code", "sform_code"),
    *("quatern", "qoffset", "srow", "magic", "slice_duration", "descrip"),
)

_NUMBERS = (
    *(0, 1, -1, 2, 3, 5, 7, 8, 64, 128, 352, 1024, 32767, -32768, 2**24),
    *(0.5, 1e-30, 1e30, -1e30, np.nan, np.inf, -np.inf),
)

_DATATYPES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 255, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304, 4095)

_SHAPE = (4, 12, 16)

_BOMB = 48 * 2**20


def volume_originals() -> dict[str, Files]:
    """Files of every original by its kind: relative path -> bytes."""
    header, values = _header(), _values()
    plain = header.tobytes() + b"\0\0\0\0" + values.tobytes()
    series = _header()
    series["dim"] = [4, 16, 12, 4, 3, 1, 1, 1]
    complex_ = _header()
    complex_["datatype"], complex_["bitpix"] = 32, 64
    scaled = _header()
    scaled["scl_slope"], scaled["scl_inter"] = 0.5, -1000
    pair = _header()
    pair["magic"], pair["vox_offset"] = b"ni1", 0
    sidecar = {"Modality": "MR", "EchoTime": 0.03, "SliceThickness": 3, "SliceTiming": [0, 1, 2, 3], "ImageType": ["M"]}
    return {
        "NIfTI": {"a.nii": plain},
        "NIfTI, gzip": {"a.nii.gz": gzip.compress(plain, mtime=0)},
        "NIfTI, 4D": {"a.nii.gz": gzip.compress(series.tobytes() + b"\0\0\0\0" + values.tobytes() * 3, mtime=0)},
        "NIfTI, complex": {"a.nii": complex_.tobytes() + b"\0\0\0\0" + values.astype("<c8").tobytes()},
        "NIfTI, big-endian": {"a.nii": _swapped(scaled) + b"\0\0\0\0" + values.astype(">i2").tobytes()},
        "NIfTI, two files": {"a.hdr": pair.tobytes(), "a.img": values.tobytes()},
        "NIfTI with sidecar": {"sub-1_T2w.nii": plain, "sub-1_T2w.json": json.dumps(sidecar).encode()},
        "MGZ": {"a.mgz": gzip.compress(_mgh(values), mtime=0)},
        "NRRD": {"a.nrrd": _nrrd(values)},
        "MetaImage": {"a.mha": _mha(values)},
    }


def _values() -> NDArray[np.int16]:
    return np.random.default_rng(1).integers(0, 900, _SHAPE).astype("<i2")


def _header() -> NDArray[np.void]:
    header = np.zeros((), _NIFTI)
    header["sizeof_hdr"], header["dim"], header["datatype"], header["bitpix"] = 348, [3, 16, 12, 4, 1, 1, 1, 1], 4, 16
    header["pixdim"], header["vox_offset"], header["xyzt_units"] = [1, 0.9, 0.8, 3, 1, 1, 1, 1], 352, 10
    header["sform_code"], header["qform_code"], header["qoffset"] = 1, 1, [-7, -5, 4]
    header["srow"] = [[0.9, 0, 0, -7], [0, 0.8, 0, -5], [0, 0, 3, 4]]
    header["magic"] = b"n+1"
    return header


def _swapped(header: NDArray[np.void]) -> bytes:
    return header.astype(_NIFTI.newbyteorder(">")).tobytes()


def _mgh(values: NDArray[np.int16]) -> bytes:
    z, y, x = values.shape
    header = struct.pack(">7ih15f", 1, x, y, z, 1, 4, 0, 1, 0.9, 0.8, 3, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 10)
    return header.ljust(284, b"\0") + values.astype(">i2").tobytes()


def _nrrd(values: NDArray[np.int16]) -> bytes:
    text = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 16 12 4\n"
        "space directions: (0.9,0,0) (0,0.8,0) (0,0,3)\nkinds: domain domain domain\nendian: little\n"
        "encoding: raw\nspace origin: (-7,-5,4)\n\n"
    )
    return text.encode() + values.tobytes()


def _mha(values: NDArray[np.int16]) -> bytes:
    text = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = -7 -5 4\nElementSpacing = 0.9 0.8 3\nDimSize = 16 12 4\n"
        "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    return text.encode() + values.tobytes()


def _opened(data: bytes) -> tuple[bytes, bool]:
    if data[:2] != b"\x1f\x8b":
        return data, False
    try:
        return gzip.decompress(data), True
    except (OSError, EOFError, ValueError, zlib.error):
        return data, False


def change_fields(files: Files, rng: Generator) -> str:
    """Set one to four fields of a NIfTI header to extreme values."""
    name, data = pick(files, rng, ".hdr")
    name, data = (name, data) if name else pick(files, rng)
    plain, packed = _opened(data)
    if len(plain) < _NIFTI.itemsize or plain[344:346] not in (b"n+", b"ni"):
        return ""
    big = plain[0] == 0
    header = np.frombuffer(plain[: _NIFTI.itemsize], _NIFTI.newbyteorder(">") if big else _NIFTI)[0].copy()
    said = []
    for _ in range(int(rng.integers(1, 5))):
        field = _FIELDS[int(rng.integers(len(_FIELDS)))]
        said.append(field)
        if header.dtype[field].kind == "S":
            header[field] = rng.bytes(3)
            continue
        value = (
            _DATATYPES[rng.integers(len(_DATATYPES))] if field == "datatype" else _NUMBERS[rng.integers(len(_NUMBERS))]
        )
        part = np.array(header[field])
        kind = part.dtype.kind
        limits = np.iinfo(part.dtype) if kind in "iu" else None
        fitting = value if limits is None else int(np.clip(np.nan_to_num(value), limits.min, limits.max))
        if part.ndim and rng.random() < 0.8:
            part.flat[int(rng.integers(part.size))] = fitting
        else:
            part[...] = fitting
        header[field] = part
    changed = header.tobytes() + plain[_NIFTI.itemsize :]
    files[name] = gzip.compress(changed, 1, mtime=0) if packed else changed
    return f"{name}: {', '.join(said)}"


def change_gzip(files: Files, rng: Generator) -> str:
    """Compress twice or under another name, append members or zeros, lie about the size, inflate a lot."""
    name, data = pick(files, rng)
    plain, packed = _opened(data)
    how = int(rng.integers(7))
    if how == 0:
        files[name] = gzip.compress(data, mtime=0)
    elif how == 1:
        files[name] = data + gzip.compress(plain, mtime=0)
    elif how == 2 and packed:
        files[name] = plain
    elif how == 3 and packed:
        files[name] = data[:-8] + rng.bytes(8)
    elif how == 4:
        files[name] = data + b"\0" * int(rng.integers(1, 2000))
    elif how == 5 and packed:
        # Many MB behind what the header declares.
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1, mtime=0) as file:
            file.write(plain)
            file.write(bytes(_BOMB))
        files[name] = buffer.getvalue()
    elif packed:
        at = int(rng.integers(10, len(data)))
        files[name] = data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]
    else:
        files[f"{name}.gz"] = gzip.compress(data, mtime=0)
        del files[name]
    return f"gzip of {name} changed ({how})"


def add_extension(files: Files, rng: Generator) -> str:
    """Put header extensions, or what looks like some, before the voxels."""
    name, data = pick(files, rng, ".nii")
    if not name:
        return ""
    sizes = (0, 8, 15, 16, 32, 2**20, 2**31 - 1, -16, -(2**31))
    size = int(sizes[int(rng.integers(len(sizes)))])
    extension = b"\1\0\0\0" + struct.pack("<2i", size, int(rng.integers(0, 50))) + rng.bytes(24)
    changed = bytearray(data[:348] + extension + data[352:])
    if rng.random() < 0.6 and len(changed) > 112:
        changed[108:112] = struct.pack("<f", 352 + 32)
    files[name] = bytes(changed)
    return f"extension of {size} bytes in {name}"


def change_sidecar(files: Files, rng: Generator) -> str:
    """Put a sidecar beside the scan that is no JSON, has other types, or nests deeply."""
    name, _ = pick(files, rng, ".json")
    scan, _ = pick(files, rng, ".nii")
    name = name or (f"{scan[:-4]}.json" if scan else "")
    if not name:
        return ""
    values: tuple[object, ...] = (
        None,
        0,
        -1,
        1e308,
        "x",
        "phase",
        [],
        [1, "a", None],
        {},
        {"a": 1},
        True,
        "9" * 5000,
        [0] * 5000,
    )
    keys = (
        "Modality",
        "EchoTime",
        "SliceThickness",
        "SliceTiming",
        "ImageType",
        "RepetitionTime",
        "FlipAngle",
        "Units",
    )
    wrong = {key: values[int(rng.integers(len(values)))] for key in keys if rng.random() < 0.5}
    texts = (
        json.dumps(wrong),
        json.dumps(wrong)[:-1],
        json.dumps([wrong]),
        '{"EchoTime": NaN, "SliceThickness": Infinity}',
        "[" * 100_000,
        '{"a":' * 20_000,
        "\ufeff{}",
        "\0",
        "",
    )
    files[name] = texts[int(rng.integers(len(texts)))].encode("utf-16" if rng.random() < 0.1 else "utf-8")
    return f"sidecar {name}"


def change_text_header(files: Files, rng: Generator) -> str:
    """Change, remove, repeat or exchange lines of an NRRD or MetaImage header, or name another data file."""
    name, data = pick(files, rng)
    end = data.find(b"\n\n") if name.endswith(".nrrd") else data.find(b"LOCAL\n") + 5
    if not name.endswith((".nrrd", ".mha")) or end < 6:
        return ""
    lines = data[:end].split(b"\n")
    at = int(rng.integers(1, len(lines)))
    separator = b": " if name.endswith(".nrrd") else b" = "
    key = lines[at].split(separator)[0]
    values = (
        *(b"0", b"-1", b"1e30", b"nan", b"99999999999", b"16 12 4 3", b"65535 65535 65535", b"(1,0,0) (1,0,0) (0,0,3)"),
        *(
            b"none none none",
            b"gzip",
            b"True",
            b"double",
            b"MET_OTHER",
            b"3 3",
            b"right-anterior-superior",
            b"\xff\xfe",
        ),
    )
    how = int(rng.integers(6))
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.append(lines[at])
    elif how == 2:
        lines.insert(int(rng.integers(len(lines))), rng.bytes(12).replace(b"\n", b"x"))
    elif how == 3:
        outside = (b"../outside", b"/dev/zero", b"LIST", b"%03d.raw 1 9 1", b"skipped", b".")
        target = outside[int(rng.integers(len(outside)))]
        lines = [line for line in lines if not line.startswith(b"ElementDataFile")]
        lines.append(b"data file: " + target if name.endswith(".nrrd") else b"ElementDataFile = " + target)
    else:
        lines[at] = key + separator + values[int(rng.integers(len(values)))]
    files[name] = b"\n".join(lines) + data[end:]
    return f"header of {name}: {key.decode('latin-1')} ({how})"


VOLUME_FILE: tuple[Damage, ...] = (
    change_fields,
    change_fields,
    change_fields,
    change_gzip,
    add_extension,
    change_sidecar,
    change_text_header,
    change_text_header,
)
