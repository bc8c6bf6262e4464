"""SHA-256 of every image that a fixed set of commands makes: proof that moving code has changed no result.

Run it with the commit before and the commit after, on one machine (processors differ), and compare:

    python -m benchmarks hashes BEFORE/.venv/bin/medinr --out before --excerpts data_manifests/excerpts
    python -m benchmarks hashes .venv/bin/medinr --out after --excerpts data_manifests/excerpts --compare before

Default settings, fixed seeds, one thread. Hashes are written to ``OUT/hashes.json`` and never committed. Where options
were renamed between the two commits, ``--words FILE`` names a YAML file of ``{new: old}`` texts for the older one
(``benchmarks/words/``, by the day of the renaming). Of NIfTI images that differ the relative difference is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors.numpy import load_file

#: Name of each case and its command line; ``{brain}``, ``{chest}`` are the excerpts, ``{made}`` is of `make_inputs`.
CASES = {
    "demo": "demo",
    "denoise": "reconstruct-simulated {brain}/patient20_study2_T1W.nii.gz --task denoise --slices 1",
    "superres": "reconstruct-simulated {brain}/patient20_study2_T1W.nii.gz --task superres --slices 1",
    "kspace_coils": (
        "reconstruct-simulated {brain}/patient12_study1_FLAIR.nii.gz --task kspace --slices 1 --set simulation.coils=4"
    ),
    "ct": "reconstruct-simulated {chest}/LIDC-IDRI-0002 --task ct --slices 1 --set simulation.views=30",
    "phantom_kspace": "reconstruct-simulated {made}/phantom.nii.gz --task kspace --slices 2 --modality MR",
    "stack_own_lines": (
        "reconstruct-simulated {made}/phantom.nii.gz --task kspace --modality MR --set simulation.own_lines=true"
        " --set simulation.acceleration=6"
    ),
    "stack_denoise": "reconstruct-simulated {made}/phantom.nii.gz --task denoise --modality MR",
    "stack_coarse": (
        "reconstruct-simulated {made}/cube.nii.gz --task superres --modality MR --slices 8:13"
        " --set simulation.direction=through-plane"
    ),
    "joint_fit": (
        "reconstruct-simulated {made}/phantom.nii.gz --task kspace --modality MR --slices 1,3 --method inr"
        " --set network.image_domain.passes=2"
    ),
    "network": (
        "reconstruct-simulated {made}/phantom.nii.gz --task superres --modality MR --slices 2 --method inr"
        " --set network.image_domain.passes=2"
    ),
    "measurement_domain": (
        "reconstruct-simulated {made}/phantom.nii.gz --task kspace --modality MR --slices 2 --method inr"
        " --set network.image_domain.passes=0 --set network.steps=12 --set network.tv_weight=3"
    ),
    "published_recipe": (
        "reconstruct-simulated {made}/phantom.nii.gz --task kspace --modality MR --slices 2 --method strainer"
        " --set network.steps=10"
    ),
    "prior": (
        "reconstruct-simulated {brain}/patient01_study1_FLAIR.nii.gz --task kspace --slices 0"
        " --set simulation.acceleration=8 --prior {brain}/patient01_study1_T1W.nii.gz"
    ),
    "uncertainty": "reconstruct-simulated {made}/phantom.nii.gz --task kspace --modality MR --slices 2 --uncertainty",
    "uncertainty_superres": (
        "reconstruct-simulated {made}/phantom.nii.gz --task superres --modality MR --slices 2 --uncertainty"
    ),
    "raw_kspace": "reconstruct {made}/kspace.npy --task kspace",
    "raw_sinogram": "reconstruct {made}/sinogram.npy --task ct",
}

#: Ellipses of the phantom: height, half axes and centre along (y, x), of half the field of view.
ELLIPSES = (
    (0.6, 0.9, 0.75, 0.0, 0.0),
    (0.3, 0.5, 0.2, 0.1, -0.3),
    (-0.25, 0.3, 0.25, -0.2, 0.3),
    (0.4, 0.08, 0.1, 0.45, 0.2),
    (0.3, 0.04, 0.04, -0.5, -0.1),
)


def phantom_slice(shape: tuple[int, int], shrink: float) -> NDArray[np.float64]:
    """Ellipses with soft texture, shape (y, x), of brightness about 0 to 1."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    image = np.zeros(shape)
    for height, a, b, down, right in ELLIPSES:
        image += height * (((y - down) / (a * shrink)) ** 2 + ((x - right) / (b * shrink)) ** 2 < 1)
    return image * (1 + 0.05 * np.sin(9 * y + 4 * x) * np.cos(7 * x))


