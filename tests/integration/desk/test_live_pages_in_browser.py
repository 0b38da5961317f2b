# SPDX-License-Identifier: AGPL-3.0-or-later
"""A page of live video that stays open, in a real browser: the line boots, the desk falls silent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Literal

import cv2
import numpy as np
import pytest
from playwright.async_api import Page, WebSocketRoute, expect
from tests.fakes.desk_browser import WINDOW, desk_links, needs_chromium, signed_in_page
from tests.fakes.desk_records import writing

from vision_line.desk.live.live_updates import packed_binary

pytestmark = needs_chromium

RUNNING = {"name": "cam", "kind": "good", "state": "● running", "inspected": True, "words": "5.0 inspections a second"}
STATUS = json.dumps({"kind": "status", "runs": True, "headline": "", "alarms": [], "cameras": [RUNNING]})
#: Keeps what is written into a canvas.
WRITTEN = """
window.written = [];
const write = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (words, ...where) {
  window.written.push(words);
  return write.call(this, words, ...where);
};
"""
VERDICTS = (("dent", "reject"), ("spur", None), ("open", "warn"), ("short", "accept"), ("hole", "reject"))


def tile_message(at_s: float) -> bytes:
    """Return a tile of the camera `cam`, of a frame that arrived at `at_s` by the line's clock."""
    jpeg = cv2.imencode(".jpg", np.zeros((18, 32, 3), np.uint8))[1].tobytes()
    named = {"kind": "tile", "camera": "cam", "frame": str(at_s), "at": at_s, "size": (32, 18), "age_s": 0.1}
    return packed_binary(named, jpeg)


def boxes_message(at_s: float, *found: tuple[str, str | None]) -> str:
    """Return the boxes of that frame, of these classes and verdicts, side by side."""
    boxes = [
        {"class": name, "score": 0.9, "box": [20 + 120 * n, 150, 90 + 120 * n, 250], "verdict": verdict}
        for n, (name, verdict) in enumerate(found)
    ]
    named = {"kind": "boxes", "camera": "cam", "frame": str(at_s), "at": at_s, "size": (640, 360)}
    return json.dumps({**named, "boxes": boxes})


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[str]]:
    """Yield what gives the next link of a desk over the records of one camera."""
    records = tmp_path_factory.mktemp("records")
    with writing(records) as rows:
        rows.run(0, 600, "cam")
    with desk_links(records) as links:
        yield links


@pytest.fixture
async def page(links: Iterator[str]) -> AsyncIterator[Page]:
    """Yield a page that is signed in; nothing fails in it."""
    async with signed_in_page(next(links), WINDOW, is_silent=False) as page:
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


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
async def test_the_verdict_of_each_box_needs_no_colour(
    page: Page, sockets: list[WebSocketRoute], width: int, scheme: Literal["light", "dark"]
) -> None:
    """By a sign at the box, in words where there is room; the worst of a frame in words at any size."""
    await page.emulate_media(color_scheme=scheme)
    await page.set_viewport_size({"width": width, "height": 800})
    await page.add_init_script(WRITTEN)
    await page.goto("/live")
    await expect(page.locator("#live-waits")).to_be_visible()
    sockets[0].send(STATUS)
    sockets[0].send(tile_message(5.0))
    await page.wait_for_selector(".live-tile[data-frame='5.0']")
    verdict = page.locator(".live-verdict")
    await expect(verdict).to_be_hidden()  # nobody inspected this frame, as far as is known
    for found, words in (
        (VERDICTS, "■ 2 reject"),
        (VERDICTS[1:4], "▲ 1 warn"),
        ([("spur", None), ("short", "accept")], "○ 1 accept"),
        ([("spur", None)], "? 1 undecided"),
        ([], "nothing found"),
    ):
        sockets[0].send(boxes_message(5.0, *found))
        await expect(verdict).to_have_text(words)
    signs = {words.partition(" ")[0] for words in await page.evaluate("window.written")}
    assert signs == {"■", "▲", "○", "?"}
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    sockets[0].send(json.dumps({**json.loads(STATUS), "cameras": [{**RUNNING, "inspected": False}]}))
    await expect(verdict).to_be_hidden()  # what was found before is not what is there now


async def test_the_verdict_in_focus(page: Page, sockets: list[WebSocketRoute]) -> None:
    """Of a camera that a browser cannot play too: it has keyframes alone."""
    await page.add_init_script(WRITTEN)
    await page.goto("/live/cam")
    await expect(page.locator(".live-age")).to_have_text("waiting for a keyframe")
    sockets[0].send(packed_binary({"kind": "start", "codec": "mjpeg"}, b""))
    await expect(page.locator("#live-note")).to_be_visible()
    sockets[1].send(STATUS)
    sockets[1].send(tile_message(5.0))
    await page.wait_for_selector(".live-overlay[data-frame='5.0']")
    sockets[1].send(boxes_message(5.0, *VERDICTS))
    await expect(page.locator(".live-verdict")).to_have_text("■ 2 reject")
    written = await page.evaluate("window.written")
    assert {"■ reject dent 0.90", "? undecided spur 0.90", "▲ warn open 0.90", "○ accept short 0.90"} <= set(written)
