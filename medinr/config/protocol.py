"""The evaluation's tasks by name: a task configuration, what is changed in it, and its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medinr.acquisition.ways import acquisition_class
from medinr.config.schema import ReconstructConfig
from medinr.config.task import load_task_config
from medinr.errors import ConfigError


@dataclass(frozen=True)
class ProtocolTask:
    """A base configuration, ``KEY=VALUE`` settings that win over it, and the rest as in `NamedTask`."""

    base: str
    changes: tuple[str, ...]
    words: str
    auxiliary: str = ""
    neighbours: int = 0
    lesions: bool = False


@dataclass(frozen=True)
class NamedTask:
    """A task of an evaluation, ready to run.

    Attributes
    ----------
    name, words : str
    config : ReconstructConfig
    auxiliary : {"", "session", "contrast", "stranger"}
        Which auxiliary scans the measurement may be reconstructed with (`medinr.jobs.evaluate.auxiliary_rows`).
    neighbours : int
        How many slices on either side of the judged one are measured too, as far as there are some.
    lesions : bool
        Whether small lesions are inserted into the judged slice before it is measured.
    """

    name: str
    words: str
    config: ReconstructConfig
    auxiliary: str = ""
    neighbours: int = 0
    lesions: bool = False

    @property
    def kind(self) -> str:
        """denoise, superres, kspace, ct, acquired, acquired_ct, acquired_repeats or acquired_thick."""
        return self.config.task

    @property
    def real(self) -> bool:
        """Whether it leaves out some of a scanner's own raw data, instead of simulating a scanner."""
        return self.config.raw.acceleration > 1 or self.config.raw.every > 1


def _simulation(base: str, words: str, auxiliary: str = "", **settings: object) -> ProtocolTask:
    return ProtocolTask(base, tuple(f"simulation.{key}={value}" for key, value in settings.items()), words, auxiliary)


def _eightfold(auxiliary: str, words: str) -> ProtocolTask:
    words = f"8x undersampled k-space, 1 coil, 40 dB, beside {words}"
    return _simulation("kspace", words, auxiliary, acceleration=8.0, centre_fraction=0.04)


#: Slices on either side of a judged one in the joint multi-slice tasks.
NEIGHBOURS = 8

#: As many as any scan has.
WHOLE_SCAN = 100_000


def _with_neighbours(task: ProtocolTask) -> ProtocolTask:
    """The same task with a slice's neighbours, in k-space along lines of their own."""
    own = task.base == "kspace"
    words = f"{task.words}, every slice with lines of its own" if own else task.words
    return replace(
        task,
        changes=(*task.changes, "simulation.own_lines=true") if own else task.changes,
        words=f"{words}; {2 * NEIGHBOURS + 1} neighbouring slices measured, the middle one judged",
        neighbours=NEIGHBOURS,
    )


#: What `medinr evaluate --tasks` knows by name.
PROTOCOL: dict[str, ProtocolTask] = {
    "denoise_mr_5": _simulation("denoise", "denoising, Rician noise of 5 %", noise_level=0.05),
    "denoise_mr_10": _simulation("denoise", "denoising, Rician noise of 10 %", noise_level=0.1),
    "superres_mr_2x": _simulation("superres", "in-plane super-resolution x2", factor=2),
    "superres_mr_4x": _simulation("superres", "in-plane super-resolution x4", factor=4),
    "superres_mr_through_4x": _simulation(
        "superres",
        "through-plane super-resolution, slices 4 times as thick (scans of cubic voxels)",
        factor=4,
        direction="through-plane",
    ),
    "kspace_mr_single_4x": _simulation(
        "kspace", "4x undersampled k-space, 1 coil, 40 dB", acceleration=4.0, centre_fraction=0.08
    ),
    "kspace_mr_single_8x": _simulation(
        "kspace", "8x undersampled k-space, 1 coil, 40 dB", acceleration=8.0, centre_fraction=0.04
    ),
    "kspace_mr_multi_4x": _simulation(
        "kspace", "4x undersampled k-space, 8 coils, 40 dB", acceleration=4.0, centre_fraction=0.08, coils=8
    ),
    "kspace_mr_multi_8x": _simulation(
        "kspace", "8x undersampled k-space, 8 coils, 40 dB", acceleration=8.0, centre_fraction=0.04, coils=8
    ),
    "kspace_mr_multi_4x_equispaced": _simulation(
        "kspace", "every 4th line of k-space, 8 coils, 40 dB", acceleration=4.0, mask="equispaced", coils=8
    ),
    "prior_exam_8x": _eightfold("session", "all contrasts of the person's earlier session"),
    "prior_contrast_8x": _eightfold("contrast", "another contrast of the same session"),
    "prior_stranger_8x": _eightfold("stranger", "somebody else's scan, which should be left out"),
    "ct_sparse_60": _simulation("ct", "sparse-view CT, 60 parallel views, 1e5 photons", views=60, photons=1e5),
    "ct_sparse_30": _simulation("ct", "sparse-view CT, 30 parallel views, 1e5 photons", views=30, photons=1e5),
    "ct_sparse_60_fan": _simulation(
        "ct", "sparse-view CT, 60 fan views, 1e5 photons", views=60, photons=1e5, geometry="fan"
    ),
    "ct_sparse_30_fan": _simulation(
        "ct", "sparse-view CT, 30 fan views, 1e5 photons", views=30, photons=1e5, geometry="fan"
    ),
    "kspace_real_4x": ProtocolTask(
        "kspace",
        ("raw.acceleration=4", "simulation.centre_fraction=0.08"),
        "a quarter of a scanner's own k-space lines, its own noise; against the image of all lines",
    ),
    "ct_real_4": ProtocolTask(
        "ct",
        ("raw.every=4", "raw.size=320"),
        "every 4th view of a scanner's own sinogram, its own noise; against the filtered backprojection of all views",
    ),
    "ct_lowdose": _simulation("ct", "low-dose CT, 360 parallel views, 1e4 photons", views=360, photons=1e4),
}

