"""The report of an evaluation of real held-out scans: four people, four tasks, six methods and more, in a browser."""

from dataclasses import replace

import pytest
from medinr.pipelines.evaluate import evaluate
from medinr.pipelines.report import report

from medinr.config import EvaluateConfig, load_config
from medinr.config.shipped import find_manifest
from medinr.io.manifest import read_manifest
from medinr.jobs.evaluate.results import write_case

PLANTED = "<script>window.planted=1</script>"

#: The protocol's tasks with a few iterations: the images are real, if not as good as they could be.
SHORT = """\
plug_and_play: {{iterations: {iterations}, cg_iterations: 4}}
total_variation: {{weight: {tv}, iterations: 10}}
baselines: {{{more}}}
"""
TASKS = {
    "denoise": SHORT.format(iterations=0, tv=1.0, more="nlm_strength: 0.6"),
    "superres": SHORT.format(iterations=6, tv=0.002, more="wavelet_iterations: 10"),
    "kspace": SHORT.format(iterations=6, tv=0.2, more="wavelet_iterations: 10"),
    "ct": SHORT.format(iterations=2, tv=2.0, more="sirt_iterations: 5, linear_iterations: 5"),
}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory, request):
    request.getfixturevalue("browser")
    manifest = read_manifest(find_manifest("development"))
    if not all(manifest.resolve(row).exists() for row in manifest):
        pytest.skip("test_report_real needs ../shared/data")
    folder = tmp_path_factory.mktemp("real")
    for task, text in TASKS.items():
        (folder / f"{task}.yaml").write_text(
            f"task: {task}\nmodel: {'chest_ct' if task == 'ct' else 'brain_mr'}\n{text}"
        )
    config = load_config(EvaluateConfig, "evaluate", ["slices=1"])
    config = replace(config, tasks=tuple(f"{task}.yaml" for task in TASKS), contrasts=("FLAIR",))
    results = evaluate(manifest, config, folder / "results", near=folder)
    assert results.table.subject.nunique() == 4
    assert set(results.table.task) == set(TASKS)
    assert results.table.groupby("task").method.nunique().min() >= 6
    for case in results.cases():
        write_case(results.folder, replace(case, series_description=PLANTED), results.images(case))
    page, *_ = report(results.folder, folder / "report.html")
    return page


def test_it_is_small_and_quick(page_file, open_visit):
    assert page_file.stat().st_size < 15e6
    visit = open_visit(page_file)
    assert visit.tab.evaluate("performance.getEntriesByName('first-picture')[0].startTime") < 2000
    assert visit.greys() > 100
    visit.context.close()
    visit.was_silent()


def test_every_scan_task_and_method_is_a_picture_of_its_own(page_file, open_visit):
    visit = open_visit(page_file)
    visit.tab.fill("#swipe", "100")
    seen, shown = set(), 0

    def values(name):
        return [one.get_attribute("value") for one in visit.tab.locator(f"#pick-{name} option").all()]

    for task in values("task"):
        visit.tab.select_option("#pick-task", task)
        for scan in values("scan"):
            visit.tab.select_option("#pick-scan", scan)
            for method in values("left"):
                visit.tab.select_option("#pick-left", method)
                visit.tab.wait_for_timeout(30)
                # medinr's image of a slice alone is that of plug-and-play, to the bit.
                if method != "plug-and-play":
                    seen.add(visit.picture())
                    shown += 1
    assert shown >= 9 * 6
    assert len(seen) == shown
    visit.context.close()
    visit.was_silent()


def test_swipe_window_keys_and_planted_markup(page_file, open_visit):
    visit = open_visit(page_file)
    assert visit.tab.text_content("#series").startswith(PLANTED)
    assert visit.tab.evaluate("window.planted") is None
    visit.tab.focus("#stage")
    pictures = [visit.picture()]
    for key in ("ArrowRight", "]", "a", "+", "d"):
        visit.tab.keyboard.press(key)
        pictures.append(visit.picture())
    assert len(set(pictures)) == len(pictures)
    visit.context.close()
    visit.was_silent()


def test_axe_finds_no_violation(page_file, open_visit):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    visit = open_visit(page_file, bypass_csp=True)
    found = axe.Axe().run(visit.tab).response["violations"]
    visit.context.close()
    assert [(one["id"], one["impact"]) for one in found] == []
