"""Which scans of a manifest a pretraining uses, and the hash by which an unfinished one is recognised."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from medinr.config.pretrain import PretrainConfig
from medinr.data.dataset import ScannedSlices, TrainingSlices
from medinr.data.training_volumes import TrainingVolumes


def choice(config: PretrainConfig) -> dict[str, Any]:
    """Split, modality and contrasts."""
    return {"split": config.split, "modality": config.modality, "contrasts": config.contrasts or None}


def fingerprint(config: PretrainConfig, slices: TrainingSlices | ScannedSlices | TrainingVolumes) -> str:
    """Hash of settings and scans."""
    facts = json.dumps([asdict(config), slices.scan_hashes, slices.labels], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()
