# SPDX-License-Identifier: AGPL-3.0-or-later
"""The first page left open, in a real browser: it goes on saying how it is now, or says that it does not."""

from __future__ import annotations

import time
from pathlib import Path

from playwright.async_api import Page, Request, expect
from tests.fakes.desk_browser import WINDOW, desk_link, needs_chromium, signed_in_page
from tests.fakes.desk_records import BEGAN_UTC, writing

pytestmark = needs_chromium

SINCE = "input[name=since]"


def begin(records: Path) -> int:
    """Add a run that goes on now; return its number."""
    now_s = time.time() - BEGAN_UTC
    with writing(records) as rows:
        run = rows.run(now_s - 600, None, "cam01", "cam02", alive_s=now_s)
        for minute in range(1, 9):
            rows.minute(run, "cam01", (time.time() - 60 * minute) // 60 * 60 - BEGAN_UTC, 90)
        return run


def lose(records: Path, run: int, camera: str) -> None:
    """Have a camera of the run fail from now on."""
    now_s = time.time() - BEGAN_UTC
    with writing(records) as rows:
        rows.gap(run, camera, "camera:STALE", now_s - 1, None)
        rows.connection.execute("UPDATE runs SET alive_utc = ?", (BEGAN_UTC + now_s,))


async def pass_by(page: Page, seconds: int) -> None:
    """Let time pass for the page alone."""
    await page.clock.fast_forward(seconds * 1000)


async def test_a_page_that_is_left_open_says_how_it_is_now(tmp_path: Path) -> None:
    """Also one of a time that is over, after a click, while somebody types, and after the desk was away for a while."""
    run = begin(tmp_path)
    asked: list[Request] = []
    with desk_link(tmp_path) as link:
        async with signed_in_page(link, WINDOW, is_silent=False) as page:
            page.on("request", lambda request: asked.append(request) if request.resource_type == "fetch" else None)
            await page.clock.install()
            await page.goto("/?day=2026-01-01")
            now = page.locator(".now")
            await expect(now).to_contain_text("Every camera of the run is inspected now")
            lose(tmp_path, run, "cam01")
            await pass_by(page, 61)
            await expect(now.locator(".alarm-line")).to_contain_text("cam01 not inspected")
            await page.get_by_text("other time").click()
            lose(tmp_path, run, "cam02")
            await pass_by(page, 61)
            await expect(now.locator(".alarm-line")).to_contain_text("cam02")
            await expect(page.locator(SINCE)).to_be_visible()
            await expect(page.locator("main.old-rest")).to_have_count(0)  # untouched, so the figures came anew too
            assert [("x-desk-renewal" in one.headers) for one in asked] == [True, False]

            await page.fill(SINCE, "2026-02-02T10:00")
            with writing(tmp_path) as rows:
                rows.connection.execute("UPDATE runs SET ended_utc = alive_utc")
            await pass_by(page, 61)
            await expect(now).to_contain_text("No program runs")
            assert await page.input_value(SINCE) == "2026-02-02T10:00"
            await page.fill(SINCE, "2026-01-01T00:00")

            await page.route("**/?day=*", lambda route: route.abort())
            await pass_by(page, 61)
            await pass_by(page, 65)
            await expect(page.get_by_role("alert").first).to_contain_text(
                "the desk does not answer. What it says may be"
            )
            await expect(now).to_have_class("now old")
            await page.unroute("**/?day=*")
            begin(tmp_path)
            await pass_by(page, 11)
            await expect(now).to_contain_text("Every camera of the run is inspected now")
            await expect(now).to_have_class("now")
            await expect(page.get_by_text("was not renewed")).to_have_count(0)

            await page.context.clear_cookies()
            await pass_by(page, 61)
            await expect(page.get_by_text("Open the link in the terminal")).to_be_visible()


async def test_a_desk_that_waits_for_records_shows_them(tmp_path: Path) -> None:
    with desk_link(tmp_path) as link:
        async with signed_in_page(link, WINDOW, is_silent=False) as page:
            await page.clock.install()
            await page.goto("/")
            await expect(page.locator("h1")).to_have_text("Nothing is recorded yet")
            begin(tmp_path)
            await pass_by(page, 6)
            await expect(page.locator(".now")).to_contain_text("is inspected now")
