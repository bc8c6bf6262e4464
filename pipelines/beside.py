"""Other scans beside the one that is measured: the person's earlier exam, another contrast, or a stranger's."""

from __future__ import annotations

from medinr.io.manifest import Manifest, ManifestRow


def scans_beside(manifest: Manifest, row: ManifestRow, which: str) -> tuple[ManifestRow, ...]:
    """Choose them among the rows of a manifest.

    Parameters
    ----------
    manifest : Manifest
    row : ManifestRow
        The scan that is measured.
    which : {"earlier", "contrast", "stranger"}
        All contrasts of the person's last session before, the same one first (sessions in the order of their names; of
        those that have the same contrast if any has); the first other contrast of the same session; the first scan of
        the same contrast of another person of the same split.

    Returns
    -------
    tuple of ManifestRow
        Empty where there is no such scan.
    """
    others = [other for other in manifest if other.modality == row.modality and other.path != row.path]
    own = [other for other in others if other.subject == row.subject]
    if which == "earlier":
        before = [other for other in own if other.session < row.session]
        alike = [other for other in before if other.contrast == row.contrast]
        last = max((other.session for other in alike or before), default=None)
        exam = [other for other in before if other.session == last]
        return tuple(sorted(exam, key=lambda other: other.contrast != row.contrast))
    if which == "contrast":
        found = [other for other in own if other.session == row.session and other.contrast != row.contrast]
    else:
        found = [
            other
            for other in others
            if other.subject != row.subject and other.split == row.split and other.contrast == row.contrast
        ]
    return tuple(found[:1])
