# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line report` on a shift of 16 cameras and 500 events: its size, what it is in a browser, its exit codes."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import async_playwright
from tests.fakes.shift_records import made_shift

from vision_line.errors import ExitCode
from vision_line.records.schema import FILE_NAME

CHROMIUM = Path("/usr/bin/chromium")
#: What an e-mail takes.
MOST_BYTES = 6_000_000
PAGE_WIDTHS = (360, 794, 1280)


def report(record: Path, output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "vision_line", "report", "--record", str(record), "-o", str(output), *options]
    return subprocess.run(command, text=True, capture_output=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the records of a shift."""
    folder = tmp_path_factory.mktemp("shift")
    made_shift(folder)
    return folder


@pytest.fixture(scope="module")
def page(shift: Path) -> Path:
    """Return its report, from a folder beside the records."""
    output = shift.parent / "early.html"
    done = report(shift, output, "--shift", "2026-11-28/early")
    assert done.returncode == ExitCode.DONE, done.stderr
    assert "Shift 2026-11-28/early" in done.stdout
    return output


def test_it_is_small_enough_to_be_sent(page: Path) -> None:
    """Sixty of its 400 rejects are shown, from images of 640 by 480 pixels."""
    assert 200_000 < page.stat().st_size <= MOST_BYTES


@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's package chromium")
async def test_a_browser_asks_nobody_and_prints_a4(page: Path) -> None:
    """Every image is there, nothing sticks out of a phone or a sheet, and each printed page has its number."""
    asked: list[str] = []
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        shown = await browser.new_page(java_script_enabled=True)
        shown.on("request", lambda request: asked.append(request.url))
        shown.on("console", lambda message: complaints.append(message.text))
        await shown.goto(page.as_uri())
        images = await shown.evaluate("[...document.images].map((one) => one.naturalWidth)")
        for width in PAGE_WIDTHS:
            await shown.set_viewport_size({"width": width, "height": 900})
            assert await shown.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        printed = await shown.pdf(prefer_css_page_size=True)
        await browser.close()
    assert len(images) == 60
    assert all(width == 240 for width in images)
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
    assert not complaints
    sheets = re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", printed)
    assert len(sheets) >= 3
    assert {(round(float(width)), round(float(height))) for width, height in sheets} == {(595, 842)}


def test_records_that_are_not_what_was_written_end_with_5(tmp_path: Path) -> None:
    """The report is written all the same, and says so."""
    made_shift(tmp_path, cameras=2, events=1, images=False)
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("UPDATE journal SET body = '{}' WHERE kind = 'configuration'")
    connection.close()
    output = tmp_path.parent / "broken.html"
    done = report(tmp_path, output, "--last", "1h", "--verify")
    assert done.returncode == ExitCode.BROKEN
    assert "These records are not what was written" in output.read_text(encoding="utf-8")


def test_what_cannot_be_done_is_one_sentence(tmp_path: Path, shift: Path) -> None:
    """No records, no folder of records, none for the output, and an output that is the record file itself."""
    for done, problem in (
        (report(tmp_path, tmp_path / "a.html"), "found no records.sqlite"),
        (
            report(tmp_path / "gone", tmp_path / "a.html"),
            "run it where the line ran, or name the folder with --record",
        ),
        (report(shift, tmp_path / "none" / "a.html"), "there is no folder"),
        (report(shift, shift / FILE_NAME), "records"),
    ):
        assert done.returncode == ExitCode.CONFIG
        assert problem in done.stderr
        assert "Traceback" not in done.stderr
