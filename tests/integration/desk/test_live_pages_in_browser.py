# SPDX-License-Identifier: AGPL-3.0-or-later
"""A page of live video that stays open, in a real browser: the line boots, the desk falls silent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.async_api import Page, WebSocketRoute, expect
from tests.fakes.desk_browser import WINDOW, desk_link, needs_chromium, signed_in_page
from tests.fakes.desk_records import writing

from vision_line.desk.live.live_updates import packed_binary

pytestmark = needs_chromium

RUNNING = {"name": "cam", "kind": "good", "state": "● running", "inspected": True, "words": "5.0 inspections a second"}
STATUS = json.dumps({"kind": "status", "runs": True, "headline": "", "alarms": [], "cameras": [RUNNING]})


def tile_message(at_s: float) -> bytes:
    """Return a tile of the camera `cam`, of a frame that arrived at `at_s` by the line's clock."""
    jpeg = cv2.imencode(".jpg", np.zeros((18, 32, 3), np.uint8))[1].tobytes()
    named = {"kind": "tile", "camera": "cam", "frame": str(at_s), "at": at_s, "size": (32, 18), "age_s": 0.1}
    return packed_binary(named, jpeg)


@pytest.fixture
def link(tmp_path: Path) -> Iterator[str]:
    """Yield the link of a desk over the records of one camera."""
    with writing(tmp_path) as rows:
        rows.run(0, 600, "cam")
    with desk_link(tmp_path) as link:
        yield link


@pytest.fixture
async def page(link: str) -> AsyncIterator[Page]:
    """Yield a page that is signed in; nothing fails in it."""
    async with signed_in_page(link, WINDOW, is_silent=False) as page:
        yield page


@pytest.fixture
async def sockets(page: Page) -> list[WebSocketRoute]:
    """Return the WebSockets that pages open from now on, which say only what a test has them say."""
    opened: list[WebSocketRoute] = []

    def take(socket: WebSocketRoute) -> None:
        opened.append(socket)

    await page.route_web_socket("**/api/v1/live/**", take)
    return opened


async def test_a_line_that_has_booted_is_shown(page: Page, sockets: list[WebSocketRoute]) -> None:
    """Its monotonic clock began anew: what comes now is newer for all that."""
    await page.goto("/live")
    await expect(page.locator("#live-waits")).to_be_visible()
    for at_s in (900_000.0, 12.0):
        sockets[0].send(STATUS)
        sockets[0].send(tile_message(at_s))
        await page.wait_for_selector(f".live-tile[data-frame='{at_s}']")


async def test_a_desk_that_falls_silent_is_not_reached(page: Page, sockets: list[WebSocketRoute]) -> None:
    """No event tells of a desk that hangs or of a cut cable: the page does not go on to say `running`."""
    await page.clock.install()
    await page.goto("/live")
    await expect(page.locator("#live-waits")).to_be_visible()
    sockets[0].send(STATUS)
    sockets[0].send(tile_message(5.0))
    await page.wait_for_selector(".live-tile:not(.dead)")
    await page.clock.fast_forward(13_000)
    await page.wait_for_selector(".live-tile.dead")
    await expect(page.locator("#live-waits")).to_contain_text("The desk is not reached")


async def test_what_the_line_says_of_itself_is_short_and_alarms_are_behind_their_number(
    page: Page, sockets: list[WebSocketRoute]
) -> None:
    """On a phone they were one long grey sentence."""
    await page.goto("/live")
    await expect(page.locator("#live-waits")).to_be_visible()
    said = {**json.loads(STATUS), "headline": "■ 1 OF 2 NOT INSPECTED", "alarms": ["cam02 is dead", "the disk is full"]}
    sockets[0].send(json.dumps(said))
    await expect(page.locator("#live-headline > .alarm-line")).to_have_text("■ 1 OF 2 NOT INSPECTED")
    await expect(page.locator("#live-headline summary")).to_have_text("2 alarms")
    await page.locator("#live-headline summary").click()
    await expect(page.get_by_text("▲ the disk is full")).to_be_visible()
