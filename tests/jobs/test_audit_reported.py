"""Findings in result.json and on the page of an evaluation."""

import json
from dataclasses import replace

import numpy as np

from medinr.jobs.audit.catalogue import found
from medinr.jobs.evaluate.results import read_case, write_case
from medinr.report.findings import finding_rows
from medinr.report.page import report_page

ZERO_FILLED = found("zero-filled", "256 x 256 pixels, about 60 %").facts()
OBLIQUE = found("oblique", "slices are oblique by <b>8</b> degrees").facts()


def test_findings_of_scans_are_collected_and_shown(synthetic_results, tmp_path):
    results = synthetic_results(tmp_path, patients=2, tasks=("kspace_mr_single_4x", "denoise_mr_5"))
    assert finding_rows(results.cases()) == []
    assert "zero-filled (caution)" not in report_page(results)
    for case in results.cases():
        findings = (
            (OBLIQUE, ZERO_FILLED) if case.subject == "p0" else (ZERO_FILLED | {"words": f"number {case.slice}"},)
        )
        write_case(tmp_path, replace(case, findings=findings), results.images(case))
    first, second = finding_rows(results.cases())
    assert (first.code, first.severity, len(first.scans)) == ("zero-filled", "caution", 2)
    assert first.scans[1] == ("p1_v1_00000001", "number 0; number 1")
    assert (second.code, [scan for scan, _ in second.scans]) == ("oblique", ["p0_v1_00000000"])
    page = report_page(results)
    assert "zero-filled (caution)" in page
    assert "simulated undersampling gives better results than a scanner would" in page
    assert "&lt;b&gt;8&lt;/b&gt;" in page


def test_slices_written_before_scans_were_audited_can_be_read(synthetic_results, tmp_path):
    import safetensors
    from safetensors.numpy import save_file

    synthetic_results(tmp_path, patients=1, slices=1, tasks=("denoise_mr_5",))
    (path,) = (tmp_path / "images").glob("*.safetensors")
    with safetensors.safe_open(path, framework="np") as file:
        facts = json.loads(file.metadata()["medinr"])
        images = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    assert facts.pop("findings") == []
    save_file(
        {name: np.ascontiguousarray(image) for name, image in images.items()}, path, {"medinr": json.dumps(facts)}
    )
    assert read_case(path).findings == ()
