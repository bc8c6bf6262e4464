"""Printing a page to PDF by an installed Chromium, without a window and without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from medinr.errors import LibraryError, MedinrError

#: Names of the Chromium program; the environment variable takes precedence.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
VARIABLE = "MEDINR_CHROMIUM"

_SECONDS = 180


def find_chromium() -> str | None:
    """Find Chromium or Chrome: the program that ``MEDINR_CHROMIUM`` names, else one on the path."""
    named = os.environ.get(VARIABLE)
    if named:
        return shutil.which(named)
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def print_pdf(page: Path, pdf: Path) -> None:
    """Print a page to PDF.

    Raises
    ------
    LibraryError
        When there is no Chromium.
    MedinrError
        When it fails.
    """
    browser = find_chromium()
    if browser is None:
        raise LibraryError(
            f"A PDF needs Chromium or Chrome; none of {', '.join(NAMES)} is installed. Install one, name it in "
            f"{VARIABLE}, or open the HTML file in any browser and print it."
        )
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            f"--user-data-dir={profile}",
            "--no-pdf-header-footer",
            "--virtual-time-budget=10000",
            f"--print-to-pdf={pdf.resolve()}",
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # Chromium's sandbox refuses to run as root, as in most containers; this page loads nothing.
            command.append("--no-sandbox")
        try:
            done = subprocess.run(
                [*command, page.resolve().as_uri()], capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MedinrError(f"{browser} could not print {page.name} ({error}). Print it from a browser.") from error
    if done.returncode or not pdf.is_file():
        said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise MedinrError(f"{browser} did not print {page.name}: {said[0]}. Print it from a browser.")
