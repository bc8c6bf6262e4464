"""How far a scan and its noise can be trusted: how much effect is applied, and what a reader should know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medinr.io.provenance import notes_without_names
from medinr.jobs.audit.finding import Finding
from medinr.jobs.scan.effect import Blend, choose_blend
from medinr.jobs.scan.likeness import unlike_training
from medinr.models.model import Model
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Volume


@dataclass(frozen=True)
class Judgement:
    """What follows from a scan, its noise and a model.

    Attributes
    ----------
    blend : Blend
    notes, warnings : tuple of str
        For the user; none names a file.
    """

    blend: Blend
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def judge(
    scan: Volume,
    noise: ScanNoise,
    model: Model,
    told_blend: float | None,
    findings: Sequence[Finding],
    forced: tuple[str, ...],
    notes: tuple[str, ...] = (),
) -> Judgement:
    """Judge a scan.

    Parameters
    ----------
    scan : Volume
    noise : ScanNoise
    model : Model
    told_blend : float or None
    findings : sequence of Finding
        Of the scan's audit.
    forced : tuple of str
        Warnings about what is treated only because it was forced.
    notes : tuple of str
        Beside those of the scan.
    """
    unlike = unlike_training(scan, noise, model)
    blend = choose_blend(told_blend, scan, noise, findings)
    # What makes an estimate unreliable is a warning; the rest is good to know.
    remarks, warned = (noise.remarks, ()) if noise.reliable else ((), noise.remarks)
    warned += (unlike,) if unlike else ()
    files = scan.provenance.files
    others = tuple(note for note in scan.provenance.notes if note not in warned)
    return Judgement(
        blend,
        notes_without_names((*others, *notes, *remarks), files),
        notes_without_names((*forced, *warned, *blend.warnings), files),
    )
