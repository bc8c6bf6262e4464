"""One HTML file of an evaluation folder: it opens anywhere, without a network, and shows every picture."""

from medinr.evaluate.report.page import report_page
from medinr.evaluate.report.pictures import Budget

__all__ = ["Budget", "report_page"]
