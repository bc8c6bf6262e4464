"""Description of a raw measurement: axes, sampling, geometry, noise, processing steps and cautions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import torch

from medinr.raw import RawMeasurement

#: A peak of k-space further than this share of the grid from its centre gives a caution.
_FAR_FROM_CENTRE = 0.05

#: Ratio of the standard deviations of two coils' noise, and of their signals, above which there is a caution.
_UNEQUAL_NOISE = 4.0
_WEAK_COIL = 400.0

#: A gap between views larger than this times the mean step gives a caution.
_WIDE_GAP = 1.5


def describe_raw(raw: RawMeasurement) -> str:
    """Describe k-space or a sinogram in lines of text, without anything that identifies the patient."""
    sizes = ", ".join(f"{axis} {size}" for axis, size in zip(raw.axes, raw.data.shape, strict=True))
    kind = "k-space" if raw.kind == "kspace" else "sinogram"
    lines = [f"raw         {kind}, from {raw.provenance.format}", f"axes        {sizes}"]
    lines.extend(_kspace(raw) if raw.kind == "kspace" else _sinogram(raw))
    if raw.provenance.sha256:
        lines.append(f"sha256      {raw.provenance.sha256}")
    lines.extend(f"step        {step}" for step in raw.steps)
    lines.extend(f"caution     {words}" for words in _cautions(raw))
    lines.extend(f"note        {note}" for note in raw.provenance.notes)
    return "\n".join(lines)


def _kspace(raw: RawMeasurement) -> Iterator[str]:
    facts = raw.facts
    y, x = facts["image_shape"]
    if raw.field_of_view is None:
        yield f"image       {x} x {y} pixels, pixel spacing not known"
    else:
        fy, fx = raw.field_of_view
        dy, dx = facts["spacing_mm"]
        yield f"image       {x} x {y} pixels, {dx:.3f} x {dy:.3f} mm, field of view {fx:.0f} x {fy:.0f} mm"
    if "slice_thickness_mm" in facts:
        yield f"slice       {facts['slice_thickness_mm']:.2f} mm thick"
    recon = facts.get("recon_shape", facts["image_shape"])
    if tuple(recon) != (y, x):
        yield f"oversampled {y / recon[0]:.2f} x {x / recon[1]:.2f} (y, x); {recon[1]} x {recon[0]} pixels without it"
    yield f"sampling    {_sampling(raw)}"
    yield f"noise       {_noise(raw)}"
    magnitude = raw.data.abs()
    yield f"signal      largest sample {float(magnitude.max()):.6g}, {_peak(raw)}"


def _sampling(raw: RawMeasurement) -> str:
    if not raw.is_cartesian:
        places = raw.arrays["trajectory"]
        readouts, samples, _ = places.shape
        reach = " x ".join(f"{float(places[..., i].abs().max()):.1f}" for i in (1, 0))
        return (
            f"{raw.sampling}, {readouts} readouts of {samples} samples, out to {reach} cycles per field of view (x, y)"
        )
    mask = raw.arrays.get("mask")
    if mask is None or raw.acceleration is None:
        return "full"
    centre = _full_centre(mask, raw.data.shape[-2:])
    percent = 100 / raw.acceleration
    return f"{raw.sampling}, {percent:.1f} % of samples, acceleration {raw.acceleration:.2f}; full centre {centre}"


def _full_centre(mask: torch.Tensor, shape: torch.Size) -> str:
    """Sizes (kx x ky) of the largest fully sampled rectangle grown evenly around the centre."""
    ny, nx = shape
    cy, cx = ny // 2, nx // 2
    integral = torch.zeros(ny + 1, nx + 1, dtype=torch.long)
    integral[1:, 1:] = mask.long().cumsum(0).cumsum(1)

    def full(half_y: int, half_x: int) -> bool:
        a, b = max(0, cy - half_y), min(ny, cy + half_y + 1)
        c, d = max(0, cx - half_x), min(nx, cx + half_x + 1)
        total = integral[b, d] - integral[a, d] - integral[b, c] + integral[a, c]
        return int(total) == (b - a) * (d - c)

    if not full(0, 0):
        return "none"
    half_y = half_x = 0
    growing = True
    while growing:
        growing = False
        if half_y <= ny // 2 and full(half_y + 1, half_x):
            half_y, growing = half_y + 1, half_y < ny // 2
        if half_x <= nx // 2 and full(half_y, half_x + 1):
            half_x, growing = half_x + 1, growing or half_x < nx // 2
    return f"{min(nx, 2 * half_x + 1)} x {min(ny, 2 * half_y + 1)}"


def _noise(raw: RawMeasurement) -> str:
    covariance = raw.arrays.get("noise_covariance")
    if covariance is None:
        sigma = raw.facts.get("noise_sigma")
        return "not recorded; it will be estimated" if sigma is None else f"standard deviation {sigma:.4g}"
    deviations = covariance.diagonal().real.clamp_min(0).sqrt()
    low, high = float(deviations.min()), float(deviations.max())
    apart = covariance / (deviations[:, None] * deviations[None, :]).clamp_min(1e-30)
    apart = apart - torch.diag(apart.diagonal())
    return (
        f"measured, standard deviation {low:.4g} to {high:.4g} from coil to coil, "
        f"correlation up to {float(apart.abs().max()):.2f}"
    )


def _peak_offset(raw: RawMeasurement) -> tuple[int, int]:
    energy = raw.data.abs().square().sum(dim=(0, 1))
    y, x = divmod(int(energy.argmax()), energy.shape[1])
    return y - energy.shape[0] // 2, x - energy.shape[1] // 2


def _peak(raw: RawMeasurement) -> str:
    if not raw.is_cartesian:
        return f"zero frequency within {float(raw.arrays['trajectory'].norm(dim=-1).min()):.2f} cycles of a sample"
    y, x = _peak_offset(raw)
    return "at the centre" if (y, x) == (0, 0) else f"{x:+d}, {y:+d} samples (kx, ky) from the centre"


def _sinogram(raw: RawMeasurement) -> Iterator[str]:
    facts = raw.facts
    degrees = [math.degrees(angle) for angle in facts["angles"]]
    count = len(degrees)
    step = f", {(max(degrees) - min(degrees)) / (count - 1):.3f} degrees apart" if count > 1 else ""
    yield f"views       {count} from {min(degrees):.1f} to {max(degrees):.1f} degrees{step}"
    spacing = facts.get("detector_spacing_mm")
    elements = raw.data.shape[-1]
    size = "spacing not known" if spacing is None else f"{spacing:.4g} mm apart, {elements * spacing:.1f} mm in all"
    yield f"detector    {elements} elements, {size}; the rotation axis is seen by element {raw.rotation_centre:.2f}"
    if facts["geometry"] == "fan":
        origin, detector = facts["source_origin_mm"], facts["source_detector_mm"]
        yield (
            f"geometry    fan beam, source to axis {origin:g} mm, source to detector {detector:g} mm, magnification "
            f"{detector / origin:.3f}"
        )
    else:
        yield "geometry    parallel beam"
    photons = f", about {facts['photons']:.3g} photons per element" if "photons" in facts else ""
    flat = f"flat field {facts['flat_counts']:.6g} counts" if "flat_counts" in facts else "flat field not recorded"
    yield f"noise       {flat}{photons}"
    yield f"integrals   {float(raw.data.min()):.4g} to {float(raw.data.max()):.4g}, mean {float(raw.data.mean()):.4g}"


def _cautions(raw: RawMeasurement) -> Iterator[str]:
    scale = "spacing_mm or fov_mm" if raw.kind == "kspace" else "detector_spacing_mm"
    if "spacing_mm" not in raw.facts and "detector_spacing_mm" not in raw.facts:
        yield f"no length is known, so the image will have no scale; add {scale} to a sidecar"
    yield from _kspace_cautions(raw) if raw.kind == "kspace" else _sinogram_cautions(raw)


def _kspace_cautions(raw: RawMeasurement) -> Iterator[str]:
    if raw.is_cartesian:
        y, x = _peak_offset(raw)
        ny, nx = raw.data.shape[-2:]
        if abs(y) > _FAR_FROM_CENTRE * ny or abs(x) > _FAR_FROM_CENTRE * nx:
            yield "the largest sample is far from the centre; is the zero frequency in the corner, is this an image?"
        mask = raw.arrays.get("mask")
        if mask is not None and not bool(mask[ny // 2, nx // 2]):
            yield "the zero frequency itself was not measured"
    signal = raw.data.abs().square().mean(dim=(0, 2, 3)).sqrt()
    if float(signal.max() / signal.min()) > _WEAK_COIL:
        yield f"coil {int(signal.argmin())} is {float(signal.max() / signal.min()):.0f} times weaker than another"
    covariance = raw.arrays.get("noise_covariance")
    if covariance is not None:
        deviation = covariance.diagonal().real.sqrt()
        if float(deviation.max() / deviation.min()) > _UNEQUAL_NOISE:
            yield f"coil {int(deviation.argmax())} is much noisier than others; prewhiten before anything else"


def _sinogram_cautions(raw: RawMeasurement) -> Iterator[str]:
    angles = sorted(raw.facts["angles"])
    span = angles[-1] - angles[0]
    full = math.pi if raw.facts["geometry"] == "parallel" else 2 * math.pi
    if len(angles) > 1:
        step = span / (len(angles) - 1)
        if span + step < 0.98 * full:
            covered = f"{math.degrees(span):.1f} of {math.degrees(full):.0f} degrees"
            yield f"views cover {covered}: edges along the missing rays are lost"
        if max(b - a for a, b in pairwise(angles)) > _WIDE_GAP * step:
            yield "the views are unevenly spaced"
    low = float((raw.data < -0.1).float().mean())
    if low > 0.01:
        yield f"{100 * low:.1f} % of line integrals are clearly negative; do the flats fit the scan?"
    if float(raw.data[..., [0, -1]].abs().mean()) > 0.25 * float(raw.data.abs().mean()):
        yield "rays at the detector's edge are attenuated: the object is wider than the field of view"
