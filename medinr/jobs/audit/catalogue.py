"""Every finding with its severity and what it means; `docs/inspect.md` lists the same codes."""

from __future__ import annotations

from medinr.jobs.audit.finding import Finding

#: Code -> usual severity, meaning.
CATALOGUE: dict[str, tuple[str, str]] = {
    # What keeps a series from being read
    "unreadable": ("unusable", "It cannot be read as it is"),
    "irregular": ("unusable", "No single grid of voxels describes it"),
    "lost-files": ("unusable", "Each may be one of its slices. Make them readable, or move them elsewhere"),
    "not-a-scan": ("unusable", "It shows a scan, but holds no intensities of one. Give the series itself"),
    "localiser": ("caution", "It was made to plan other scans, with few, thick or crossing slices"),
    "single-slice": ("note", "There are no neighbouring slices, and no planes across"),
    "tilted": ("caution", "It is read only when resampled to a straight grid (--straighten), which smooths it"),
    # Geometry
    "oblique": ("note", "Results keep this orientation. Planes across the slices are not those of the patient"),
    "sheared": ("caution", "A rotation and spacings cannot describe this grid. DICOM output is not possible from it"),
    "gaps": ("note", "Tissue between the slices was not measured. Planes across them are interpolated"),
    "overlap": (
        "note",
        "Noise of neighbouring slices is correlated, so averaging over slices gains less than expected",
    ),
    "thick-slices": ("note", "Planes across the slices are much coarser than the slices themselves"),
    # Acquisition and storage, by the header
    "zero-filled": (
        "caution",
        "Noise is correlated, the image is smoother than its pixels suggest, and simulated undersampling gives better "
        "results than a scanner would",
    ),
    "magnitude-only": (
        "note",
        "The phase is lost. Simulated k-space has an artificial smooth phase, and noise in air is not Gaussian",
    ),
    "phase": ("caution", "Phase is an angle, not an intensity: it is of use together with its magnitude"),
    "signed": ("caution", "These may be phase or real parts, which are not intensities"),
    "lossy": ("caution", "Fine detail and noise were altered. The scan cannot serve as a reference image"),
    "block-artefacts": (
        "caution",
        "The scan has been stored with lossy JPEG at some time. Fine detail and noise were altered",
    ),
    "inverted": ("note", "Values are kept as stored. Viewers show low values bright"),
    "derived": ("note", "It was computed from other images, so its noise and resolution are not those of a scanner"),
    # Grid and filters, by the values
    "resampled": (
        "caution",
        "Interpolation has smoothed it and correlated its noise. It overestimates every method that is compared on it",
    ),
    "smooth": ("note", "Resolution is coarser than the pixels, and noise is correlated between neighbours"),
    "sharpened": ("note", "High frequencies and their noise are amplified. Noise is not white"),
    "negative-values": (
        "note",
        "Magnitudes have none: an interpolation or sharpening filter left them. MR magnitudes are taken as absolute "
        "values",
    ),
    # Background
    "background-zero": (
        "note",
        "Noise in air was removed, so it cannot be measured there. Simulated measurements look cleaner than real ones",
    ),
    "skull-stripped": (
        "caution",
        "The sharp edge to zero is no anatomy, and models trained on whole heads do not fit. Simulated measurements "
        "are easier than real ones",
    ),
    "defaced": ("caution", "The face was removed. The cut is no anatomy, and errors near it mean nothing"),
    "masked": ("caution", "The sharp edge to zero is no anatomy, and errors near it mean nothing"),
    "padding": ("note", "Pixels outside the field of view were not measured"),
    # Grey levels
    "clipped": ("caution", "Values beyond the limit are lost, and errors there are not those of the scan"),
    "windowed": ("caution", "The values are those of a display window, not the measured ones. Export the scan itself"),
    "eight-bits": ("caution", "Rounding and a display window may have removed fine detail. Export the scan itself"),
    "few-grey-levels": (
        "caution",
        "Rounding is as large as the noise, so small differences and noise levels are wrong",
    ),
    # Slices
    "non-finite": ("caution", "Slices with NaN or infinity cannot be fitted. Choose others with --slices"),
    "empty-slices": ("note", "Slices with a single value hold nothing to fit. Choose others with --slices"),
    "duplicate-slices": (
        "caution",
        "A slice was copied, or a series interpolated to a finer grid. Slices are not independent",
    ),
}


def found(code: str, words: str, severity: str | None = None) -> Finding:
    """Return a finding of the catalogue; `severity` replaces the usual one."""
    usual, meaning = CATALOGUE[code]
    return Finding(code, words, meaning, usual if severity is None else severity)
