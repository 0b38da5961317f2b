# SPDX-License-Identifier: AGPL-3.0-or-later
"""Charts of parts by a person in a real browser of a phone's size: along the points by keys, and one approval."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from tests.fakes.chart_parts import BEGAN_UTC, HOUR_S, HourOfParts, pass_hours, usual_hours
from tests.fakes.desk_browser import PHONE, desk_link, needs_chromium, signed_in_page
from tests.fakes.desk_records import BEGAN_UTC as RECORDS_UTC
from tests.fakes.desk_records import writing

pytestmark = needs_chromium


@pytest.fixture
def link(tmp_path: Path) -> Iterator[str]:
    """Yield the link to a desk over 40 hours of a lane, the last but one not inspected."""
    with writing(tmp_path) as rows:
        begins_s = BEGAN_UTC - RECORDS_UTC
        rows.run(begins_s, begins_s + 40 * HOUR_S, "cam01")
    pass_hours(tmp_path, [*usual_hours(38, parts=30), HourOfParts(38, 0, 0, 5), HourOfParts(39, 30, 2)])
    with desk_link(tmp_path) as link:
        yield link


@pytest.fixture
async def page(link: str) -> AsyncIterator[Page]:
    """Yield a page of a phone's size that is signed in; afterwards nothing has failed in it."""
    async with signed_in_page(link, PHONE) as page:
        yield page


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_baseline_of_parts_is_approved_by_keys(page: Page, scheme: str) -> None:
    """Nothing is wider than a phone, the newest points are in sight, and what was not inspected is said."""
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await page.keyboard.press("u")
    await page.wait_for_url("**/parts")
    await page.keyboard.press("m")
    await page.wait_for_url("**/charts/parts?**")
    await expect(page.get_by_role("heading", name="Rejected parts and yield")).to_be_visible()
    await expect(page.get_by_text("none of 5 parts was inspected")).to_be_visible()
    for chart in ("p chart of rejected by inspected parts", "first-pass yield with exact 95 % limits"):
        points = page.locator(f".rate-chart[aria-label^='{chart}'] a.point")
        await points.last.focus()
        await expect(points.last).to_be_in_viewport()
        await page.keyboard.press("ArrowLeft")
        focused = points.nth(await points.count() - 2)
        await expect(focused).to_be_focused()
        assert await page.locator(".readout").inner_text() == await focused.locator("title").text_content()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await page.get_by_role("heading", name="What these alarms are worth").click()
    await page.keyboard.press("b")
    await page.wait_for_url("**/baseline?**")
    await expect(page.get_by_role("heading", name="A baseline for lane a")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await page.keyboard.press("y")
    await expect(page.get_by_text("owner approved them on")).to_be_visible()
    await expect(page.get_by_text("watches 1 approved baseline")).to_be_visible()
