"""Auxiliary scans of a measured one: an earlier session, another contrast, or a scan of another person."""

from __future__ import annotations

from medinr.io.manifest import Manifest, ManifestRow


def auxiliary_rows(manifest: Manifest, row: ManifestRow, which: str) -> tuple[ManifestRow, ...]:
    """Choose auxiliary scans among the rows of a manifest.

    Parameters
    ----------
    manifest : Manifest
    row : ManifestRow
        The scan that is measured.
    which : {"session", "contrast", "stranger"}
        ``session``: all contrasts of the person's last earlier session, the same contrast first. Sessions are in the
        order of their names; those that have the same contrast are preferred. ``contrast``: the first other contrast of
        the same session. ``stranger``: the first scan of the same contrast of another person of the same split.

    Returns
    -------
    tuple of ManifestRow
        Empty where there is no such scan.
    """
    others = [other for other in manifest if other.modality == row.modality and other != row]
    own = [other for other in others if other.subject == row.subject]
    if which == "session":
        before = [other for other in own if other.session < row.session]
        alike = [other for other in before if other.contrast == row.contrast]
        last = max((other.session for other in alike or before), default=None)
        session = [other for other in before if other.session == last]
        return tuple(sorted(session, key=lambda other: other.contrast != row.contrast))
    if which == "contrast":
        found = [other for other in own if other.session == row.session and other.contrast != row.contrast]
    else:
        found = [
            other
            for other in others
            if other.subject != row.subject and other.split == row.split and other.contrast == row.contrast
        ]
    return tuple(found[:1])