# Other strengths of noise than those above.
PROTOCOL |= {
    f"kspace_mr_single_4x_{snr}db": _simulation(
        "kspace",
        f"4x undersampled k-space, 1 coil, {snr} dB",
        acceleration=4.0,
        centre_fraction=0.08,
        snr_db=float(snr),
    )
    for snr in (10, 20, 30, 50)
}
PROTOCOL |= {
    f"ct_sparse_60_{photons}": _simulation(
        "ct", f"sparse-view CT, 60 parallel views, {photons} photons", views=60, photons=float(photons)
    )
    for photons in ("1e4", "1e6")
}

PROTOCOL |= {
    name: _with_neighbours(PROTOCOL[single])
    for name, single in {
        "denoise_mr_slices_5": "denoise_mr_5",
        "denoise_mr_slices_10": "denoise_mr_10",
        "superres_mr_through_slices_4x": "superres_mr_through_4x",
        "kspace_mr_slices_4x": "kspace_mr_single_4x",
        "kspace_mr_slices_8x": "kspace_mr_single_8x",
        "kspace_mr_multi_slices_8x": "kspace_mr_multi_8x",
    }.items()
}


PROTOCOL |= {
    f"lesions_{single}": replace(
        PROTOCOL[single], words=f"{PROTOCOL[single].words}, of slices with small lesions inserted", lesions=True
    )
    for single in ("denoise_mr_5", "superres_mr_2x", "kspace_mr_single_4x", "ct_sparse_60")
}


def _acquired(words: str, base: str = "acquired", **settings: object) -> ProtocolTask:
    """A task in which only the spoiled image file is given."""
    words = f"denoising, {words}; only the image file of {2 * NEIGHBOURS + 1} slices is given, the middle one judged"
    return replace(_simulation(base, words, "", **settings), neighbours=NEIGHBOURS)


PROTOCOL |= {
    "acquired_rician_5": _acquired("Rician noise of 5 %", noise_level=0.05),
    "acquired_rician_10": _acquired("Rician noise of 10 %", noise_level=0.1),
    "acquired_chi": _acquired("8 coils with noise of 5 %, root of the sum of squares", way="chi"),
    "acquired_doubling": _acquired("Rician noise of 5 % that doubles across the image", way="doubling"),
    "acquired_zero_filled": _acquired("Rician noise of 5 %, k-space zero-filled x1.5", way="zero-filled"),
    "acquired_ct_40": _acquired("40 HU of noise as filtered backprojection leaves it", "acquired_ct", sigma=40.0),
    "acquired_repeats": _simulation(
        "acquired_repeats",
        "denoising of one of several real repeats; only the image file of all its slices is given, one is judged "
        "against the mean of the other repeats",
    ),
}


def _thick(thickness: float, gap: float = 1.0) -> ProtocolTask:
    """A task in which only the image file of a scan of thick slices is given."""
    words = (
        f"super-resolution of slices of {thickness:g} mm with gaps of {gap:g} mm; only the image file of the whole "
        "thick scan is given, a plane across its slices is judged"
    )
    return _simulation("acquired_thick", words, thickness=thickness, gap=gap)


PROTOCOL |= {"acquired_thick_4": _thick(4.0), "acquired_thick_6": _thick(6.0)}


def load_task(name: str, near: Path | None = None, overrides: Sequence[str] = ()) -> NamedTask:
    """Find a task by its name in `PROTOCOL`, or a task configuration by file or shipped name.

    Parameters
    ----------
    name : str
    near : Path, optional
        Folder that a relative path starts from first.
    overrides : sequence of str
        ``KEY=VALUE`` settings that win over everything.

    Raises
    ------
    ConfigError
        When there is none of that name, or its name cannot be part of a file name.
    """
    known = PROTOCOL.get(name)
    if known is not None:
        config = load_task_config(known.base, [*known.changes, *overrides])
        beside = _measured_beside(config, known.neighbours)
        return NamedTask(name, known.words, config, known.auxiliary, beside, known.lesions)
    try:
        config = load_task_config(name, overrides, near=near)
    except ConfigError as error:
        if not str(error).startswith("No configuration"):
            raise
        raise ConfigError(
            f"There is no task {name!r}. Known: {', '.join(PROTOCOL)}; or give a task configuration."
        ) from None
    short = Path(name).stem
    if "__" in short or not short.replace("_", "").replace("-", "").replace(".", "").isalnum():
        raise ConfigError(f"A task's name is part of file names: letters, digits, single _, - and .; got {short!r}.")
    words = f"{config.task}, as in {Path(name).name}"
    return NamedTask(short, words, config, neighbours=_measured_beside(config))


def _measured_beside(config: ReconstructConfig, neighbours: int = 0) -> int:
    return WHOLE_SCAN if acquisition_class(config.task).whole_scan else neighbours
