"""Pseudonyms of persons and visits: keyed hashes, whose key (the salt) stays with who builds the manifest.

HMAC-SHA256 (RFC 2104). Without the salt nobody can find the pseudonym of a known patient number by trying; with it, a
later build gives the same pseudonyms.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from medinr.errors import FileError, ManifestError, OutputExistsError

#: Hexadecimal digits of a pseudonym: two of 10,000 persons share one with a probability of 5e-5.
_DIGITS = 10

#: Bytes of a new salt.
_SALT_BYTES = 32

#: Shorter texts could be found by trying.
_SHORTEST = 8

_LONGEST_FILE = 4096


class Pseudonyms:
    """Codes for persons and visits under one salt.

    Parameters
    ----------
    salt : bytes

    Examples
    --------
    >>> Pseudonyms(b"only an example").person("number||4711")
    's1505d6eced'
    """

    def __init__(self, salt: bytes) -> None:
        self._salt = salt

    def person(self, identifier: str) -> str:
        """Return the code of a person: ``s`` and hexadecimal digits."""
        return f"s{self.digest('person', identifier)[:_DIGITS]}"

    def session(self, person: str, identifier: str) -> str:
        """Return the code of a person's visit: ``v`` and hexadecimal digits."""
        return f"v{self.digest('session', person, identifier)[:_DIGITS]}"

    def digest(self, *parts: str) -> str:
        """Return the keyed hash of some texts as 64 hexadecimal digits."""
        return hmac.new(self._salt, "\0".join(parts).encode(), hashlib.sha256).hexdigest()


def salt_path(manifest: Path) -> Path:
    """Return where the salt of a manifest is kept: beside it, ending in ``.salt``."""
    return manifest.with_suffix(".salt")


def open_salt(given: str | None, manifest: Path) -> bytes:
    """Return the salt: the given one, the one beside the manifest, or a new one, which is written there.

    Parameters
    ----------
    given : str, optional
        A file that holds it, or the salt itself.
    manifest : Path
        File to be written.

    Returns
    -------
    bytes

    Raises
    ------
    FileError
        When a file cannot be read or is no salt.
    ManifestError
        When a given text is too short, or names a file that is not there.
    """
    beside = salt_path(manifest)
    if given is None:
        return _read(beside) if beside.exists() else _new(beside)
    path = Path(given)
    try:
        exists = path.is_file()
    except (OSError, ValueError):
        exists = False
    if exists:
        return _read(path)
    if path.suffix in (".salt", ".txt", ".key") or path.name != given:
        raise ManifestError(f"--salt {given}: no such file. Give a file that exists, or the salt itself.")
    return _strong_enough(given.strip().encode(), "--salt")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_FILE + 1)
    except OSError as error:
        raise FileError(f"{path}: the salt cannot be read ({error.strerror}).") from error
    if len(content) > _LONGEST_FILE:
        raise FileError(f"{path}: too long for a salt (more than {_LONGEST_FILE} bytes). Is it another file?")
    return _strong_enough(content.strip(), str(path))


def _strong_enough(salt: bytes, name: str) -> bytes:
    if len(salt) < _SHORTEST:
        raise ManifestError(
            f"{name}: a salt has at least {_SHORTEST} characters; a shorter one could be found by trying. "
            "Leave it out, and a random one is made."
        )
    return salt


def _new(path: Path) -> bytes:
    salt = secrets.token_hex(_SALT_BYTES)
    try:
        # Only the owner may read it: who has it can test whether a known patient is in the manifest.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise OutputExistsError(f"{path} appeared meanwhile. Run the command again.") from error
    except OSError as error:
        raise FileError(f"{path}: the salt cannot be written ({error.strerror}).") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(salt + "\n")
    return salt.encode()
