"""Make the shipped excerpts and manifests from a folder of public scans.

``python -m medinr.data_manifests.build SCANS``, from a checkout; SCANS holds ``brain_mri`` and ``ct_dicom``.
All below ``excerpts`` but the attribution, and `development.csv`, is made here, nowhere else.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, write_manifest
from medinr.io.nifti import read_nifti, write_nifti

HERE = Path(__file__).parent
EXCERPTS = HERE / "excerpts"

BRAIN_LICENCE = "CC BY"
CT_LICENCE = {"LIDC": "CC BY 3.0", "covi": "CC BY 4.0"}

#: Slices of each brain excerpt: through the ventricles and the white matter above them.
BRAIN_EXCERPTS = {
    "devtest/patient20_study2_FLAIR": [20, 24, 28, 32],
    "devtest/patient20_study2_T1W": [20, 24, 28, 32],
    "train/patient01_study1_FLAIR": [17, 22],
    "train/patient01_study1_T1W": [19, 25],
    "train/patient03_study1_FLAIR": [18, 24],
    "train/patient04_study1_FLAIR": [24, 31],
    "train/patient04_study1_T1W": [24, 31],
    "train/patient12_study1_FLAIR": [24, 31],
    "train/patient12_study1_T1W": [24, 31],
    "train/patient07_FLAIR_MNI": [78, 100],
    "train/patient07_T1_MNI": [78, 100],
    "train/patient26_FLAIR_MNI": [78, 100],
    "train/patient26_T1_MNI": [78, 100],
}

#: Neighbouring slices from the middle of each chest series, by the z of their names (LPS mm).
CT_EXCERPTS = {
    "LIDC-IDRI-0002": ["-89.500000", "-88.250000", "-87.000000", "-85.750000"],
    "LIDC-IDRI-0001": ["-115.000000", "-112.500000"],
}

TRAIN_CT = ("LIDC-IDRI-0001", "covid_A002304", "covid_A046441", "covid_A048383", "covid_A062055")
DEVTEST_CT = ("LIDC-IDRI-0002", "covid_A027284")


def main() -> None:
    """Build everything; what exists is replaced."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("scans", type=Path)
    scans = parser.parse_args().scans
    excerpts = [*brain_excerpts(scans / "brain_mri"), *ct_excerpts(scans / "ct_dicom")]
    write_manifest(Manifest(tuple(excerpts), EXCERPTS), EXCERPTS / "excerpts.csv", overwrite=True)
    whole = [*brain_rows(scans / "brain_mri"), *ct_rows(scans / "ct_dicom")]
    write_manifest(Manifest(tuple(whole), HERE), HERE / "development.csv", overwrite=True)


def brain_excerpts(scans: Path) -> Iterator[ManifestRow]:
    """Cut the slices of `BRAIN_EXCERPTS`, geometry and stored kind of number kept."""
    for name, slices in BRAIN_EXCERPTS.items():
        target = EXCERPTS / "brain_mr" / f"{Path(name).name}.nii.gz"
        volume = read_nifti(scans / f"{name}.nii.gz", modality="MR").select(slices)
        write_nifti(volume, target, overwrite=True, dtype=None if name.endswith("MNI") else "uint16")
        yield brain_row(target, EXCERPTS, split=name.split("/")[0], slices="")


def ct_excerpts(scans: Path) -> Iterator[ManifestRow]:
    """Copy the DICOM files of `CT_EXCERPTS`, bytes unchanged."""
    for subject, positions in CT_EXCERPTS.items():
        folder = EXCERPTS / "chest_ct" / subject
        folder.mkdir(parents=True, exist_ok=True)
        for position in positions:
            shutil.copyfile(scans / subject / f"{position}.dcm", folder / f"z{float(position):.2f}.dcm")
        yield ct_row(folder, EXCERPTS, subject, session="")


def brain_rows(scans: Path) -> Iterator[ManifestRow]:
    """Describe every brain scan, about five slices of tissue-rich mid-brain each."""
    for split in ("train", "devtest"):
        for path in sorted((scans / split).glob("*.nii.gz")):
            count = read_nifti(path, modality="MR").shape[0]
            step = max(1, round(0.07 * count))
            middle = (
                "60:120:12" if "MNI" in path.name else f"{round(0.45 * count)}:{round(0.45 * count) + 5 * step}:{step}"
            )
            yield brain_row(path, HERE, split, middle)


def ct_rows(scans: Path) -> Iterator[ManifestRow]:
    """Describe every axial CT: a contiguous series as a folder, single slices as files."""
    for subject in (*TRAIN_CT, *DEVTEST_CT):
        folder = scans / subject
        if subject.startswith("LIDC"):
            count = len(list(folder.glob("*.dcm")))
            yield ct_row(folder, HERE, subject, session="", slices=f"1:{count}:3")
        else:
            for path in sorted((folder / "axial").glob("*.dcm")):
                yield ct_row(path, HERE, subject, session=path.name.split("-")[0])


def brain_row(path: Path, root: Path, split: str, slices: str) -> ManifestRow:
    """Describe one brain scan by its name, ``patient01_study1_FLAIR`` or ``patient07_FLAIR_MNI``."""
    match = re.match(r"(patient\d+)_(?:(study\d)_)?(FLAIR|T1|T2)W?(_MNI)?\.nii\.gz", path.name)
    if match is None:
        raise SystemExit(f"{path.name}: not a name of the brain collection")
    subject, session, contrast, mni = match.groups()
    # The two collections number their patients independently: patient07 of one is not patient07 of the other.
    subject += mni or ""
    return ManifestRow(
        _relative(path, root),
        hash_scan(path),
        subject,
        session or "",
        "MR",
        contrast,
        split,
        BRAIN_LICENCE,
        slices,
    )


def ct_row(path: Path, root: Path, subject: str, session: str, slices: str = "") -> ManifestRow:
    """Describe one CT series or slice."""
    split = "train" if subject in TRAIN_CT else "devtest"
    licence = CT_LICENCE[subject[:4]]
    return ManifestRow(_relative(path, root), hash_scan(path), subject, session, "CT", "", split, licence, slices)


def _relative(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path.resolve(), root.resolve())).as_posix()


if __name__ == "__main__":
    main()
