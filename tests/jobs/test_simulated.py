"""What a measurement is simulated of: which scans are refused, and that nothing is held twice."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import medinr as mi
from medinr.config import load_task_config
from medinr.config.protocol import NamedTask
from medinr.errors import UnitError
from medinr.io.choice import ScanChoice
from medinr.io.hashes import hash_file
from medinr.io.manifest import Manifest, ManifestRow
from medinr.io.nifti import write_nifti
from medinr.jobs.evaluate.cases import Source
from medinr.jobs.measure import measure
from medinr.jobs.simulated import measure_slices
from medinr.volume import Provenance, ScanFacts


def _of(volume, component):
    return replace(volume, provenance=Provenance(facts=ScanFacts(component=component)))


@pytest.mark.parametrize("task", ["denoise", "superres", "kspace"])
@pytest.mark.parametrize("component", ["phase", "imaginary"])
def test_what_is_no_picture_of_the_tissue_is_refused(synthetic, component, task):
    with pytest.raises(UnitError, match=f"the scan: this is the {component} of an MR scan.* Give the magnitude"):
        mi.simulate(_of(synthetic.phantom(), component), task)


@pytest.mark.parametrize("component", ["", "magnitude", "real", "complex"])
def test_other_parts_of_the_signal_are_measured(synthetic, component):
    scan = synthetic.phantom()
    expected = mi.simulate(scan, "denoise").data
    assert np.array_equal(mi.simulate(_of(scan, component), "denoise").data, expected)


@pytest.mark.parametrize("component", ["", "complex", "phase"])
def test_a_complex_scan_has_a_magnitude_whatever_its_files_are_called(synthetic, component):
    scan = synthetic.phantom()
    rotated = (scan.array * np.exp(0.7j)).astype(np.complex64)
    measured = mi.simulate(_of(replace(scan, array=rotated), component), "denoise", noise_level=0.0)
    expected = mi.simulate(scan, "denoise", noise_level=0.0)
    np.testing.assert_allclose(np.abs(measured.data.numpy()), expected.data.numpy(), rtol=1e-5, atol=1e-3)


def test_commands_and_evaluations_ask_as_well_and_name_the_file(synthetic, tmp_path):
    path = write_nifti(synthetic.phantom(), tmp_path / "sub-1_part-phase_T1w.nii.gz")
    config = load_task_config("denoise")
    with pytest.raises(UnitError, match=r"sub-1_part-phase_T1w.nii.gz: this is the phase"):
        measure(path, config, ScanChoice(modality="MR"))
    row = ManifestRow(path.name, hash_file(path), "s1", "", "MR", "T1", "test", "CC0")
    source = Source.open(NamedTask("denoise", "denoising", config), Manifest((row,), tmp_path), row)
    with pytest.raises(UnitError, match=r"sub-1_part-phase_T1w.nii.gz: this is the phase"):
        source.measure(config, [1])


def test_one_slice_of_many_takes_one_copy_of_the_scan(synthetic):
    array = np.random.default_rng(0).random((40, 256, 256), np.float32)
    scan = mi.Volume(array, np.eye(4), "MR")
    config = load_task_config("denoise")
    measure_slices(scan, config, [20])
    tracemalloc.start()
    _, reference = measure_slices(scan, config, [20])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * array.nbytes
    assert reference.peak == float(array.max())
