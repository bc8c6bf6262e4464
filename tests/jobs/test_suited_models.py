"""The model that suits a scan or a measurement, where it may be chosen."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import medinr as mi
from medinr.acquisition.ways import acquisition_of
from medinr.config import load_task_config
from medinr.errors import CheckpointError, ConfigError
from medinr.jobs.reconstruct.suited_model import suited_model
from medinr.jobs.scan.suited_model import open_scan_model
from medinr.jobs.simulated import measure_slices
from medinr.models.checkpoint import load_model, shipped_models
from medinr.models.suited import AUTO, GENERAL, SPECIAL
from medinr.noise.scan_noise import ScanNoise


@pytest.fixture(scope="module")
def head(excerpts):
    return mi.load_scan(next((excerpts / "brain_mr").glob("*T1W*.nii.gz")), modality="MR")


@pytest.fixture(scope="module")
def texture(head):
    y, x = np.indices(head.shape[1:])
    pattern = 500 + 200 * np.sin(y / 9) + 150 * np.cos(x * y / 900)
    return head.with_array(np.broadcast_to(pattern, head.shape).astype(np.float32))


def noise_of(scan) -> ScanNoise:
    return ScanNoise("rician", float(0.01 * np.percentile(scan.array, 99)))


def test_every_model_ships_and_is_of_its_modality():
    assert set(shipped_models()) == {*SPECIAL.values(), *GENERAL.values()}
    for modality, name in (*SPECIAL.items(), *GENERAL.items()):
        assert load_model(name).card.modality == modality
    assert all(load_model(name).family is not None for name in SPECIAL.values())
    assert all(load_model(name).family is None for name in GENERAL.values())


def test_a_usual_scan_keeps_the_model_of_its_modality(head):
    found = open_scan_model(head, AUTO).suited_to(head, noise_of(head))
    assert (found.name, found.note) == ("brain_mr", "")


def test_an_unusual_scan_gets_the_general_model_and_says_why(texture):
    found = open_scan_model(texture, AUTO).suited_to(texture, noise_of(texture))
    assert found.name == found.model.card.name == "mr_any"
    assert "model mr_any: for brain_mr the scan is unlike the scans that the model was trained on" in found.note


@pytest.mark.parametrize("name", [None, "brain_mr"])
def test_without_auto_the_model_stays(texture, name):
    assert open_scan_model(texture, name).suited_to(texture, noise_of(texture)).name == "brain_mr"


def test_of_another_modality_no_model_is_taken(head):
    with pytest.raises(CheckpointError, match="trained on CT"):
        open_scan_model(head, "chest_ct")


@pytest.mark.parametrize(("kind", "name"), [("head", "brain_mr"), ("texture", "mr_any")])
def test_a_measurement_is_judged_by_a_few_iterations(kind, name, request):
    config = replace(load_task_config("kspace"), model=AUTO)
    measurement, _ = measure_slices(request.getfixturevalue(kind), config, [0])
    found = suited_model(acquisition_of(measurement), config)
    assert found.name == found.model.card.name == name
    assert found.reason.startswith(f"Model {name}: ")


def test_where_there_is_no_general_model_the_special_one_is_taken(synthetic):
    config = replace(load_task_config("ct"), model=AUTO)
    measurement, _ = measure_slices(synthetic.phantom((1, 32, 32), "CT"), config, [0])
    found = suited_model(acquisition_of(measurement), config)
    assert (found.name, found.reason) == ("chest_ct", "Model chest_ct: there is no other for this modality.")


def test_for_an_operator_of_ones_own_a_model_is_named():
    operator = mi.operators.downsampling((16, 16), (1.0, 1.0), 2)
    with pytest.raises(ConfigError, match="name one"):
        mi.reconstruct(operator(torch.rand(16, 16)), operator=operator, noise=0.01, model=AUTO)
