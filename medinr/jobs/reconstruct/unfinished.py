"""What a killed reconstruction goes on from: slices between two iterations, and images that a network is to learn."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from medinr.solve.multi_slice import MultiSliceState
from medinr.solve.solution import Step
from medinr.tensors import own_tensors, write_tensors

if TYPE_CHECKING:
    from medinr.network.joint_fit import Target


def save_target(path: Path, target: Target, fingerprint: str) -> None:
    """Write a target atomically; it is half the time of a joint fit, and a killed run need not make it again."""
    facts = {"fingerprint": fingerprint, "seconds": repr(target.seconds), "residual": repr(target.residual)}
    write_tensors(path, {"image": target.image}, facts)


def load_target(path: Path, fingerprint: str) -> Target | None:
    """Read a target back; None when there is none, or it belongs to other settings or data."""
    from medinr.network.joint_fit import Target

    found = own_tensors(path, fingerprint)
    if found is None:
        return None
    tensors, facts = found
    return Target(tensors["image"], float(facts["seconds"]), float(facts["residual"]))


def save_state(path: Path, state: MultiSliceState, fingerprint: str) -> None:
    """Write slices after one of their iterations atomically."""
    facts = {
        "fingerprint": fingerprint,
        "iteration": str(state.iteration),
        "seconds": repr(state.seconds),
        "rows": json.dumps([[asdict(step) for step in steps] for steps in state.rows]),
    }
    previous = {} if state.previous is None else {"previous": state.previous}
    write_tensors(path, {"images": state.images} | previous, facts)


def load_state(path: Path, fingerprint: str) -> MultiSliceState | None:
    """Read it back; None when there is none, or it belongs to other settings or data."""
    found = own_tensors(path, fingerprint)
    if found is None:
        return None
    tensors, facts = found
    rows = tuple(tuple(Step(**step) for step in steps) for steps in json.loads(facts["rows"]))
    iteration, seconds = int(facts["iteration"]), float(facts["seconds"])
    return MultiSliceState(iteration, tensors["images"], seconds, rows, tensors.get("previous"))


def remove_unfinished(folder: Path) -> None:
    """Remove such files, also those of other settings, or of slices whose last record was written before a kill."""
    for file in folder.glob("unfinished_*.safetensors"):
        file.unlink()
