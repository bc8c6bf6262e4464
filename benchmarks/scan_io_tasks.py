"""What the benchmark of reading and writing measures, one task in a process of its own: ``python -m`` this module."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Of the series, for the tasks that read one slice.
_SLICE = 0.5


def _medinr_nifti(series: Path, out: Path) -> Callable[[], Any]:
    from medinr.io.nifti import write_nifti
    from medinr.io.scan import read_scan

    def run() -> None:
        scan = read_scan(series)
        scan.require_usable()
        write_nifti(scan, out, overwrite=True)

    return run


def _medinr_dicom(series: Path, out: Path) -> Callable[[], Any]:
    from medinr.io.dicom.derived.write import write_derived_series
    from medinr.io.scan import read_scan

    def run() -> None:
        scan = read_scan(series)
        scan.require_usable()
        write_derived_series(scan, out, description="benchmark", settings_summary="copied", overwrite=True)

    return run


def _medinr_slice(series: Path, out: Path) -> Callable[[], Any]:
    from medinr.io.scan import read_scan

    number = int(_SLICE * len(list(series.iterdir())))

    def run() -> None:
        read_scan(series, slices=[number]).require_usable()

    return run


def _medinr_file(series: Path, out: Path) -> Callable[[], Any]:
    from medinr.io.scan import read_scan

    files = sorted(series.iterdir())

    def run() -> None:
        read_scan(files[int(_SLICE * len(files))]).require_usable()

    return run


def _monai_nifti(series: Path, out: Path) -> Callable[[], Any]:
    from monai.data import NibabelWriter, PydicomReader

    def run() -> None:
        reader = PydicomReader()
        array, meta = reader.get_data(reader.read(series))
        writer = NibabelWriter(output_dtype="float32")
        writer.set_data_array(array, channel_dim=None)
        writer.set_metadata(meta)
        writer.write(out)

    return run


#: Name: what it writes, and the function that loads the libraries and returns the work.
TASKS: dict[str, tuple[str, Callable[[Path, Path], Callable[[], Any]]]] = {
    "medinr, NIfTI, gzip": ("medinr.nii.gz", _medinr_nifti),
    "MONAI, NIfTI, gzip": ("monai.nii.gz", _monai_nifti),
    "medinr, NIfTI": ("medinr.nii", _medinr_nifti),
    "MONAI, NIfTI": ("monai.nii", _monai_nifti),
    "medinr, derived DICOM": ("derived", _medinr_dicom),
    "medinr, one slice of the folder": ("", _medinr_slice),
    "medinr, one file": ("", _medinr_file),
}


def main(arguments: list[str]) -> int:
    """Run one task and print the seconds of its work, without loading libraries, as JSON.

    Parameters
    ----------
    arguments : list of str
        Name of the task, folder of the series, folder of the output.
    """
    name, series, out = arguments
    output, prepare = TASKS[name]
    run = prepare(Path(series), Path(out) / output)
    begun = time.perf_counter()
    run()
    print(json.dumps({"seconds": time.perf_counter() - begun}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
