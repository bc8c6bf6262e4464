"""Evaluation in, one HTML file out; on request its print and figures for papers."""

from __future__ import annotations

from pathlib import Path

from medinr.io.atomic import atomic_path, write_text
from medinr.jobs.evaluate.results import Results
from medinr.report import Budget, report_page


def report(
    folder: Path,
    out: Path,
    *,
    title: str = "Evaluation",
    budget: Budget | None = None,
    pdf: bool = False,
    figures: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Write the report of an evaluation.

    Parameters
    ----------
    folder : Path
        What `medinr evaluate` filled.
    out : Path
        HTML file.
    title : str
        Heading of the page.
    budget : Budget, optional
        For the pictures.
    pdf : bool
        Also print it, by an installed Chromium, beside the HTML file.
    figures : bool
        Also draw PNG and SVG files, in a folder beside the HTML file named ``<stem>_figures``.
    overwrite : bool
        Replace finished outputs.

    Returns
    -------
    list of Path
        What was written: the page, then the PDF, then the figures.

    Raises
    ------
    FileError
        When the folder is no evaluation, or is empty.
    OutputExistsError
        When an output exists and `overwrite` is not set.
    LibraryError
        When a PDF is asked for and there is no Chromium.
    """
    results = Results.read(folder)
    written = [write_text(out, report_page(results, title=title, budget=budget), overwrite)]
    if pdf:
        from medinr.report.browser import print_pdf

        printed = out.with_suffix(".pdf")
        with atomic_path(printed, overwrite) as partial:
            print_pdf(out, partial)
        written.append(printed)
    if figures:
        from medinr.report.paper_figures import paper_figures

        drawn = out.with_name(f"{out.stem}_figures")
        with atomic_path(drawn, overwrite) as partial:
            names = [path.name for path in paper_figures(results, partial)]
        written += [drawn / name for name in names]
    return written
