"""The page as text: what stands in it, what cannot get into it, and that its pictures say what the images say."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from medinr.pipelines.report import report

from medinr.cli.main import main
from medinr.errors import FileError, LibraryError, OutputExistsError, ShapeError
from medinr.jobs.evaluate.results import Results, make_table, write_case, write_facts, write_table
from medinr.jobs.evaluate.statistics import patient_means, summarise, values_of
from medinr.report import Budget, report_page
from medinr.report.charts import convergence_chart, psnr_time_chart, stop_place
from medinr.report.pictures import (
    LEVELS,
    Scale,
    case_scale,
    choose_levels,
    decode,
    encode,
    encode_case,
    quantise,
)
from medinr.report.sampling import sampling_chart
from medinr.report.svg import Axis
from medinr.report.tables import PatientMean, series_of

PLANTED = "<script>window.planted=1</script>&\"'<img src=x onerror=window.planted=1>"
SVG = "{http://www.w3.org/2000/svg}"


class Page(HTMLParser):
    """Elements with their attributes, and the text inside scripts, styles and everything else."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, str]] = []
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
            self.raw.append((tag, ""))

    def handle_endtag(self, tag):
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data):
        if self._inside:
            self.raw[-1] = (self._inside, self.raw[-1][1] + data)
        else:
            self.text += data

    def data(self):
        return json.loads(next(text for tag, text in self.raw if tag == "script"))


@pytest.fixture(scope="module")
def results(synthetic_results, tmp_path_factory):
    return synthetic_results(tmp_path_factory.mktemp("report"), patients=3, size=(32, 32))


@pytest.fixture(scope="module")
def page(results):
    return report_page(results)


@pytest.fixture(scope="module")
def hostile(synthetic_results, tmp_path_factory):
    """An evaluation with markup wherever a person or a file can put text."""
    found = synthetic_results(tmp_path_factory.mktemp("hostile"), patients=1, slices=1, tasks=("kspace_mr_single_4x",))
    (case,) = found.cases()
    images = found.images(case)
    curves = {PLANTED: {**case.curves["medinr"], "reason": PLANTED}}
    planted = replace(
        case,
        subject=PLANTED,
        session=PLANTED,
        contrast=PLANTED,
        series_description=PLANTED,
        unit=PLANTED,
        curves=curves,
    )
    write_case(found.folder, planted, images | {PLANTED: images["TV"]})
    facts = json.loads(json.dumps(dict(found.facts)).replace("made up", json.dumps(PLANTED)[1:-1]))
    facts["tasks"][case.task] |= {"words": PLANTED, "facts": {PLANTED: PLANTED}}
    facts |= {"notes": [PLANTED], "versions": {PLANTED: PLANTED}, "settings": {PLANTED: PLANTED}, "seed": PLANTED}
    facts["methods"][PLANTED] = {"words": PLANTED, "settings": {PLANTED: PLANTED}}
    facts.pop("format")
    write_facts(found.folder, facts)
    table = found.table.replace("TV", PLANTED)
    table["subject"] = table["medinr_version"] = table["settings_hash"] = PLANTED
    write_table(found.folder, table)
    return Results.read(found.folder)


def test_planted_markup_stays_text(hostile):
    found = Page(report_page(hostile, title=PLANTED))
    scripts = [attributes for tag, attributes in found.elements if tag == "script"]
    # data, pixels of the one slice, the program
    assert [attributes.get("type") for attributes in scripts] == ["application/json", "text/plain", None]
    assert not [tag for tag, _ in found.elements if tag == "img"]
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    assert found.text.count(PLANTED) > 20
    (case,) = found.data()["cases"]
    assert case["series"] == PLANTED


