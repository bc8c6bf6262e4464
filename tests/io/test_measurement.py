import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from medinr.acquisition.ways import acquisition_of
from medinr.errors import ConfigError, FileError, OutputExistsError, ShapeError
from medinr.io.measurement import FORMAT, read_facts, read_measurement, write_measurement
from medinr.io.provenance import hashed_identifier
from medinr.measurement import Measurement
from medinr.volume import Provenance

TASKS = ("denoise", "superres", "kspace", "ct", "of your own")
KINDS = (torch.float32, torch.float64, torch.complex64)


def _measurement(shape=(2, 4, 5), kind=torch.float32, maps=False, task="kspace", **changes) -> Measurement:
    generator = torch.Generator().manual_seed(0)
    facts = {
        "task": task,
        "data": torch.randn(shape, generator=generator, dtype=kind),
        "parameters": {"sigma": 0.1 + 0.2, "mask": {"lines": [1, 2], "kind": "random"}, "simulated": True},
        "affine": np.array([[0.9, 0.1, 0, -3], [0, 0.8, 0, 1 / 3], [0, 0, 3, 7.5], [0, 0, 0, 1]]),
        "image_shape": (8, 5),
        "modality": "MR",
        "unit": "a.u.",
        "arrays": {"coil_maps": torch.randn(3, 8, 5, generator=generator, dtype=torch.complex64)} if maps else {},
        "provenance": Provenance("nifti", (Path("a") / "b.nii.gz",), "f" * 64, "1.2.3", ("odd", "but fine")),
    }
    return Measurement(**(facts | changes))


@pytest.fixture
def path(tmp_path) -> Path:
    write_measurement(_measurement(kind=torch.complex64, maps=True), tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=3, max_size=4),
    kind=st.sampled_from(KINDS),
    maps=st.booleans(),
    task=st.sampled_from(TASKS),
    numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4),
    words=st.text(max_size=8),
)
def test_everything_comes_back(tmp_path_factory, shape, kind, maps, task, numbers, words):
    path = tmp_path_factory.mktemp("m") / "m.safetensors"
    wanted = _measurement(tuple(shape), kind, maps, task, parameters={"angles": numbers, "words": words})
    write_measurement(wanted, path)
    found = read_measurement(path)
    assert found.data.dtype == kind
    assert torch.equal(found.data, wanted.data)
    assert set(found.arrays) == set(wanted.arrays)
    assert all(torch.equal(found.arrays[key], wanted.arrays[key]) for key in wanted.arrays)
    assert np.array_equal(found.affine, wanted.affine)
    for name in ("task", "parameters", "image_shape", "modality", "unit"):
        assert getattr(found, name) == getattr(wanted, name), name
    # Files may be called after a patient, and a UID is found in the archive: neither travels.
    assert found.provenance == replace(wanted.provenance, files=(), frame_of_reference=hashed_identifier("1.2.3"))
    assert found.provenance.notes == ("odd", "but fine")


def test_files_that_kept_names_are_still_read_and_lose_them_when_written_again(tmp_path):
    write_measurement(_measurement(), tmp_path / "m.safetensors")
    facts = read_facts(tmp_path / "m.safetensors")
    facts["provenance"] |= {"files": ["Doe_John.nii.gz"], "frame_of_reference": "1.2.3"}
    del facts["provenance"]["facts"]  # nor did they have these
    save_file({"data": _measurement().data}, tmp_path / "old.safetensors", metadata={"medinr": json.dumps(facts)})
    old = read_measurement(tmp_path / "old.safetensors")
    assert old.provenance.files == (Path("Doe_John.nii.gz"),)
    write_measurement(old, tmp_path / "new.safetensors")
    assert b"Doe" not in (tmp_path / "new.safetensors").read_bytes()
    new = read_measurement(tmp_path / "new.safetensors")
    assert new.provenance.frame_of_reference == hashed_identifier("1.2.3") != ""
    write_measurement(new, tmp_path / "newer.safetensors")
    assert read_measurement(tmp_path / "newer.safetensors").provenance == new.provenance


def test_views_and_conjugates_are_written_as_they_look(tmp_path):
    data = torch.randn(3, 4, 5, dtype=torch.complex64)
    lazy = _measurement(data=data.transpose(0, 2).conj())
    write_measurement(lazy, tmp_path / "m.safetensors")
    assert torch.equal(read_measurement(tmp_path / "m.safetensors").data, data.transpose(0, 2).conj().resolve_conj())


def test_facts_are_read_without_the_arrays(path):
    facts = read_facts(path)
    assert facts["format"] == FORMAT
    assert facts["parameters"]["sigma"] == 0.1 + 0.2
    assert sorted(facts["complex"]) == ["array.coil_maps", "data"]


def test_a_finished_file_is_not_overwritten_unasked(path):
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write_measurement(_measurement(), path)
    assert path.read_bytes() == before
    write_measurement(_measurement(), path, overwrite=True)
    assert not read_measurement(path).data.is_complex()
    assert [p.name for p in path.parent.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize("keep", [0, 3, 8, 100, 0.5, 0.99])
def test_truncated_file(path, keep):
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    for read in (read_facts, read_measurement):
        with pytest.raises(FileError, match=r"m\.safetensors"):
            read(path)


def test_missing_file_and_one_of_another_kind(tmp_path):
    with pytest.raises(FileError, match="nothing"):
        read_measurement(tmp_path / "nothing.safetensors")
    save_file({"trunk.weights.0": torch.zeros(2)}, tmp_path / "model.safetensors", metadata={"format": "medinr-model"})
    with pytest.raises(FileError, match=r"model\.safetensors"):
        read_measurement(tmp_path / "model.safetensors")


@pytest.mark.parametrize("facts", [{}, [], "text", {"format": "medinr-measurement-99"}, {"format": FORMAT}])
def test_header_of_another_format(tmp_path, facts):
    save_file({"data": torch.zeros(2, 2, 2)}, tmp_path / "m.safetensors", metadata={"medinr": json.dumps(facts)})
    with pytest.raises(FileError, match=r"m\.safetensors"):
        read_measurement(tmp_path / "m.safetensors")


def test_nothing_in_the_file_is_code(path):
    assert b"pickle" not in path.read_bytes()
    assert path.read_bytes()[8:9] == b"{"


def test_what_is_no_measurement_is_refused():
    with pytest.raises(ConfigError, match="'xray' is not one of"):
        acquisition_of(_measurement(task="xray"))
    with pytest.raises(ShapeError, match=r"\(slices, ...\); got shape \(5,\)"):
        _measurement(shape=(5,))


def test_reconstructed_slices_go_back_into_the_patient():
    measurement = _measurement()
    volume = measurement.volume(np.ones((2, 8, 5)))
    assert np.array_equal(volume.affine, measurement.affine)
    assert volume.array.dtype == np.float32
    assert (volume.modality, volume.unit, volume.provenance) == ("MR", "a.u.", measurement.provenance)
    assert measurement.spacing == pytest.approx((np.hypot(0.1, 0.8), 0.9))
    assert repr(measurement) == "Measurement kspace, 2 slices, data (2, 4, 5), image 5 x 8 pixels"