def make_inputs(folder: Path) -> None:
    """Write a phantom of cubic voxels (NIfTI), four-coil k-space and a sinogram of many views, all small."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    shrinks = np.linspace(1.0, 0.8, 6)
    volume = 500 * np.stack([phantom_slice((72, 64), s) for s in shrinks]) + 4 * rng.standard_normal((6, 72, 64))
    affine = np.diag([-2.0, -2.0, 2.0, 1.0])
    nib.Nifti1Image(np.clip(volume, 0, None).astype(np.int16).T, affine).to_filename(folder / "phantom.nii.gz")
    cube = np.stack([500 * phantom_slice((32, 28), s) for s in np.sqrt(1.01 - np.linspace(-0.8, 0.8, 24) ** 2)])
    nib.Nifti1Image(cube.astype(np.int16).T, affine).to_filename(folder / "cube.nii.gz")
    y, x = np.meshgrid(np.linspace(-1, 1, 64), np.linspace(-1, 1, 64), indexing="ij")
    centres = [(-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)]
    maps = np.stack([np.exp(-((y - b) ** 2 + (x - a) ** 2) / 2 + 1j * (a * x - b * y)) for a, b in centres])
    image = phantom_slice((64, 64), 1.0) * np.exp(1j * (0.5 * x + 0.3 * y**2))
    centred = np.fft.ifftshift(maps * image, axes=(-2, -1))
    kspace = np.fft.fftshift(np.fft.fft2(centred, norm="ortho"), axes=(-2, -1))
    kspace += 0.01 * (rng.standard_normal(kspace.shape) + 1j * rng.standard_normal(kspace.shape))
    lines = (np.arange(64) % 3 == 0) | (np.abs(np.arange(64) - 32) < 10)
    np.save(folder / "kspace.npy", (kspace * lines[:, None]).astype(np.complex64))
    (folder / "kspace.npy.yaml").write_text("kind: kspace\naxes: [coil, ky, kx]\nspacing_mm: [2.0, 2.0]\n")
    angles, offsets = np.arange(160) * np.pi / 160, np.linspace(-1.2, 1.2, 77)
    sinogram = np.sum([_line_integrals(ellipse, angles, offsets) for ellipse in ELLIPSES], axis=0)
    noisy = sinogram + 0.01 * rng.standard_normal(sinogram.shape)
    np.save(folder / "sinogram.npy", noisy.astype(np.float32))
    facts: dict[str, object] = {
        "kind": "sinogram",
        "axes": ["angle", "detector"],
        "geometry": "parallel",
        "angle_unit": "degrees",
        "angle_step": 180 / 160,
        "detector_spacing_mm": 2.0,
        "units": "line integrals",
    }
    (folder / "sinogram.npy.yaml").write_text(yaml.safe_dump(facts))


def _line_integrals(
    ellipse: tuple[float, ...], angles: NDArray[np.float64], offsets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Radon transform of one ellipse (Kak & Slaney 1988, equation 3.9), shape (angle, offset)."""
    height, a, b, down, right = ellipse
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    radius = (b * cosine) ** 2 + (a * sine) ** 2
    distance = offsets - right * cosine - down * sine
    return 2 * height * a * b * np.sqrt(np.clip(radius - distance**2, 0, None)) / radius


def hash_array(array: NDArray[np.generic]) -> str:
    """Hash of an array's kind, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def hash_folder(folder: Path) -> dict[str, str]:
    """Hash of every image in a result: NIfTI files with their affines, and what is kept of every slice."""
    found = {}
    for path in sorted(folder.glob("*.nii.gz")):
        image = nib.load(path)
        found[path.name] = hash_array(np.asarray(image.dataobj)) + " " + hash_array(image.affine)
    for path in sorted(folder.glob("work/slice_*.safetensors")):
        found |= {f"{path.stem}/{name}": hash_array(array) for name, array in sorted(load_file(path).items())}
    return found


def run_case(medinr: Path, line: str, out: Path) -> dict[str, str]:
    """Run one command and hash what it made."""
    shutil.rmtree(out, ignore_errors=True)
    command = [str(medinr), *shlex.split(line), "--out", str(out), "--threads", "1", "--overwrite"]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if done.returncode:
        return {"failed": f"{' '.join(command)}: {done.stderr.strip()[-400:]}"}
    return hash_folder(out)


def differences(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> list[str]:
    """Images of ``after`` that are not those of ``before``, by name."""
    return [
        f"{case}: {name}"
        for case in sorted(before.keys() | after.keys())
        for name in sorted(before.get(case, {}).keys() | after.get(case, {}).keys())
        if before.get(case, {}).get(name) != after.get(case, {}).get(name)
    ]


def relative_difference(before: Path, after: Path) -> str:
    """Norm of the difference of two NIfTI files over that of the first; empty where there are not two of one shape."""
    if not before.is_file() or not after.is_file():
        return ""
    one, other = (np.asarray(nib.load(path).dataobj, dtype=np.float64) for path in (before, after))
    if one.shape != other.shape:
        return ""
    return f" (relative difference {np.linalg.norm(other - one) / max(float(np.linalg.norm(one)), 1e-30):.1e})"


def main(arguments: Sequence[str] | None = None, program: str | None = None) -> int:
    """Run the cases, write ``hashes.json``, and compare where asked to.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.
    program : str, optional
        Name in the help text.

    Returns
    -------
    int
        Exit code: 1 when images differ.
    """
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("medinr", type=Path, help="the command of the commit that is tested")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--excerpts", type=Path, required=True, help="data_manifests/excerpts")
    parser.add_argument("--words", type=Path, help="YAML file {new text: old text} for a commit with other options")
    parser.add_argument("--compare", type=Path, help="folder of an earlier run")
    parser.add_argument("--cases", nargs="*", default=list(CASES), help="some of the cases only")
    options = parser.parse_args(arguments)
    words = yaml.safe_load(options.words.read_text()) if options.words else {}
    made = options.out / "inputs"
    make_inputs(made)
    places = {"brain": options.excerpts / "brain_mr", "chest": options.excerpts / "chest_ct", "made": made}
    kept = options.out / "hashes.json"
    hashes = json.loads(kept.read_text()) if kept.exists() else {}
    for case in options.cases:
        line = CASES[case].format(**places)
        for new, old in words.items():
            line = line.replace(new, old)
        started = time.perf_counter()
        hashes[case] = run_case(options.medinr.absolute(), line, options.out / case)
        print(f"{case}: {time.perf_counter() - started:.0f} s, {hashes[case].get('failed', 'done')}", flush=True)
        kept.write_text(json.dumps(hashes, indent=1))
    if options.compare is None:
        return 0
    found = differences(json.loads((options.compare / "hashes.json").read_text()), hashes)
    for name in found:
        place = Path(*name.split(": "))
        print(name + relative_difference(options.compare / place, options.out / place))
    if not found:
        print("every image is the same, bit by bit")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
