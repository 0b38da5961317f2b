# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reviewing as a person does, in a real browser: by keys alone, with an undo, and boxes drawn by mouse and by keys."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.async_api import Page, Route, expect
from tests.fakes.desk_browser import WINDOW, desk_link, needs_chromium, signed_in_page
from tests.fakes.desk_records import writing

from vision_line.records.side_journal import entries
from vision_line.reviews.answer import GivenAnswer
from vision_line.reviews.answer_journal import AnswerChange, current_answers
from vision_line.reviews.reviews_check import check_reviews
from vision_line.reviews.reviews_file import reading

pytestmark = needs_chromium

#: Of these frames four come to review.
AUDITS = 22


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Return records with four borderline events and four audits up for review, one of them with a detection."""
    image = cv2.imencode(".jpg", np.full((360, 640, 3), 90, np.uint8))[1].tobytes()
    with writing(tmp_path) as rows:
        run = rows.run(0, 600, "cam")
        for number in range(4):
            event = rows.event(run, "cam", number)
            rows.images(event, image, exact=True)
            rows.connection.execute("UPDATE events SET top_score = ? WHERE event = ?", (0.5 + number / 100, event))
        found = '[{"class": "short", "score": 0.7, "box": [10, 20, 60, 80]}]'
        for number in range(AUDITS):
            rows.audit(run, "cam", number, image, detections=found if number == 20 else "[]")
    return tmp_path


@pytest.fixture
def link(records: Path) -> Iterator[str]:
    """Yield the link of a desk over the records."""
    with desk_link(records) as link:
        yield link


@pytest.fixture
async def page(link: str) -> AsyncIterator[Page]:
    """Yield the first page of a desk in a small window; nothing fails in it."""
    async with signed_in_page(link, WINDOW) as page:
        yield page


async def shows(page: Page, key: str) -> None:
    """Wait until an item's image is shown."""
    await expect(page.locator("#stage")).to_have_attribute("data-item", key)


async def says(page: Page, text: str) -> None:
    await expect(page.locator("#saying")).to_contain_text(text)


