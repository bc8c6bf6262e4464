"""Measurements on disk: arrays and facts in one safetensors file, without code."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from medinr.errors import FileError
from medinr.io.atomic import atomic_path
from medinr.io.provenance import without_names
from medinr.measurement import Measurement
from medinr.volume import Provenance, ScanFacts

FORMAT = "medinr-measurement-1"


def _to_real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor.resolve_conj()).contiguous() if tensor.is_complex() else tensor.contiguous()


def write_measurement(measurement: Measurement, path: Path, *, overwrite: bool = False) -> None:
    """Write a measurement (.safetensors): complex arrays as pairs, facts as JSON in the file's header.

    The provenance is that of `medinr.io.provenance.without_names`. Files of earlier versions, which kept names, can
    still be read.
    """
    tensors = {"data": measurement.data} | {f"array.{k}": v for k, v in measurement.arrays.items()}
    facts = {
        "format": FORMAT,
        "task": measurement.task,
        "parameters": dict(measurement.parameters),
        "affine": measurement.affine.tolist(),
        "image_shape": list(measurement.image_shape),
        "modality": measurement.modality,
        "unit": measurement.unit,
        "complex": [name for name, value in tensors.items() if value.is_complex()],
        # Reduced, as files and folders may be called after a patient.
        "provenance": asdict(without_names(measurement.provenance)),
    }
    with atomic_path(path, overwrite=overwrite) as partial:
        save_file({k: _to_real(v) for k, v in tensors.items()}, partial, metadata={"medinr": json.dumps(facts)})


def read_facts(path: Path) -> dict[str, Any]:
    """Read the facts in the header of a measurement file without loading its arrays.

    Raises
    ------
    FileError
        When the file is missing, truncated or not a measurement.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        facts: Any = json.loads(metadata["medinr"])
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise FileError(
            f"{path} is not a readable medinr measurement ({type(error).__name__}). Make one with: medinr simulate SCAN"
        ) from error
    found = facts.get("format") if isinstance(facts, dict) else None
    if not isinstance(facts, dict) or found != FORMAT:
        raise FileError(f"{path} has format {found!r}; this version reads {FORMAT}.")
    return facts


def read_measurement(path: Path) -> Measurement:
    """Read a measurement written by `write_measurement`.

    Raises
    ------
    FileError
        As `read_facts`, and when a fact or an array is missing.
    """
    facts = read_facts(path)
    try:
        return _assemble(path, facts)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise FileError(f"{path} lacks a part of a medinr measurement ({error}). Make it again.") from error


def _assemble(path: Path, facts: dict[str, Any]) -> Measurement:
    with safetensors.safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
    for name in facts["complex"]:
        tensors[name] = torch.view_as_complex(tensors[name])
    provenance = dict(facts["provenance"])
    provenance["files"] = tuple(Path(file) for file in provenance["files"])
    provenance["notes"] = tuple(provenance["notes"])
    provenance["frames"] = tuple(provenance.get("frames", ()))
    # Absent from files written before there were facts.
    known: dict[str, Any] = dict(provenance.get("facts", {}))
    known |= {key: tuple(value) for key, value in known.items() if isinstance(value, list)}
    provenance["facts"] = ScanFacts(**known)
    return Measurement(
        task=facts["task"],
        data=tensors.pop("data"),
        parameters=facts["parameters"],
        affine=np.asarray(facts["affine"], dtype=np.float64),
        image_shape=(int(facts["image_shape"][0]), int(facts["image_shape"][1])),
        modality=facts["modality"],
        unit=facts["unit"],
        arrays={name.removeprefix("array."): value for name, value in tensors.items()},
        provenance=Provenance(**provenance),
    )
