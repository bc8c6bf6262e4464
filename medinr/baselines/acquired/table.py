"""Every baseline by name, with the settings that were best on training scans."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from medinr.baselines.acquired import ants_filter, block_matching_scans, dipy_filters, skimage_filters
from medinr.baselines.acquired.baseline import Baseline, Setting


def _strengths(*values: float) -> tuple[Setting, ...]:
    return tuple({"strength": value} for value in values)


def _grid(**choices: Sequence[object]) -> tuple[Setting, ...]:
    return tuple(dict(zip(choices, values, strict=True)) for values in product(*choices.values()))


#: Names as in tables.
BASELINES: dict[str, Baseline] = {
    "BM4D": Baseline(
        "block matching with cubes of voxels (the authors' package, non-commercial)",
        block_matching_scans.bm4d_volume,
        _strengths(0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0),
        {"strength": 1.0},
        library="bm4d",
    ),
    "BM3D": Baseline(
        "block matching slice by slice (the authors' package, non-commercial)",
        block_matching_scans.bm3d_slices,
        _strengths(0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0),
        {"strength": 1.0},
        library="bm3d",
    ),
    "BM3D-coloured": Baseline(
        "the same, told how the noise of neighbouring pixels correlates",
        block_matching_scans.bm3d_coloured,
        _strengths(0.7, 0.85, 1.0, 1.2),
        {"strength": 1.0},
        coloured=True,
        library="bm3d",
    ),
    "NLM-DIPY": Baseline(
        "non-local means of volumes (DIPY)",
        dipy_filters.nonlocal_means,
        _grid(strength=(0.35, 0.5, 0.7, 1.0, 1.4), method=("classic", "blockwise")),
        # Its own estimate of sigma is about twice the reference on slices of 3 mm and more.
        {"strength": 0.5, "method": "classic"},
        estimate=dipy_filters.estimate_sigma,
        unbiased=True,
        library="dipy",
    ),
    "ANTs": Baseline(
        "DenoiseImage, adaptive non-local means (ANTs)",
        ants_filter.denoise_image,
        _grid(patch=(1, 2), search=(1, 2, 3)),
        {"patch": 1, "search": 2},
        unbiased=True,
        library="ants",
    ),
    "NLM": Baseline(
        "non-local means slice by slice (scikit-image)",
        skimage_filters.nonlocal_means,
        _strengths(0.3, 0.45, 0.6, 0.8, 1.1, 1.5),
        {"strength": 0.6},
        estimate=skimage_filters.estimate_sigma,
    ),
    "TV": Baseline(
        "total variation slice by slice (scikit-image)",
        skimage_filters.total_variation,
        _strengths(0.15, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0),
        {"strength": 0.7},
        estimate=skimage_filters.estimate_sigma,
    ),
    "wavelet": Baseline(
        "Daubechies-4 wavelets, BayesShrink, slice by slice (scikit-image)",
        skimage_filters.wavelet,
        _strengths(0.5, 0.75, 1.0, 1.4, 2.0),
        {"strength": 1.0},
        estimate=skimage_filters.estimate_sigma,
    ),
    "local-PCA": Baseline(
        "local principal components of a series (DIPY)",
        dipy_filters.local_pca,
        _grid(patch_radius=((0, 2, 2), (1, 1, 1), (1, 2, 2), (0, 3, 3)), tau_factor=(1.5, 2.3, 3.0)),
        {"patch_radius": (0, 2, 2), "tau_factor": 2.3},
        series=True,
        library="dipy",
    ),
    "MP-PCA": Baseline(
        "principal components above the Marchenko-Pastur threshold (DIPY)",
        dipy_filters.mp_pca,
        _grid(patch_radius=((0, 2, 2), (1, 1, 1), (1, 2, 2), (0, 3, 3))),
        {"patch_radius": (0, 2, 2)},
        series=True,
        library="dipy",
    ),
    "Patch2Self": Baseline(
        "each volume of a series from the others (DIPY)",
        dipy_filters.patch2self,
        _grid(model=("ols", "ridge")),
        {"model": "ols"},
        series=True,
        library="dipy",
    ),
}
