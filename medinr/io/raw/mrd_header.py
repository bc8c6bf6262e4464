"""The geometry in an ISMRMRD header; nothing else is read, as the header also names the patient."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from ismrmrd import xsd

from medinr.errors import FileError
from medinr.io.raw.checks import require_room


@dataclass(frozen=True)
class MrdGeometry:
    """Facts of the first encoding in a header.

    Attributes
    ----------
    trajectory : str
        ``"cartesian"``, ``"radial"``, ``"spiral"``, ...
    encoded : (int, int, int)
        Samples (z, y, x) of the k-space grid; x is the readout.
    shape, recon_shape : (int, int)
        Pixels (y, x) of that grid, and of the image without oversampling.
    spacing : (float, float) or None
        Pixel spacing (y, x) in mm.
    thickness : float or None
        Of a slice in mm.
    centre : (int, int)
        Counter of the central line and partition.
    noise_bandwidth : float
        Of the receiver, relative to its nominal one.
    embedded_calibration : bool
        Whether calibration lines belong to the same k-space as the others.
    """

    trajectory: str
    encoded: tuple[int, int, int]
    recon_shape: tuple[int, int]
    spacing: tuple[float, float] | None
    thickness: float | None
    centre: tuple[int, int]
    noise_bandwidth: float
    embedded_calibration: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels (y, x) of the grid."""
        return self.encoded[1], self.encoded[2]


def parse_header(text: bytes | str, name: str) -> MrdGeometry:
    """Read the geometry from the XML of a header.

    Raises
    ------
    FileError
        When the XML is damaged or has no encoding.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about values outside the schema, which vendors' exports contain
            header = xsd.CreateFromDocument(text)
        return _geometry(header, name)
    except (AttributeError, IndexError, TypeError, ValueError, SyntaxError, LookupError) as error:
        raise FileError(
            f"{name}: the ISMRMRD header cannot be read ({type(error).__name__}). Export it again."
        ) from error


def _geometry(header: Any, name: str) -> MrdGeometry:
    encoding = header.encoding[0]
    encoded, recon = encoding.encodedSpace, encoding.reconSpace
    size = encoded.matrixSize
    grid = (int(size.z), int(size.y), int(size.x))
    require_room(grid, 8, f"{name}, header")
    field = encoded.fieldOfView_mm
    spacing = (field.y / size.y, field.x / size.x) if field.x > 0 and field.y > 0 else None
    limits = encoding.encodingLimits
    line, partition = (getattr(limits, f"kspace_encoding_step_{i}", None) for i in (1, 2))
    # The image without oversampling has the encoded pixels, as many as fill its field of view.
    kept = [
        min(n, round(n * r / e)) if e > 0 and r > 0 else n
        for n, r, e in (
            (grid[1], recon.fieldOfView_mm.y, field.y),
            (grid[2], recon.fieldOfView_mm.x, field.x),
        )
    ]
    calibration = getattr(encoding.parallelImaging, "calibrationMode", None)
    mode = getattr(calibration, "value", calibration)
    system = header.acquisitionSystemInformation
    return MrdGeometry(
        trajectory=str(getattr(encoding.trajectory, "value", encoding.trajectory)).lower(),
        encoded=grid,
        recon_shape=(kept[0], kept[1]),
        spacing=spacing,
        thickness=float(field.z) / grid[0] if field.z > 0 else None,
        centre=(
            grid[1] // 2 if line is None or line.center is None else int(line.center),
            grid[0] // 2 if partition is None or partition.center is None else int(partition.center),
        ),
        noise_bandwidth=float(getattr(system, "relativeReceiverNoiseBandwidth", None) or 1.0),
        embedded_calibration=str(mode).lower() == "embedded",
    )
