"""A second scan beside the one that is measured: the person's earlier one, another contrast, or a stranger's."""

from __future__ import annotations

from medinr.io.manifest import Manifest, ManifestRow


def scan_beside(manifest: Manifest, row: ManifestRow, which: str) -> ManifestRow | None:
    """Choose it among the rows of a manifest.

    Parameters
    ----------
    manifest : Manifest
    row : ManifestRow
        The scan that is measured.
    which : {"earlier", "contrast", "stranger"}
        The same contrast in the last session before (sessions in the order of their names); the first other contrast
        of the same session; the first scan of the same contrast of another person of the same split.

    Returns
    -------
    ManifestRow or None
        None where there is no such scan.
    """
    others = [other for other in manifest if other.modality == row.modality and other.path != row.path]
    own = [other for other in others if other.subject == row.subject]
    if which == "earlier":
        before = [other for other in own if other.contrast == row.contrast and other.session < row.session]
        return max(before, key=lambda other: other.session, default=None)
    if which == "contrast":
        found = [other for other in own if other.session == row.session and other.contrast != row.contrast]
    else:
        found = [
            other
            for other in others
            if other.subject != row.subject and other.split == row.split and other.contrast == row.contrast
        ]
    return next(iter(found), None)
