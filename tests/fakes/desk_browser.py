# SPDX-License-Identifier: AGPL-3.0-or-later
"""A desk as a process of its own, and a page of it in Debian's Chromium."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page, ViewportSize, async_playwright, expect
from tests.fakes.ports import free_port
from tests.fakes.waiting import WAIT_S

CHROMIUM = Path("/usr/bin/chromium")

needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's package chromium")

expect.set_options(timeout=1000 * WAIT_S)  # instead of 5 s

PHONE: ViewportSize = {"width": 360, "height": 740}
WINDOW: ViewportSize = {"width": 1000, "height": 900}


@contextmanager
def desk_links(records: Path) -> Iterator[Iterator[str]]:
    """Run `vision-line desk` over `records`, and yield what gives the next link that it says: each opens it once."""
    command = [sys.executable, "-m", "vision_line", "desk", "--record", str(records)]
    with subprocess.Popen(
        [*command, "--listen", f"127.0.0.1:{free_port()}"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield (said.split()[-1] for said in process.stdout)
        process.terminate()
        assert process.wait(60) == 130


@contextmanager
def desk_link(records: Path) -> Iterator[str]:
    """Run `vision-line desk` over `records`, and yield the link that it says."""
    with desk_links(records) as links:
        yield next(links)


@asynccontextmanager
async def signed_in_page(link: str, viewport: ViewportSize, *, is_silent: bool = True) -> AsyncIterator[Page]:
    """Yield a page that a link has signed in.

    Afterwards no script has failed in it, and if it has to be silent, nothing is in the browser's console.
    """
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM)
        shown = await browser.new_page(base_url=link.partition("/enter")[0], viewport=viewport)
        shown.set_default_timeout(1000 * WAIT_S)
        if is_silent:
            shown.on("console", lambda message: complaints.append(message.text))
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        await shown.goto(link)
        yield shown
        await browser.close()
    assert not complaints
