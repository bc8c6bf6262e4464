"""A report's page in a browser's tab."""

import hashlib

import pytest

from medinr.report.browser import find_chromium


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    executable = find_chromium()
    if executable is None:
        pytest.skip("needs Chromium: install it, or name it in MEDINR_CHROMIUM")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """The page in a tab, with everything it asked for and said."""

    def __init__(self, browser, path, **how):
        how = {"viewport": {"width": 1200, "height": 900}, "color_scheme": "light"} | how
        self.context = browser.new_context(**how)
        self.tab = self.context.new_page()
        self.requests, self.said = [], []
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.address = path.as_uri()
        self.tab.goto(self.address)
        self.tab.wait_for_selector("html[data-ready]")

    def picture(self):
        """Hash of what the canvas shows."""
        pixels = self.tab.evaluate("document.getElementById('canvas').toDataURL()")
        return hashlib.sha256(pixels.encode()).hexdigest()

    def greys(self):
        """How many different pixels the canvas shows."""
        return self.tab.evaluate(
            """() => { const c = document.getElementById("canvas");
            const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
            return new Set(new Uint32Array(d.buffer)).size; }"""
        )

    def settle(self, script):
        self.tab.wait_for_function(script)

    def was_silent(self):
        """It asked for nothing but itself and said nothing on the console."""
        assert self.said == []
        assert self.requests == [self.address]


@pytest.fixture(scope="session")
def open_visit(browser):
    """Opens a page: ``open_visit(path, color_scheme="dark")``."""
    return lambda path, **how: Visit(browser, path, **how)
