"""Any raw file to a raw measurement, by its content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medinr.errors import FileError, InputError
from medinr.io.raw.array_sidecar import read_array
from medinr.io.raw.bart import is_bart_header, read_bart
from medinr.io.raw.data_exchange import read_data_exchange
from medinr.io.raw.fastmri import read_fastmri
from medinr.io.raw.hdf5 import is_hdf5, names, open_hdf5
from medinr.io.raw.htc import htc_variable, read_htc
from medinr.io.raw.ismrmrd import is_ismrmrd, read_ismrmrd
from medinr.io.raw.sidecar import Sidecar, read_sidecar
from medinr.raw import RawMeasurement

_READERS = {
    "array": read_array,
    "bart": read_bart,
    "data exchange": read_data_exchange,
    "fastmri": read_fastmri,
    "htc": read_htc,
    "ismrmrd": read_ismrmrd,
}


def read_raw(
    path: Path | str,
    *,
    sidecar: Path | str | Mapping[str, Any] | None = None,
    slices: Sequence[int] | None = None,
) -> RawMeasurement:
    """Read k-space or sinograms: ISMRMRD, fastMRI, BART, Data Exchange, HTC 2022, ``.npy`` and ``.mat``.

    Parameters
    ----------
    path : Path or str
    sidecar : Path, str or mapping, optional
        Facts that the file itself lacks (`medinr.io.raw.sidecar.Sidecar`): a YAML file or its keys and values. By
        default ``<file>.yaml`` in the folder of the raw file, if there is one.
    slices : sequence of int, optional
        Which to read, counted from 0; all by default.

    Raises
    ------
    FileError
        When there is no readable raw file, or an array has no sidecar.
    ConfigError
        When the sidecar has an unknown key or value.
    ShapeError, GeometryError, IntensityError
        When the parts do not fit together or values cannot be used; the message names the file.

    See Also
    --------
    medinr.raw.RawMeasurement : what comes out, and its conventions.
    """
    path = Path(path)
    if path.is_dir():
        raise FileError(f"{path}: is a folder; name the raw file in it.")
    if not path.exists() and not path.with_name(path.name + ".cfl").exists():
        raise FileError(f"{path}: no such file.")
    said = read_sidecar(path, sidecar)
    kind = _format(path, said)
    try:
        return _READERS[kind](path, said, slices)
    except InputError as error:
        # Errors of the measurement itself do not name the file.
        stem = path.with_suffix("") if path.suffix in (".cfl", ".hdr") else path
        if str(stem) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error


def is_raw(path: Path | str) -> bool:
    """Whether a path may be a raw file, by its ending and its first bytes. Never raises."""
    path = Path(path)
    if not path.is_file():
        return path.with_name(path.name + ".cfl").is_file() and path.with_name(path.name + ".hdr").is_file()
    suffix = path.suffix.lower()
    if suffix == ".hdr":
        return is_bart_header(path)
    return suffix in (".cfl", ".npy", ".mat") or is_hdf5(path)


def _format(path: Path, sidecar: Sidecar) -> str:
    suffix = path.suffix.lower()
    if suffix in (".cfl", ".hdr") or not path.is_file():
        return "bart"
    if suffix == ".npy":
        return "array"
    if suffix == ".mat":
        return "array" if sidecar.axes is not None or _holds_arrays(path) else "htc"
    if not is_hdf5(path):
        raise FileError(
            f"{path}: no raw file that is known. ISMRMRD, fastMRI and Data Exchange are HDF5; BART is .cfl with .hdr; "
            "arrays are .npy or .mat with a sidecar. Was it truncated or renamed?"
        )
    with open_hdf5(path) as file:
        if "exchange" in file:
            return "data exchange"
        if "kspace" in file:
            return "fastmri"
        if is_ismrmrd(file):
            return "ismrmrd"
        held = ", ".join(names(file)[:12]) or "nothing"
    raise FileError(
        f"{path}: HDF5, but neither Data Exchange (exchange/data) nor fastMRI (kspace) nor ISMRMRD (dataset/xml and "
        f"dataset/data); it holds {held}. Save the array as .npy with a sidecar."
    )


def _holds_arrays(path: Path) -> bool:
    return htc_variable(path) is None