def test_nothing_is_asked_of_a_network(page):
    addresses = set(re.findall(r"https?://[^\"'\s<)]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    for tag, attributes in Page(page).elements:
        assert "src" not in attributes, tag
        assert attributes.get("href", "#").startswith("#"), tag
    assert "@import" not in page
    assert "url(" not in page


def test_the_policy_allows_its_own_script_and_style_alone(page):
    found = Page(page)
    policy = next(a["content"] for _, a in found.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag, text in (found.raw[0], found.raw[-1]):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    # a style attribute would be refused by the policy, silently
    assert not [tag for tag, attributes in found.elements if "style" in attributes]


def test_identifiers_are_unique_and_tables_have_captions(page):
    found = Page(page)
    names = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(names) == len(set(names))
    tags = [tag for tag, _ in found.elements]
    assert tags.count("table") == tags.count("caption") > 3
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in found.elements if tag == "th")


def test_the_same_folder_gives_the_same_page(results, page):
    assert report_page(Results.read(results.folder)) == page


def test_means_and_intervals_are_those_of_the_statistics(results, page):
    for task in results.facts["tasks"]:
        found = summarise(patient_means(values_of(results.table, task, "medinr", "psnr")))
        assert f"<strong>{found.mean:.2f}</strong>" in page
        assert f"{found.low:.2f} to {found.high:.2f}" in page


def test_every_picture_of_a_slice_is_on_one_scale_and_true_to_half_a_step(results, page):
    found = Page(page)
    cases = found.data()["cases"]
    pixels = [text.split() for tag, text in found.raw[2:-1]]
    assert len(cases) == len(pixels) == len(results.cases())
    by_name = {(c.task, c.scan, c.slice): results.images(c) for c in results.cases()}
    for case, texts in zip(cases, pixels, strict=True):
        images = by_name[case["task"], case["scan"], case["slice"]]
        scale = Scale(*case["scale"])
        assert scale.levels == 4096
        reference = images["reference"]
        room = (reference.max() - reference.min()) / 2
        assert case["images"][0] == "reference"
        assert set(case["images"]) == set(images)
        for name, text in zip(case["images"], texts, strict=True):
            shown = scale.low + decode(text, reference.shape) * scale.step
            wanted = np.clip(images[name], reference.min() - room, reference.max() + room)
            np.testing.assert_allclose(shown, wanted, atol=0.51 * scale.step)


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 4095)))
def test_pictures_come_back_as_they_were(codes):
    np.testing.assert_array_equal(decode(encode(codes), codes.shape), codes)


def test_what_is_not_finite_is_black_and_told(synthetic_results, tmp_path):
    found = synthetic_results(tmp_path, patients=1, slices=1, tasks=("denoise_mr_5",))
    (case,) = found.cases()
    images = found.images(case)
    images["TV"] = images["TV"].copy()
    images["TV"][3, 4] = np.nan
    images["TV"][3, 5] = np.inf
    write_case(tmp_path, case, images)
    assert "TV has 2 pixels that are not finite" in report_page(found)
    assert quantise(np.array([[np.nan, -np.inf, np.inf]]), Scale(0.0, 1.0, 256)).tolist() == [[0, 0, 255]]


def test_uncertainty_has_a_scale_of_its_own():
    reference = np.linspace(0, 100, 64).reshape(8, 8)
    uncertainty = np.linspace(0, 3, 64).reshape(8, 8)
    scale, found, texts = encode_case({"reference": reference, "TV": reference, "uncertainty.TV": uncertainty}, 4096)
    assert scale.high == 100
    assert found is not None
    assert 2.9 < found.high <= 3
    np.testing.assert_allclose(decode(texts["uncertainty.TV"], (8, 8)) * found.step, uncertainty, atol=0.03)


def test_an_outlier_does_not_take_the_grey_levels():
    reference = np.linspace(0, 100, 64).reshape(8, 8)
    scale = case_scale({"reference": reference, "TV": reference * 1000 - 7}, 256)
    assert (scale.low, scale.high) == (-7.0, 150.0)


@pytest.mark.parametrize("images", [{"TV": np.ones((4, 4))}, {"reference": np.ones((4, 4)), "TV": np.ones((4, 5))}])
def test_cases_without_a_reference_or_of_two_shapes_are_refused(images):
    with pytest.raises(ShapeError, match=r"reference|\(4, 5\)"):
        case_scale(images, 256)


