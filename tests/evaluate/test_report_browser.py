"""The page in a browser: pictures appear, choices change them, keys work, nothing is fetched, nothing planted runs."""

from dataclasses import replace

import numpy as np
import pytest
from medinr.pipelines.report import report

from medinr.jobs.evaluate.results import Results, write_case
from medinr.report import report_page

PLANTED = "<script>window.planted=1</script><img src=x onerror=window.planted=1>"

ERRORS = {"direct": 0.10, "TV": 0.05, "BM3D": 0.04, "medinr": 0.03}


@pytest.fixture(scope="module")
def folder(synthetic_results, tmp_path_factory):
    found = synthetic_results(tmp_path_factory.mktemp("browser"), patients=2, size=(48, 40), errors=ERRORS)
    for case in found.cases():
        images = found.images(case)
        images["uncertainty.medinr"] = np.abs(images["medinr"] - images["reference"])
        write_case(found.folder, replace(case, series_description=PLANTED), images)
    return found.folder


@pytest.fixture(scope="module")
def page_file(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report_page(Results.read(folder)), encoding="utf-8")
    return path


@pytest.fixture
def visit(open_visit, page_file):
    opened = open_visit(page_file)
    yield opened
    opened.context.close()
    opened.was_silent()


def test_the_first_picture_is_there_within_two_seconds(visit):
    assert visit.greys() > 20
    assert visit.tab.evaluate("performance.getEntriesByName('first-picture')[0].startTime") < 2000


def test_planted_markup_is_shown_as_text(visit):
    assert visit.tab.text_content("#series").startswith(PLANTED)
    assert visit.tab.evaluate("window.planted") is None
    assert visit.tab.locator("img").count() == 0


def test_every_choice_changes_the_picture(visit):
    seen = [visit.picture()]
    for name, value in (("left", "TV"), ("right", "reference"), ("left", "BM3D")):
        visit.tab.select_option(f"#pick-{name}", value)
        seen.append(visit.picture())
    for name, script in (
        ("slice", "() => document.getElementById('canvas').ariaLabel.includes('slice 1')"),
        ("scan", "() => document.getElementById('canvas').ariaLabel.includes('p1')"),
        ("task", "() => document.getElementById('canvas').ariaLabel.includes('CT')"),
    ):
        last = visit.tab.locator(f"#pick-{name} option").last.get_attribute("value")
        visit.tab.select_option(f"#pick-{name}", last)
        visit.settle(script)
        seen.append(visit.picture())
    assert len(set(seen)) == len(seen)


def test_swipe_shows_one_method_at_each_end(visit):
    visit.tab.select_option("#pick-left", "TV")
    visit.tab.select_option("#pick-right", "medinr")
    both = visit.picture()
    visit.tab.fill("#swipe", "100")
    left = visit.picture()
    visit.tab.fill("#swipe", "0")
    right = visit.picture()
    assert len({both, left, right}) == 3
    visit.tab.select_option("#pick-left", "medinr")
    visit.tab.fill("#swipe", "100")
    assert visit.picture() == right


def test_dragging_the_line_swipes_and_dragging_the_image_windows(visit):
    visit.tab.locator("#stage").scroll_into_view_if_needed()
    box = visit.tab.locator("#stage").bounding_box()
    middle = box["y"] + box["height"] / 2
    before = visit.picture()
    visit.tab.mouse.move(box["x"] + box["width"] / 2, middle)
    visit.tab.mouse.down()
    visit.tab.mouse.move(box["x"] + box["width"] / 4, middle, steps=3)
    visit.tab.mouse.up()
    assert visit.tab.input_value("#swipe") == "25"
    width = float(visit.tab.input_value("#width"))
    visit.tab.mouse.move(box["x"] + 0.6 * box["width"], middle)
    visit.tab.mouse.down()
    visit.tab.mouse.move(box["x"] + 0.8 * box["width"], middle, steps=3)
    visit.tab.mouse.up()
    assert float(visit.tab.input_value("#width")) > 1.2 * width
    assert visit.picture() != before
    assert "column" in visit.tab.text_content("#readout")


def test_window_and_level_act_on_both_sides_alike(visit):
    before = visit.picture()
    low, high = (float(visit.tab.get_attribute("#level", end)) for end in ("min", "max"))
    visit.tab.fill("#level", visit.tab.evaluate(f"String({low} + 0.3 * ({high} - {low}))"), force=True)
    after = visit.picture()
    assert after != before
    for side in ("left", "right"):
        visit.tab.select_option(f"#pick-{side}", "TV")
    visit.tab.fill("#swipe", "0")
    alone = visit.picture()
    visit.tab.fill("#swipe", "100")
    assert visit.picture() == alone


