# SPDX-License-Identifier: AGPL-3.0-or-later
"""The desk in a real browser, on records of a real run: pages, keys, clicks, sizes, and where requests go."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import ZipFile

import pytest
from playwright.async_api import Page, Request, async_playwright
from tests.e2e.conftest import LineRun
from tests.fakes.desk_browser import CHROMIUM, desk_links, needs_chromium

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    needs_chromium,
]

SHIFTS = '[shifts]\ntimezone = "Europe/Berlin"\nstart = ["06:00", "14:00", "22:00"]\n'
PAGES = {
    "/": "Inspected",
    "/events": "Events",
    "/cameras": "Cameras",
    "/cases": "Cases",
    "/report": "Report",
    "/trail": "Trail",
}


@dataclass
class OpenDesk:
    """A desk that runs, its address, its link that nobody used, and what a browser complained about."""

    address: str
    link: str
    run: LineRun
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> LineRun:
    """Return a run of two cameras, and of one that nobody answers for, that has ended."""
    run = LineRun(tmp_path_factory.mktemp("desk"), 2)
    run.write_streams(run.names, f'[[stream]]\nname = "dead"\nurl = "rtsp://127.0.0.1:9/none"\n{SHIFTS}')
    run.run("--duration", "15", within_s=200)
    assert run.query("SELECT count(*) FROM events")[0][0] > 3, run.text()[-2000:]
    return run


@pytest.fixture(scope="module")
def links(recorded: LineRun) -> Iterator[Iterator[str]]:
    """Yield what gives the next link of a desk over the run's records: each opens it once."""
    with desk_links(recorded.records) as links:
        yield links


@pytest.fixture
def desk(recorded: LineRun, links: Iterator[str]) -> OpenDesk:
    """Return the desk over the run's records."""
    link = next(links)
    return OpenDesk(link.partition("/enter")[0], link, recorded)


@pytest.fixture
async def page(desk: OpenDesk) -> AsyncIterator[Page]:
    """Yield a page that is signed in; afterwards it has asked nobody else, and nothing has failed in it."""

    def note(request: Request) -> None:
        if not request.url.startswith((desk.address, "data:", "blob:")):
            desk.complaints.append(f"asked {request.url}")

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        shown = await browser.new_page()
        shown.on("console", lambda message: desk.complaints.append(message.text))
        shown.on("pageerror", lambda error: desk.complaints.append(str(error)))
        shown.on("request", note)
        await shown.goto(desk.link)
        yield shown
        await browser.close()
    assert not desk.complaints


async def test_each_page_fits_each_screen_in_both_schemes(page: Page, desk: OpenDesk) -> None:
    """Nothing sticks out at the width of a phone; no page asks another server; no script or style is refused."""
    for path, section in PAGES.items():
        for width in (360, 1280, 1920):
            await page.set_viewport_size({"width": width, "height": 900})
            await page.emulate_media(color_scheme="dark" if width == 1280 else "light")
            answer = await page.goto(desk.address + path)
            assert answer is not None
            assert answer.status == 200
            assert await page.inner_text("nav [aria-current=page]") == section
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)


async def test_the_first_page_is_proof_of_inspection(page: Page, desk: OpenDesk) -> None:
    """A bar for each camera with something inspected in it, and the run's own figures."""
    await page.goto(desk.address)
    for name in desk.run.names:
        assert await page.locator(f"svg.bar[aria-label^='{name}'] .inspected").count()
    shown = await (await page.request.get(f"{desk.address}/api/v1/coverage?last=1h")).json()
    by_camera = {camera["time"]["camera"]: camera["time"]["covered"] for camera in shown["cameras"]}
    for camera in desk.run.summary()["cameras"]:
        found = by_camera[camera["name"]]
        assert {cause: round(s, 3) for cause, s in found["not_inspected_s"].items()} == camera["not_inspected_s"]
        assert abs(found["due_s"] - camera["inspection_due_s"]) < 0.5  # by the wall clock of its rows


