"""One self-contained HTML file from a run directory, or from several."""

from quickstudy.reporting.page import compare_page, report_page
from quickstudy.reporting.summary import RunSummary, load_summary

__all__ = ["RunSummary", "compare_page", "load_summary", "report_page"]
