"""An evaluation folder as one HTML file, which opens without a network."""

from medinr.report.page import report_page
from medinr.report.pictures import Budget

__all__ = ["Budget", "report_page"]
