"""Options and help texts of the commands on manifests."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def add_manifest_commands(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Add `manifest` and the commands whose names begin with it.

    Parameters
    ----------
    add : callable
        Makes the parser of a command from its name and description.
    """
    manifest = add("manifest", "Describe a manifest: scans, persons and licences of every split.")
    manifest.add_argument("manifest", help="CSV file, or name of a shipped one; or build, verify or split")

    build = add(
        "manifest build",
        "Write a manifest of the scans below a folder (DICOM, BIDS): persons as pseudonyms, split by person.",
    )
    build.add_argument("folder", type=Path, help="folder that is searched, with its subfolders")
    _out(build)
    build.add_argument(
        "--licence", default="not stated", help="under which the scans may be used (default: %(default)s)"
    )
    build.add_argument(
        "--split",
        default="70,15,15",
        metavar="FRACTIONS",
        help="train,validation,test; or as train=0.7,devtest=0.3 (default: %(default)s)",
    )
    build.add_argument("--seed", type=int, default=0, help="of the split (default: %(default)s)")
    build.add_argument(
        "--salt",
        metavar="FILE|TEXT",
        help="of the pseudonyms; a file, as others can read a text in the list of processes "
        "(default: the file .salt beside the manifest, made at random where it is missing)",
    )
    build.add_argument(
        "--subject-from",
        metavar="RULE",
        help="who a scan is of: dicom (PatientID), bids (sub-...), folder (the uppermost one), or a regular expression "
        "for the path, such as 'patient[0-9]+'; default: the first of dicom, bids, folder that applies",
    )
    build.add_argument(
        "--overwrite", action="store_true", help="replace a manifest; persons who are in it keep their split"
    )

    verify = add(
        "manifest verify",
        "Check a manifest: scans and hashes, one split per person, no picture in two splits (exit code 2 if not).",
    )
    verify.add_argument("manifest", help="CSV file, or name of a shipped one")
    verify.add_argument("--hashes-only", action="store_true", help="do not compare pictures, which takes longest")

    split = add("manifest split", "Draw new splits by person for a manifest; all else stays.")
    split.add_argument("manifest", help="CSV file, or name of a shipped one")
    split.add_argument(
        "--fractions",
        default="70,15,15",
        help="train,validation,test; or as train=0.7,devtest=0.3 (default: %(default)s)",
    )
    split.add_argument("--seed", type=int, default=0, help="of the draw (default: %(default)s)")
    _out(split)
    split.add_argument("--overwrite", action="store_true", help="replace an existing file")


def _out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("manifest.csv"), metavar="FILE", help="CSV file (default: %(default)s)"
    )
