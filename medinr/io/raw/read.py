"""Any raw file to a raw measurement, by its content."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from medinr.errors import FileError, InputError
from medinr.io.raw.recognise import is_hdf5
from medinr.io.raw.sidecar import Sidecar, read_sidecar
from medinr.raw import RawMeasurement

#: Module and function of every reader: only the one that is needed is loaded, with its library.
_READERS = {
    "array": ("medinr.io.raw.array_sidecar", "read_array"),
    "bart": ("medinr.io.raw.bart", "read_bart"),
    "data exchange": ("medinr.io.raw.data_exchange", "read_data_exchange"),
    "fastmri": ("medinr.io.raw.fastmri", "read_fastmri"),
    "htc": ("medinr.io.raw.htc", "read_htc"),
    "ismrmrd": ("medinr.io.raw.ismrmrd", "read_ismrmrd"),
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
        module, function = _READERS[kind]
        read: Callable[..., RawMeasurement] = getattr(import_module(module), function)
        return read(path, said, slices)
    except InputError as error:
        # Errors of the measurement itself do not name the file.
        stem = path.with_suffix("") if path.suffix in (".cfl", ".hdr") else path
        if str(stem) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error


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
    from medinr.io.raw.hdf5 import names, open_hdf5
    from medinr.io.raw.ismrmrd import is_ismrmrd

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
    from medinr.io.raw.htc import htc_variable

    return htc_variable(path) is None