def test_three_patients_four_tasks_and_six_methods_of_noise_fit():
    noise = np.random.default_rng(0).normal(size=(256, 256))
    levels, count = choose_levels([{"reference": noise} | {f"m{k}": noise for k in range(6)}], 12, Budget())
    assert (levels, count) == (LEVELS[0], 12)
    assert 12 * 7 * len(encode(quantise(noise, case_scale({"reference": noise}, levels)))) < 13e6


def test_a_small_budget_costs_levels_then_slices_and_the_page_says_so(results):
    size = [sum(map(len, encode_case(results.images(results.cases()[0]), levels)[2].values())) for levels in LEVELS]
    cases = len(results.cases())
    for levels, each in zip(LEVELS, size, strict=True):
        found = choose_levels([results.images(results.cases()[0])], cases, Budget((each * cases + 1) / 1e6))
        assert found == (levels, cases)
    page = report_page(results, budget=Budget(5.5 * size[-1] / 1e6))
    shown = Page(page).data()["cases"]
    assert 3 <= len(shown) <= 7
    assert len({case["scan"] for case in shown}) == 3
    assert f"{cases - len(shown)} slices had no room" in page
    assert "256 grey levels" in page


def test_one_mark_per_patient_and_method():
    points = [PatientMean("t", f"p{k}", m, 30.0 + k, 1.0 + k) for k in range(3) for m in ("TV", "medinr")]
    drawn = ElementTree.fromstring(psnr_time_chart(points, {"TV": 0, "medinr": 1}, "t", "x"))
    marks = [mark for mark in drawn.iter(f"{SVG}path") if mark.find(f"{SVG}title") is not None]
    assert len(marks) == 6
    assert marks[0].find(f"{SVG}title").text == "TV, patient p0: 30.00 dB in 1 s"
    labels = [text.text for text in drawn.iter(f"{SVG}text")]
    assert "PSNR, dB" in labels
    assert "wall time per slice, s (logarithmic)" in labels
    shapes = {
        method: {m.get("d") for m in marks if m.find(f"{SVG}title").text.startswith(method)} for method in ("TV", "m")
    }
    assert shapes["TV"].isdisjoint(shapes["m"])


def test_curves_show_where_they_stopped():
    curve = {
        "seconds": [1.0, 2.0, 4.0],
        "psnr": [20.0, 30.0, 25.0],
        "residual": [3.0, 2.0, 1.0],
        "stopped_at": 7,
        "reason": "r",
    }
    assert stop_place(curve, "psnr") == (4.0, 25.0)
    assert stop_place(curve | {"steps": [3, 7, 9]}, "psnr") == (2.0, 30.0)
    assert stop_place(curve | {"psnr": []}, "psnr") is None
    drawn = ElementTree.fromstring(convergence_chart({"medinr": curve}, {"medinr": 0}, "a slice", "x"))
    assert "stopped at step 7; its result after 4 s (r)" in drawn.find(f"{SVG}desc").text
    for line, name in zip(drawn.iter(f"{SVG}polyline"), ("psnr", "residual"), strict=True):
        last = line.get("points").split()[-1].replace(",", " ")
        assert f"translate({last})" in {mark.get("transform") for mark in drawn.iter(f"{SVG}path")}, name
    assert convergence_chart({}, {}, "a slice", "x") == ""