async def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw from one place of the image to another, in parts of it."""
    box = await page.locator("#boxes").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    await page.mouse.move(*places[0])
    await page.mouse.down()
    await page.mouse.move(*places[1], steps=4)
    await page.mouse.up()


def kept(records: Path) -> list[GivenAnswer]:
    assert check_reviews(records) is not None
    with reading(records) as connection:
        assert connection is not None
        return sorted(current_answers(connection), key=lambda answer: answer.number)


async def test_a_person_reviews_by_keys(page: Page, records: Path) -> None:
    """Nothing goes on by itself; the image is untouched until boxes are asked for; an undo brings the item back."""
    events = [f"event/run at 0/event {number}" for number in range(1, 5)]
    await page.keyboard.press("r")
    await shows(page, events[0])
    await expect(page.locator("#boxes rect")).to_have_count(0)
    await page.keyboard.press("b")
    await expect(page.locator("#boxes .line-box")).to_have_count(1)
    await page.keyboard.press("c")
    await says(page, "Confirmed")
    await page.get_by_text("How far it is").click()
    await expect(page.locator("#strata tbody tr").first.locator("td").nth(1)).to_have_text("1")
    await page.get_by_text("How far it is").click()
    await shows(page, events[0])
    await page.keyboard.press("Space")
    await shows(page, events[1])
    await page.keyboard.press("2")
    await page.keyboard.press("w")
    await page.keyboard.type("a short, o c z")
    await page.keyboard.press("Escape")
    await page.keyboard.press("c")
    await says(page, "Confirmed")
    await page.keyboard.press("Space")
    await shows(page, events[2])
    await page.keyboard.press("o")
    await says(page, "Overruled")
    await page.keyboard.press("z")
    await says(page, "taken back")
    await shows(page, events[2])
    await page.keyboard.press("u")
    await says(page, "Unsure")
    first, second, third = kept(records)
    assert (first.verdict, first.class_name, first.boxes) == ("confirmed", None, None)
    assert (second.class_name, second.note) == ("short", "a short, o c z")
    assert (third.verdict, first.took_s > 0) == ("unsure", True)
    with reading(records) as connection:
        assert connection is not None
        assert [entry.kind for entry in entries(connection, AnswerChange)][2:] == [
            "answer",
            "answer_withdrawn",
            "answer",
        ]


async def test_a_missed_defect_is_marked_by_mouse_and_by_keys(page: Page, records: Path) -> None:
    """In audited frames: an empty one with a box, and one whose detection is dropped and replaced."""
    await page.goto(page.url + "review")
    for number in range(1, 5):
        await shows(page, f"event/run at 0/event {number}")
        await page.keyboard.press("Space")
    seen: set[str] = set()
    for _ in range(4):
        await expect(page.locator("#question")).to_contain_text("mark every defect")
        await expect(page.locator("#stage[data-item]")).to_be_visible()
        key = await page.get_attribute("#stage", "data-item") or ""
        assert key not in seen
        seen.add(key)
        await page.keyboard.press("o")
        await says(page, "missed")
        if key.endswith("/121"):
            await page.keyboard.press("s")
            await page.keyboard.press("x")
            await page.keyboard.press("1")
            await page.keyboard.press("n")
            await page.keyboard.press("ArrowRight")
            await page.keyboard.press("Shift+ArrowDown")
        else:
            await page.keyboard.press("2")
            await drag(page, (0.5, 0.5), (0.75, 0.75))
        await page.keyboard.press("o")
        await says(page, "Overruled")
        await page.keyboard.press("Space")
        await expect(page.locator("#stage")).not_to_have_attribute("data-item", key)
    await expect(page.locator("#nothing")).to_contain_text("you passed over 4")
    drawn = {answer.item.id: answer.boxes or () for answer in kept(records)}
    assert len(drawn) == 4
    (box,) = drawn.pop("cam/121")
    assert (box.class_name, box.x1, box.x2, box.y1) == ("open", 246.4, 406.4, 135.0)
    assert box.y2 == 231.4
    for (box,) in drawn.values():
        assert box.class_name == "short"
        assert [box.x1, box.y1, box.x2, box.y2] == pytest.approx([320, 180, 480, 270], abs=2)


async def test_a_rotated_box_is_shown_as_it_lies_until_somebody_moves_it(page: Page, records: Path) -> None:
    """What a person places is upright."""
    corners = "4.0 10.0 16.0 14.0 12.0 30.0 0.0 26.0"
    with writing(records) as rows:
        rows.connection.execute("UPDATE events SET outline = ?", (f"[{corners.replace(' ', ', ')}]",))
    await page.goto(page.url + "review")
    await shows(page, "event/run at 0/event 1")
    await page.keyboard.press("b")
    lies = page.locator("#boxes polygon.line-box")
    await expect(lies).to_have_attribute("points", "4 10 16 14 12 30 0 26")
    await expect(page.locator("#boxes rect")).to_have_count(0)
    await page.keyboard.press("s")
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("#boxes polygon")).to_have_count(0)
    await expect(page.locator("#boxes rect.own-box")).to_have_count(1)


async def test_nothing_is_said_of_an_image_that_is_not_shown(link: str, records: Path) -> None:
    """Neither while it loads, with the one before still in mind, nor where it cannot be shown."""
    arrives = asyncio.Event()

    async def late(route: Route) -> None:
        await arrives.wait()
        await route.continue_()

    async with signed_in_page(link, WINDOW, is_silent=False) as page:
        await page.route("**/media/events/2/*", late)
        await page.route("**/media/events/3/*", lambda route: route.fulfill(status=503))
        await page.goto(page.url + "review")
        await shows(page, "event/run at 0/event 1")
        await page.keyboard.press("Space")
        await expect(page.locator("#stage")).not_to_have_attribute("data-item", re.compile(""))
        await expect(page.locator("#frame")).to_be_hidden()
        await expect(page.get_by_role("button", name="Unsure")).to_be_disabled()
        await page.keyboard.press("u")
        await says(page, "its image is not shown")
        arrives.set()
        await shows(page, "event/run at 0/event 2")
        await expect(page.locator("#frame")).to_be_visible()
        await page.keyboard.press("Space")
        await says(page, "pass it over")
        await page.keyboard.press("c")
        await says(page, "its image is not shown")
        await page.keyboard.press("Space")
        await shows(page, "event/run at 0/event 4")
        await page.keyboard.press("u")
        await says(page, "Unsure")
    assert [answer.item.id for answer in kept(records)] == ["event 4"]


async def test_a_queue_that_cannot_be_had_is_said_and_tried_again(link: str) -> None:
    async with signed_in_page(link, WINDOW, is_silent=False) as page:
        fails = {"error": "the disk is on fire"}
        await page.route("**/api/v1/review/queue?*", lambda route: route.fulfill(status=503, json=fails))
        await page.goto(page.url + "review")
        await expect(page.locator("#nothing")).to_contain_text("the disk is on fire")
        await page.unroute("**/api/v1/review/queue?*")
        await page.get_by_role("button", name="Try again").click()
        await shows(page, "event/run at 0/event 1")
        await expect(page.locator("#nothing")).to_be_hidden()


async def test_a_phone_has_room(page: Page) -> None:
    """A finger draws where it was asked for, and answers by buttons."""
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.goto(page.url + "review")
    await shows(page, "event/run at 0/event 1")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await page.get_by_role("button", name="Mark one").click()
    await expect(page.locator("#boxes")).to_have_class("drawing")
    await page.get_by_role("button", name="Defect", exact=False).first.click()
    await says(page, "Confirmed")
    await page.get_by_role("button", name="Next").click()
    await shows(page, "event/run at 0/event 2")
