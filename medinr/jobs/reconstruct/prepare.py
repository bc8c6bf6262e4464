"""From a measurement to the job of reconstructing it: model, problems, auxiliary scans, and all refusals."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medinr.acquisition.ways import acquisition_of
from medinr.config import ReconstructConfig
from medinr.config.schema import DEFAULT_METHOD
from medinr.errors import ConfigError
from medinr.io.hashes import hash_file
from medinr.jobs.reconstruct.context import ReconstructionJob, require_denoiser
from medinr.jobs.reconstruct.solve import NETWORK_METHOD
from medinr.jobs.reconstruct.suited_model import SuitedModel, suited_model
from medinr.jobs.reconstruct.uncertainty_maps import require_uncertainty
from medinr.measurement import Measurement
from medinr.models.checkpoint import find_model
from medinr.models.model import Model
from medinr.volume import Volume

if TYPE_CHECKING:
    from medinr.jobs.reconstruct.auxiliary import AuxiliaryScans


def prepare_job(
    measurement: Measurement,
    config: ReconstructConfig,
    *,
    auxiliary: Sequence[Volume] = (),
    folder: Path | None = None,
    model: Model | None = None,
) -> ReconstructionJob:
    """Pose the problems of a measurement and open what they are solved with.

    Parameters
    ----------
    measurement : Measurement
    config : ReconstructConfig
    auxiliary : sequence of Volume
        Auxiliary scans of the patient (`medinr.jobs.reconstruct.auxiliary`).
    folder : Path, optional
        Keeps what an unfinished run goes on from.
    model : Model, optional
        In place of the configuration's.

    Returns
    -------
    ReconstructionJob

    Raises
    ------
    ConfigError, CheckpointError
        When model, method and settings do not go together.
    """
    acquisition = acquisition_of(measurement)
    suited = suited_model(acquisition, config) if model is None else SuitedModel(config.model, model)
    model, config = suited.model, replace(config, model=suited.name)
    require_uncertainty(model, config)
    if config.multi_slice == "always" and config.method.lower() != DEFAULT_METHOD:
        raise ConfigError(
            f"multi_slice: always, but method {config.method} reconstructs slice by slice. Choose --method "
            f"{DEFAULT_METHOD}, or leave it out (multi_slice: auto)."
        )
    problems = acquisition.problems()
    of = "" if folder is None else fingerprint(config, measurement, model, auxiliary)
    job = ReconstructionJob(acquisition, problems, model, config, None, folder, of, suited.reason)
    if config.method.lower() not in (DEFAULT_METHOD, NETWORK_METHOD):
        from medinr.jobs.reconstruct.other_methods import require_method

        require_method(job)
    elif config.method.lower() == DEFAULT_METHOD:
        require_denoiser(model, config)
    return replace(job, auxiliary=_selected(job, auxiliary)) if auxiliary else job


def _selected(job: ReconstructionJob, scans: Sequence[Volume]) -> AuxiliaryScans:
    config = job.config
    method, settings = config.method.lower(), config.plug_and_play
    if method not in (DEFAULT_METHOD, NETWORK_METHOD):
        raise ConfigError(f"--prior is for plug-and-play and inr; method {config.method} has no use for it.")
    if method == NETWORK_METHOD:
        fit = config.fit
        if fit.steps > 0 and fit.image_domain.passes == 0 and fit.refinement_iterations == 0:
            raise ConfigError(
                "--prior is of no use when a network is fitted in the measurement domain alone: it needs "
                "network.image_domain.passes or network.refinement_iterations above 0. Leave --prior out."
            )
        if fit.image_domain.passes > 0:
            settings = replace(settings, iterations=min(settings.iterations, fit.shared_iterations))
    # Only here, so that reconstructions without auxiliary scans do not load registration.
    from medinr.jobs.reconstruct.auxiliary import select_auxiliary

    denoiser = require_denoiser(job.model, config)
    return select_auxiliary(scans, job.acquisition, job.problems, denoiser, settings, config.seed)


def fingerprint(config: ReconstructConfig, measurement: Measurement, model: Model, auxiliary: Sequence[Volume]) -> str:
    """Hash of everything a reconstruction depends on: settings, facts, files and data."""
    hashes = [hash_file(find_model(config.model)) if model.card is not None else ""]
    hashes += [scan.provenance.sha256 for scan in auxiliary]
    facts = json.dumps([asdict(config), measurement.parameters, *hashes], sort_keys=True)
    data = np.ascontiguousarray(measurement.data.resolve_conj().numpy())
    return hashlib.sha256(facts.encode() + data.tobytes()).hexdigest()