async def test_this_shift_and_the_one_before_by_keys(page: Page, desk: OpenDesk) -> None:
    """On the plant's clock, which the page names."""
    await page.goto(desk.address)
    await page.keyboard.press("s")
    await page.wait_for_url("**/?shift=this")
    this = await page.inner_text("h1")
    assert this.startswith("Shift ")
    await page.keyboard.press("p")
    await page.wait_for_url("**/?shift=last")
    assert await page.inner_text("h1") != this
    assert "times are Europe/Berlin" in await page.inner_text("footer")


async def test_a_click_on_a_gap_shows_the_states_around_it(page: Page, desk: OpenDesk) -> None:
    await page.goto(desk.address)
    await page.locator("table.gaps a").first.click()
    await page.wait_for_url("**/cameras/*")
    assert await page.inner_text("h1") == "dead"
    assert "REFUSED" in await page.inner_text("main")


async def until(page: Page, expression: str) -> None:
    """Wait until it is true. The page's policy forbids what `wait_for_function` does between two tries."""
    for _ in range(400):
        if await page.evaluate(expression):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not true within 40 s: {expression}")


async def test_from_the_gallery_to_an_event_and_its_neighbour_by_keys(page: Page, desk: OpenDesk) -> None:
    """The images load, the enlarged one too."""
    await page.goto(desk.address)
    await page.keyboard.press("e")
    await page.wait_for_url("**/events")
    async with page.expect_navigation(url="**/events?camera=*"):
        await page.select_option("select[name=camera]", desk.run.names[0])
    assert {text.split()[0] for text in await page.locator(".tile .where").all_inner_texts()} == {desk.run.names[0]}
    await page.locator(".tile a").first.click()
    await page.wait_for_selector("img.crop")
    await until(page, "[...document.images].filter((one) => one.loading !== 'lazy').every((one) => one.naturalWidth)")
    first = page.url
    await page.keyboard.press("ArrowLeft")
    await page.wait_for_url(lambda url: url != first and "/events/" in url)


async def test_a_key_in_a_field_is_text(page: Page, desk: OpenDesk) -> None:
    await page.goto(f"{desk.address}/events")
    await page.focus("select[name=class]")
    await page.keyboard.press("c")
    assert page.url.endswith("/events")


async def test_signing_out(page: Page, desk: OpenDesk) -> None:
    await page.goto(desk.address)
    await page.click("text=Sign out")
    await page.wait_for_url("**/enter")
    desk.complaints.clear()  # the browser says that it got 401
    answer = await page.goto(desk.address)
    assert answer is not None
    assert answer.status == 401
    desk.complaints.clear()


def checked_sums(folder: Path) -> str:
    """Return what another program says of the files of an archive; each of them holds."""
    command = ["sha256sum", "-c", "SHA256SUMS"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


async def test_three_events_by_keys_are_a_case_that_is_handed_over(page: Page, desk: OpenDesk, tmp_path: Path) -> None:
    """From the gallery to an archive that another program checks, without a mouse; its first page asks for nothing."""
    await page.goto(f"{desk.address}/events")
    for key in ("j", "x", "j", "x", "j", "x", "n"):
        await page.keyboard.press(key)
    assert await page.inner_text("[data-picked]") == "3 selected"
    await page.keyboard.type("Claim 4711")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/cases/1")
    assert await page.locator(".tile").count() == 3
    await page.keyboard.press("d")
    await page.wait_for_selector("a[download]", timeout=60_000)
    async with page.expect_download() as started:
        await page.keyboard.press("d")
    archive = tmp_path / "case.zip"
    await (await started.value).save_as(archive)
    with ZipFile(archive) as found:
        found.extractall(tmp_path)
    assert checked_sums(tmp_path / "case-1").count("image.jpg: OK") == 3
    desk.address = (tmp_path / "case-1").as_uri()  # from here on nothing but the archive may be asked
    await page.goto(f"{desk.address}/index.html")
    assert "The record was what was written" in await page.inner_text(".banner")
    await until(page, "document.images.length >= 12 && document.images[0].naturalWidth > 0")
