"""One HTML page."""

from pathlib import Path

from actionrnn.training.report import REPORT_FILE, Report

PAGE_FILE = "report.html"


def write_report(report: Report, folder: Path) -> None:
    """Write."""
    report.write(folder / REPORT_FILE)
