"""Findings of a scan go with what is made of it: measurement, result, evaluation."""

import json

import pytest

from medinr.config.protocol import NamedTask
from medinr.io.measurement import read_measurement
from medinr.io.nifti import write_nifti
from medinr.jobs.audit.carried import findings_of
from medinr.jobs.evaluate.cases import Source

pytestmark = pytest.mark.usefixtures("without_figures")


def _codes(findings):
    return [finding["code"] for finding in findings]


def test_findings_are_in_the_result_and_survive_the_measurement(reconstruct, medinr, synthetic, tmp_path):
    volume = synthetic.phantom((4, 24, 20))
    volume.array[3] = volume.array[2]
    scan = write_nifti(volume, tmp_path / "scan.nii.gz")
    assert reconstruct("denoise", tmp_path / "out", source=scan).code == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert _codes(result["findings"])[:1] == ["duplicate-slices"]
    assert set(result["findings"][0]) == {"code", "severity", "words", "meaning"}
    assert "findings" not in result["measurement"]
    kept = read_measurement(tmp_path / "out" / "measurement.safetensors")
    assert findings_of(kept) == result["findings"]
    again = reconstruct("denoise", tmp_path / "again", source=tmp_path / "out" / "measurement.safetensors")
    assert again.code == 0
    assert json.loads((tmp_path / "again" / "result.json").read_text())["findings"] == result["findings"]


def test_an_evaluation_audits_each_scan_once(synthetic, tmp_path, monkeypatch):
    from medinr.config import load_task_config
    from medinr.io.hashes import hash_file
    from medinr.io.manifest import Manifest, ManifestRow
    from medinr.jobs.evaluate import cases

    volume = synthetic.phantom((4, 24, 20))
    volume.array[3] = volume.array[2]
    path = write_nifti(volume, tmp_path / "s1.nii.gz")
    calls, real = [], cases.audit_volume
    monkeypatch.setattr(cases, "audit_volume", lambda scan: calls.append(scan) or real(scan))
    row = ManifestRow(path.name, hash_file(path), "s1", "", "MR", "T1", "test", "CC0")
    task = NamedTask("denoise", "denoising", load_task_config("denoise"))
    source = Source.open(task, Manifest((row,), tmp_path), row)
    for number in (1, 2):
        measurement, _ = source.measure(task.config, [number])
        assert _codes(findings_of(measurement))[:1] == ["duplicate-slices"]
    assert len(calls) == 1