def test_overlays_have_fixed_scales(visit):
    plain = visit.picture()
    visit.tab.check("input[value=difference]")
    difference, scale = visit.picture(), visit.tab.text_content("#bar-high")
    visit.tab.select_option("#pick-left", "BM3D")
    visit.tab.fill("#width", visit.tab.get_attribute("#width", "max"))
    assert visit.tab.text_content("#bar-high") == scale
    visit.tab.check("input[value=uncertainty]")
    assert len({plain, difference, visit.picture()}) == 3
    assert "none from BM3D" in visit.tab.text_content("#bar-name")
    visit.tab.select_option("#pick-right", "reference")
    visit.tab.fill("#swipe", "0")
    shown = visit.picture()
    visit.tab.check("input[value=difference]")
    assert visit.picture() == shown  # the reference does not differ from itself


def test_keys_do_what_the_table_says(visit):
    visit.tab.focus("#stage")
    press = visit.tab.keyboard.press
    press("ArrowRight")
    assert visit.tab.input_value("#swipe") == "55"
    press("+")
    press("+")
    assert visit.tab.input_value("#zoom") == "1.5"
    zoomed = visit.picture()
    press("Shift+ArrowRight")
    assert visit.picture() != zoomed
    press("-")
    width = float(visit.tab.input_value("#width"))
    press("]")
    assert float(visit.tab.input_value("#width")) > width
    left, right = visit.tab.input_value("#pick-left"), visit.tab.input_value("#pick-right")
    press("a")
    press("b")
    assert visit.tab.input_value("#pick-left") != left
    assert visit.tab.input_value("#pick-right") != right
    press("d")
    assert visit.tab.is_checked("input[value=difference]")
    press("ArrowUp")
    visit.settle("() => document.getElementById('canvas').ariaLabel.includes('slice 1')")
    press("ArrowDown")
    visit.settle("() => document.getElementById('canvas').ariaLabel.includes('slice 0')")
    press("0")
    assert (visit.tab.input_value("#zoom"), visit.tab.input_value("#swipe")) == ("1", "50")
    assert visit.tab.is_checked("input[value=none]")


def test_convergence_and_sampling_follow_the_slice(visit):
    shown = visit.tab.locator("#convergence [data-case]:visible")
    assert shown.count() == 1
    before = shown.text_content()
    visit.tab.select_option("#pick-task", "ct_sparse_60")
    visit.settle("() => document.getElementById('canvas').ariaLabel.includes('CT')")
    assert shown.count() == 1
    assert shown.text_content() != before
    assert "60 views" in visit.tab.locator("#sampling [data-case]:visible").text_content()


def test_the_theme_follows_the_system_and_the_button(visit):
    back = "() => getComputedStyle(document.body).backgroundColor"
    light = visit.tab.evaluate(back)
    visit.tab.emulate_media(color_scheme="dark")
    dark = visit.tab.evaluate(back)
    assert light != dark
    visit.tab.click("#theme")
    assert visit.tab.evaluate(back) == light
    visit.tab.click("#theme")
    visit.tab.emulate_media(color_scheme="light")
    assert visit.tab.evaluate(back) == dark


@pytest.mark.parametrize("width", [360, 390, 768])
def test_a_phone_needs_no_sideways_scrolling(open_visit, page_file, width):
    visit = open_visit(page_file, viewport={"width": width, "height": 800}, is_mobile=True, has_touch=True)
    assert visit.tab.evaluate("document.documentElement.scrollWidth") <= width
    assert visit.tab.is_checked("input[value=swipe]")
    assert visit.greys() > 20
    visit.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(open_visit, page_file, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    # The policy forbids foreign scripts, axe among them.
    visit = open_visit(page_file, color_scheme=scheme, bypass_csp=True)
    visit.tab.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    visit.tab.check("input[value=difference]")
    found = axe.Axe().run(visit.tab).response["violations"]
    visit.context.close()
    assert [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in found] == []


def test_it_prints(browser, folder, tmp_path):
    page, printed = report(folder, tmp_path / "page.html", pdf=True)
    assert printed == tmp_path / "page.pdf"
    content = printed.read_bytes()
    assert content.startswith(b"%PDF-")
    assert content.count(b"/Type /Page") > 1
    assert page.is_file()
