"""A browser for tests of the page; without one the modules that import this are skipped."""

import shutil
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
# What comes is waited for, however busy the machine is.
LONGEST_MS = 600_000
expect.set_options(timeout=LONGEST_MS)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SCREENSHOTS = Path("test-output/screenshots")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")


def column(page, key):
    """Return the texts of a column of the table."""
    index = page.evaluate("key => document.querySelector(`th[data-key=${key}]`).cellIndex", key)
    return [row.locator("td").nth(index).inner_text() for row in page.locator("#trials tbody tr").all()]


def trials_shown(page):
    return column(page, "study")


def chart_at_rest(page):
    """Wait until the chart has the width that the panel leaves it, and no trial is chosen: its points move no more."""
    page.wait_for_function("""() => {
        const area = document.getElementById("front");
        return area._fullLayout.width === area.clientWidth && area.data.at(-1).x.length === 0;
    }""")
