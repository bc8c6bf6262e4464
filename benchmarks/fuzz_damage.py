"""Damage to bytes, folders and archives, whatever they hold. Each function changes `files` and says what it did."""

from __future__ import annotations

import gzip
import io
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from numpy.random import Generator


@dataclass(frozen=True)
class Link:
    """A symbolic link in an input folder."""

    target: str


@dataclass(frozen=True)
class Pipe:
    """A named pipe in an input folder: whoever opens it waits for ever."""


Files = dict[str, bytes | Link | Pipe]

#: Changes the files and returns what was done, in words; an empty text when it does not apply to them.
Damage = Callable[[Files, Generator], str]

#: Part of the file where damage is most likely to be understood as something: its header.
_HEADER_BYTES = 1200

_UNPACKED_BOMB = 48 * 2**20


def pick(files: Files, rng: Generator, ending: str = "") -> tuple[str, bytes]:
    """Choose a regular file of that ending; an empty name when there is none."""
    regular = [name for name, data in files.items() if isinstance(data, bytes) and name.endswith(ending)]
    if not regular:
        return "", b""
    name = regular[int(rng.integers(len(regular)))]
    data = files[name]
    return name, data if isinstance(data, bytes) else b""


def _place(data: bytes, rng: Generator) -> int:
    near = min(len(data), _HEADER_BYTES) if rng.random() < 0.7 else len(data)
    return int(rng.integers(max(near, 1)))


def flip_bits(files: Files, rng: Generator) -> str:
    """Invert one to twenty bits."""
    name, data = pick(files, rng)
    changed = bytearray(data)
    count = int(rng.integers(1, 21))
    for _ in range(count if data else 0):
        changed[_place(data, rng)] ^= 1 << int(rng.integers(8))
    files[name] = bytes(changed)
    return f"{count} bits of {name}"


def overwrite_bytes(files: Files, rng: Generator) -> str:
    """Overwrite a run of bytes with zeros, ones or noise."""
    name, data = pick(files, rng)
    start, count = _place(data, rng), int(rng.integers(1, 9))
    fill = (b"\0" * count, b"\xff" * count, rng.bytes(count))[int(rng.integers(3))]
    files[name] = data[:start] + fill + data[start + count :]
    return f"{count} bytes at {start} of {name} overwritten"


def move_bytes(files: Files, rng: Generator) -> str:
    """Remove, repeat or insert a run of bytes, so that everything behind it is out of place."""
    name, data = pick(files, rng)
    start, count = _place(data, rng), int(rng.integers(1, 65))
    part = data[start : start + count]
    middle = (b"", part + part, rng.bytes(count) + part)[int(rng.integers(3))]
    files[name] = data[:start] + middle + data[start + count :]
    return f"bytes from {start} of {name} moved"


def truncate(files: Files, rng: Generator) -> str:
    """Cut a file, or let it end in noise or in a copy of itself."""
    name, data = pick(files, rng)
    how = rng.random()
    if how < 0.7:
        kept = 0 if how < 0.03 else _place(data, rng)
        files[name] = data[:kept]
        return f"{name} cut after {kept} of {len(data)} bytes"
    files[name] = data + (data if how < 0.8 else rng.bytes(int(rng.integers(1, 3000))))
    return f"{name} goes on after its end"


def splice(files: Files, rng: Generator) -> str:
    """Join the start of one file to the end of another."""
    first, a = pick(files, rng)
    second, b = pick(files, rng)
    files[first] = a[: _place(a, rng)] + b[_place(b, rng) :]
    return f"start of {first}, end of {second}"


def change_folder(files: Files, rng: Generator) -> str:
    """Lose, copy, rename or nest files, or add what does not belong there."""
    name, data = pick(files, rng)
    other, _ = pick(files, rng)
    stray = (
        b"",
        b"text\n",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
        b"\0" * 128 + b"DICM",
        b"\0" * 128 + b"DICM" + b"\xff" * 40,
    )
    changes: list[tuple[str, Callable[[], object]]] = [
        ("lost", lambda: files.pop(name)),
        ("copied", lambda: files.update({f"copy of {name}": data})),
        ("copied into a subfolder", lambda: files.update({f"sub/{name}": data})),
        ("replaced by a copy of another", lambda: files.update({other: data})),
        ("replaced by a dangling link", lambda: files.update({name: Link("nowhere")})),
        ("beside a link to itself", lambda: files.update({"loop": Link("loop")})),
        ("beside a link to its own folder", lambda: files.update({"again": Link(".")})),
        ("beside a link out of the folder", lambda: files.update({"out": Link("../outside")})),
        ("beside a pipe", lambda: files.update({"pipe": Pipe()})),
        ("beside a stray file", lambda: files.update({"stray": stray[int(rng.integers(len(stray)))]})),
        (
            "renamed",
            lambda: files.update({("DICOMDIR", ".hidden", "x" * 200, "a\nb")[rng.integers(4)]: files.pop(name)}),
        ),
        ("compressed once more", lambda: files.update({f"{name}.gz": gzip.compress(data, mtime=0)})),
    ]
    words, change = changes[int(rng.integers(len(changes)))]
    change()
    return f"{name} {words}"


def change_archive(files: Files, rng: Generator) -> str:
    """Rewrite a zip archive: names that lead outside, links, archives in archives, members that inflate a lot."""
    name, data = pick(files, rng, ".zip")
    if not name:
        return ""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError):
        return ""
    if not members:
        return ""
    number = int(rng.integers(len(members)))
    old, content = members[number]
    how = int(rng.integers(9))
    unix_link = 0
    if how == 0:
        outside = (
            "../../outside",
            "/outside",
            "C:\\outside",
            "a/../../../outside",
            "..\\outside",
            "",
            "a\0b",
            "x" * 300,
        )
        members[number] = (outside[int(rng.integers(len(outside)))], content)
    elif how == 1:
        members.append((old, content[: len(content) // 2]))
    elif how == 2:
        members[number] = (old, b"../../outside")
        unix_link = 0o120777 << 16
    elif how == 3:
        members.append(("inner.zip", data))
    elif how == 4:
        members.append(("bomb.dcm", content + b"\0" * _UNPACKED_BOMB))
    elif how == 5:
        members = members[:0]
    elif how == 6:
        members += [(f"many/{count}", b"") for count in range(300)]
    elif how == 7:
        changed: Files = dict(members)
        flip_bits(changed, rng)
        members = [(inside, kept) for inside, kept in changed.items() if isinstance(kept, bytes)]
    else:
        members.pop(number)
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        for inside, kept in members:
            info = zipfile.ZipInfo(inside)
            info.external_attr = unix_link if inside == old else 0
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, kept)
    packed = bytearray(buffer.getvalue())
    if rng.random() < 0.2:
        # The central directory is what readers believe.
        start = packed.rfind(b"PK\1\2")
        packed[start + int(rng.integers(4, 46)) if start >= 0 else 0] ^= 1 << int(rng.integers(8))
    files[name] = bytes(packed)
    return f"archive rewritten ({how})"


ANY_FILE: tuple[Damage, ...] = (flip_bits, overwrite_bytes, move_bytes, truncate, splice, change_folder)
