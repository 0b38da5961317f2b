# SPDX-License-Identifier: AGPL-3.0-or-later
"""A baseline by a person in a real browser: along the points by keys, one excluded, approved, and withdrawn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from tests.fakes.chart_records import ChartLine, made_line
from tests.fakes.desk_browser import PHONE, desk_link, needs_chromium, signed_in_page

pytestmark = needs_chromium


@pytest.fixture
def link(tmp_path: Path) -> Iterator[str]:
    """Yield the link to a desk over ten days of a camera."""
    made_line(tmp_path, ChartLine(10))
    with desk_link(tmp_path) as link:
        yield link


@pytest.fixture
async def page(link: str) -> AsyncIterator[Page]:
    """Yield a page of a phone's size that is signed in; afterwards nothing has failed in it."""
    async with signed_in_page(link, PHONE) as page:
        yield page


async def test_a_baseline_is_approved_seen_and_withdrawn(page: Page) -> None:
    """By keys where there are some; nothing is wider than a phone; the limits stay as they were approved."""
    await page.keyboard.press("g")
    await expect(page.get_by_text("Limits from this data, not approved")).to_be_visible()
    await page.goto("/charts?camera=cam01&period=hour")
    points = page.locator(".rate-chart a.point")
    await points.last.focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight"):
        await page.keyboard.press(key)
    focused = points.nth(await points.count() - 2)
    await expect(focused).to_be_focused()
    assert await page.locator(".readout").inner_text() == await focused.locator("title").text_content()
    await page.keyboard.press("b")
    await expect(page.get_by_role("heading", name="A baseline for camera cam01")).to_be_visible()
    await points.last.focus()
    await page.keyboard.press("Home")
    await page.keyboard.press("x")
    await page.keyboard.type("a pallet fell")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("(excluded)")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    suggested = await page.get_by_text("an inspected hour, 3 sigma").inner_text()
    await page.get_by_role("heading", name="Approve").click()
    await page.keyboard.press("y")
    await expect(page.get_by_text("owner approved them on")).to_be_visible()
    mean = suggested.split()[1]
    await expect(page.get_by_text(f"without 1 excluded: mean {mean},")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await page.get_by_label("Why").fill("a new lamp")
    await page.get_by_role("button", name="Withdraw it").click()
    await expect(page.get_by_text("owner withdrew it: a new lamp")).to_be_visible()
    await expect(page.get_by_text("Limits from this data, not approved")).to_be_visible()