def test_sampling_is_drawn():
    lines = ElementTree.fromstring(
        sampling_chart({"kind": "lines", "count": 8, "lines": [0, 4, 7], "axis": "y"}, "s", "x")
    )
    places = [float(one.get("y")) for one in lines.iter(f"{SVG}rect") if one.get("class") == "sample"]
    assert len(places) == 3
    assert places == sorted(places, reverse=True)  # the first line is the most negative frequency, at the bottom
    assert "3 of 8 phase-encoding lines" in lines.find(f"{SVG}desc").text
    views = ElementTree.fromstring(sampling_chart({"kind": "angles", "angles": [0.0, np.pi / 2]}, "s", "x"))
    ends = [
        (float(v.get("x2")) - float(v.get("x1")), float(v.get("y2")) - float(v.get("y1")))
        for v in views.iter(f"{SVG}line")
    ]
    assert len(ends) == 2
    assert ends[0][0] > 50
    assert ends[1][1] < -50  # 90 degrees point up
    points = sampling_chart({"kind": "points", "shape": [4, 4], "points": [[0, 0], [3, 2]]}, "s", "x")
    assert points.count("M") >= 2
    assert sampling_chart({"kind": "none"}, "s", "x") == ""


def test_methods_of_one_task_never_share_a_mark():
    found = series_of({"a": ["noisy", "TV", "medinr"], "b": ["FBP", "TV", "medinr"], "c": ["TV", "x", "y"]})
    for names in (["noisy", "TV", "medinr"], ["FBP", "TV", "medinr"], ["TV", "x", "y"]):
        assert len({found[name] for name in names}) == len(names)
    assert found["noisy"] == found["FBP"]


@pytest.mark.parametrize(
    ("low", "high", "log"), [(0.02, 130.0, True), (28.1, 28.4, False), (-0.5, 0.5, False), (3, 4, True)]
)
def test_ticks_are_few_and_inside(low, high, log):
    ticks = Axis("x", low, high, log).ticks()
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(ticks)
    assert low - 1e-9 <= ticks[0] < ticks[-1] <= high + 1e-9


def test_an_evaluation_without_rows_or_images_is_refused(synthetic_results, tmp_path):
    found = synthetic_results(tmp_path, patients=1, slices=1, tasks=("denoise_mr_5",))
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    with pytest.raises(FileError, match="has no slice"):
        report_page(found)
    write_table(tmp_path, make_table([]))
    with pytest.raises(FileError, match="empty table"):
        report_page(Results.read(tmp_path))


def test_outputs_are_written_once_with_figures_for_papers(synthetic_results, tmp_path):
    folder = tmp_path / "evaluation"
    synthetic_results(folder, patients=1, slices=1, tasks=("kspace_mr_single_4x",))
    written = report(folder, tmp_path / "page.html", figures=True)
    assert written[0].read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    drawn = written[1:]
    assert sorted({path.name.split("__")[0] for path in drawn}) == ["convergence", "images", "psnr_time"]
    assert sorted({path.suffix for path in drawn}) == [".png", ".svg"]
    assert {path.parent for path in drawn} == {tmp_path / "page_figures"}
    for path in drawn:
        if path.suffix == ".svg":
            ElementTree.parse(path)
        else:
            assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OutputExistsError):
        report(folder, tmp_path / "page.html")
    assert report(folder, tmp_path / "page.html", overwrite=True) == written[:1]


def test_the_command_tells_what_it_wrote_and_refuses_what_is_no_evaluation(synthetic_results, tmp_path, capsys):
    folder = tmp_path / "evaluation"
    synthetic_results(folder, patients=1, slices=1, tasks=("denoise_mr_5",))
    page = tmp_path / "page.html"
    assert main(["report", str(folder), "--out", str(page), "--title", "Ours", "--megabytes", "1"]) == 0
    assert f"{page}: 0." in capsys.readouterr().out
    assert "<h1>Ours</h1>" in page.read_text(encoding="utf-8")
    assert main(["report", str(folder), "--out", str(page)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "nowhere"), "--out", str(page)]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_pdf_without_a_browser_says_what_to_do(synthetic_results, tmp_path, monkeypatch):
    folder = tmp_path / "evaluation"
    synthetic_results(folder, patients=1, slices=1, tasks=("denoise_mr_5",))
    monkeypatch.setenv("MEDINR_CHROMIUM", "no-such-browser")
    with pytest.raises(LibraryError, match="Install one"):
        report(folder, tmp_path / "page.html", pdf=True)
