"""An evaluation with the reference's own noise taken off: found once, judged with, told to no method."""

import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors
from safetensors.numpy import save_file

from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, write_manifest
from medinr.io.measurement import read_measurement
from medinr.io.nifti import write_nifti
from medinr.jobs.evaluate.cases import load_facts
from medinr.jobs.evaluate.results import Results
from medinr.jobs.evaluate.sentences import NOISE_NOTE, noise_sentences
from medinr.jobs.methods.registry import METHODS
from medinr.metrics.image_quality import CORRECTED
from medinr.metrics.reference_noise import corrected_psnr
from medinr.report import report_page
from medinr.volume import Volume

SIGMA = 25.0
CHOSEN = ("--tasks", "denoise_mr_5", "--methods", "noisy,nlm", "--set", "slices=1")


@pytest.fixture
def manifest(synthetic, tmp_path):
    """Writes a manifest of scans by name: with noise on blanked background, or without any noise."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in (6, 72, 64)), indexing="ij")
    body = np.hypot(x / 0.8, y / 0.9) < 1
    signal = 600 + 80 * np.cos(2 * x) * np.sin(2 * y) + 30 * z
    generator = np.random.default_rng(4)

    def write(**noise):
        rows = []
        for name, sigma in noise.items():
            parts = sigma * generator.standard_normal((2, *signal.shape))
            array = np.where(body, np.hypot(signal + parts[0], parts[1]), 0.0).astype(np.float32)
            path = write_nifti(Volume(array, synthetic.affine((1.0, 1.0, 5.0)), "MR"), tmp_path / f"{name}.nii.gz")
            contrast = name.upper()
            rows.append(ManifestRow(path.name, hash_scan(path), f"s-{name}", "", "MR", contrast, "devtest", "CC0"))
        return write_manifest(Manifest(tuple(rows), tmp_path), tmp_path / "scans.csv", overwrite=True)

    return write


def values(results, subject, metric, region="slice"):
    chosen = results.table[(results.table.subject == subject) & (results.table.metric == metric)]
    return chosen[chosen.region == region].set_index("method")["value"]


def test_the_corrected_psnr_stands_beside_psnr_where_the_noise_is_known(medinr, manifest, tmp_path):
    out = tmp_path / "out"
    path = manifest(flair=SIGMA, t1=0.3)
    found = medinr("evaluate", path, *CHOSEN, "--out", out, "--debug")
    assert found.code == 0, found.err
    results = Results.read(out)
    noisy, quiet = sorted(results.cases(), key=lambda case: case.subject)
    assert noisy.reference_noise["body"] == pytest.approx(SIGMA**2, rel=0.2)
    assert noisy.reference_noise["slice"] < noisy.reference_noise["body"]
    for region in ("slice", "body"):
        plain, corrected = (values(results, "s-flair", metric, region) for metric in ("psnr", CORRECTED))
        for method, value in plain.items():
            wanted = corrected_psnr(value, noisy.peak, noisy.reference_noise[region])
            assert corrected[method] == pytest.approx(wanted)
            assert wanted > value
    # The other scan has too little noise to be told from structure.
    assert (quiet.reference_noise, quiet.uncorrected.split(" (")[0]) == ({}, "There is almost no noise")
    assert values(results, "s-t1", CORRECTED).empty
    notes = results.facts["notes"]
    assert any(note.startswith("A reference has noise of its own") for note in notes)
    (said,) = [note for note in notes if note.startswith(f"{NOISE_NOTE}none is taken off for s-t1_T1_")]
    assert "There is almost no noise" in said
    limits = noise_sentences(results.table, "denoise_mr_5")
    assert [note for note in notes if note.startswith(f"{NOISE_NOTE}in ")] == limits
    (limit,) = limits
    assert "in denoise_mr_5, FLAIR, the variance is more than half (" in limit
    assert "highest PSNR (NLM)" in limit
    # In the terminal, in the report and in both tables.
    assert "corr." in found.out
    assert "1 of 2 slices" in " ".join(found.out.split())
    page = report_page(results)
    assert "PSNR corrected, dB" in page
    assert "PSNR corrected, body, dB" in page
    assert "the reference&#39;s own noise taken off, 1 of 2 slices" in page
    assert page.count("more than half (") == 2
    assert CORRECTED in (out / "results.csv").read_text()
    # Said anew, not once more.
    assert medinr("evaluate", path, *CHOSEN, "--out", out).code == 0
    assert Results.read(out).facts["notes"] == notes


def test_no_method_sees_the_estimate(medinr, manifest, tmp_path, monkeypatch):
    given = []

    def see(case):
        given.append(case)
        return METHODS["noisy"].run(case)

    monkeypatch.setitem(METHODS, "NLM", replace(METHODS["NLM"], run=see))
    assert medinr("evaluate", manifest(flair=SIGMA), *CHOSEN, "--out", tmp_path).code == 0
    (case,) = Results.read(tmp_path).cases()
    (seen,) = given
    measurement = read_measurement(tmp_path / "measurements" / f"{case.case}.safetensors")
    assert measurement.arrays == seen.acquisition.measurement.arrays == {}
    told = json.dumps([measurement.parameters, seen.acquisition.measurement.parameters])
    assert "reference" not in told
    assert not [value for value in case.reference_noise.values() if str(value) in told]


def test_cases_of_an_earlier_version_have_no_corrected_value(medinr, manifest, tmp_path):
    path, out = manifest(flair=SIGMA), tmp_path / "out"
    assert medinr("evaluate", path, *CHOSEN, "--out", out).code == 0
    (case,) = Results.read(out).cases()
    prepared = out / "work" / f"{case.case}.safetensors"
    facts = load_facts(prepared)
    with safetensors.safe_open(prepared, framework="np") as file:
        images = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    for name in ("reference_noise", "uncorrected"):
        del facts[name]
    save_file(images, prepared, metadata={"medinr": json.dumps(facts)})
    for record in (out / "work").glob(f"{case.case}__*.safetensors"):
        record.unlink()
    assert medinr("evaluate", path, *CHOSEN, "--out", out, "--debug").code == 0
    results = Results.read(out)
    assert not (results.table.metric == CORRECTED).any()
    assert results.cases()[0].reference_noise == {}
    assert not [note for note in results.facts["notes"] if note.startswith(NOISE_NOTE)]


def test_a_reference_that_lost_frequencies_is_not_corrected_and_planes_across_slices_are(medinr, synthetic, tmp_path):
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in (36, 40, 44)), indexing="ij")
    body = np.sqrt(x**2 + y**2 + z**2) < 0.95
    parts = SIGMA * np.random.default_rng(6).standard_normal((2, *body.shape))
    array = np.where(body, np.hypot(600 + 60 * x + parts[0], parts[1]), 0.0).astype(np.float32)
    path = write_nifti(Volume(array, synthetic.affine((1.0, 1.0, 1.0)), "MR"), tmp_path / "cubic.nii.gz")
    row = ManifestRow(path.name, hash_scan(path), "s1", "", "MR", "T1", "devtest", "CC0", "15:20")
    manifest = write_manifest(Manifest((row,), tmp_path), tmp_path / "scans.csv")
    tasks = {"acquired_zero_filled": "input", "superres_mr_through_4x": "bicubic"}
    chosen = ("--tasks", ",".join(tasks), "--methods", ",".join(tasks.values()), "--set", "slices=1")
    found = medinr("evaluate", manifest, *chosen, "--out", tmp_path / "out", "--debug")
    assert found.code == 0, found.err
    filled, across = Results.read(tmp_path / "out").cases()
    assert filled.reference_noise == {}
    assert "lost the same frequencies" in filled.uncorrected
    assert across.reference_noise["body"] == pytest.approx(SIGMA**2, rel=0.2)
    assert across.uncorrected == ""
