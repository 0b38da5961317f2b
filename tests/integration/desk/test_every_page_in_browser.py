# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every page of the desk in a real browser: on a phone and a large screen, in the sun and at night, without a mouse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page
from starlette.routing import compile_path
from tests.fakes.challenge_plans import challenged
from tests.fakes.chart_parts import pass_hours, usual_hours
from tests.fakes.desk import desk_over
from tests.fakes.desk_browser import PHONE, desk_link, needs_chromium, signed_in_page
from tests.fakes.desk_records import BEGAN_UTC, writing
from tests.fakes.desk_routes import application_of, routes_of
from tests.fakes.live_video import encoded_shades, live_line
from tests.fakes.reviewed_records import drawn_image
from tests.fakes.shift_records import SHIFT_S, made_shift

pytestmark = [needs_chromium, pytest.mark.timeout(900)]

#: Answered, and no page: what pages load, what programs read, and what is saved.
NO_PAGES = re.compile(r"/static/|/api/|/media/|/fleet/|/openapi\.json|.*\.(csv|zip)$|/enter|/events/by-id|/report/file")
#: Where a button, a script or somebody's own password leads.
ALSO = ("/live/cam01", "/live/cam01/regions", "/cases/1/export", "/charts/parts/baseline?lane=a", "/accounts")
WIDTHS = (360, 1280, 1920)
#: What is wrong with the page that is open, in sentences.
PROBLEMS = (Path(__file__).parents[2] / "fakes" / "page_problems.js").read_text(encoding="utf-8")
FOCUS_IS_SEEN = """() => {
  const style = getComputedStyle(document.activeElement);
  const isSeen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
  return document.activeElement !== document.body && isSeen;
}"""


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return records with something of everything, the live feed of a run too."""
    directory = tmp_path_factory.mktemp("everything")
    made_shift(directory, cameras=4, events=40)
    pass_hours(directory, usual_hours(30, parts=20))
    with writing(directory) as rows:
        rows.near_miss(1, "cam01", SHIFT_S + 40, drawn_image(1))
        rows.audit(1, "cam01", SHIFT_S + 50, drawn_image(2))
    challenged(directory, "cam01", BEGAN_UTC + SHIFT_S, BEGAN_UTC + SHIFT_S + 30)
    return directory


@pytest.fixture(scope="module")
def link(records: Path) -> Iterator[str]:
    """Yield a link to a desk over them, while a run's feed says something."""
    with live_line(records) as line, desk_link(records) as link:
        line.state(cam01={}, cam02={"name": "cam02", "state": "RECONNECTING", "code": "TIMEOUT", "inspecting": False})
        line.show("cam01", encoded_shades(count=1), 50.0)
        yield link


def pages(records: Path) -> dict[str, re.Pattern[str]]:
    """Return the path of each page, and what addresses it has; the more exact ones first."""
    with desk_over(records) as desk:
        paths = {one.path for one in routes_of(application_of(desk)) if one.method == "GET"}
    found = sorted((path for path in paths if not NO_PAGES.match(path)), key=lambda path: path.count("{"))
    return {path: compile_path(path)[0] for path in found}


async def problems_of(page: Page) -> list[str]:
    """Return what is wrong with the open page at any width, in any colours, and for who has no mouse."""
    found = list[str]()
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark") if width == 1280 else ("light",):
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            said = await page.evaluate(PROBLEMS, width == 1280)
            found += [f"{width} {scheme}: {one}" for one in said]
    for turn in range(min(3, await page.locator("a[href]:visible, button:visible").count())):
        await page.keyboard.press("Tab")
        if not await page.evaluate(FOCUS_IS_SEEN):
            found.append(f"after {turn + 1} times Tab nobody sees where one is")
    return found


async def test_every_page_fits_and_can_be_read(link: str, records: Path) -> None:
    """Found by following links: none is missing or leads to an error, and nothing is in the browser's console."""
    known, found, waiting, wrong = pages(records), dict[str, str](), ["/", *ALSO], dict[str, list[str]]()
    async with signed_in_page(link, PHONE, is_silent=False) as page:
        page.on("console", lambda message: wrong.setdefault(page.url, []).append(f"{message.type}: {message.text}"))
        case: dict[str, str | float | bool] = {"event": "169", "name": "claim"}
        made = await page.request.post("/cases", form=case, headers={"Origin": link.partition("/enter")[0]})
        assert made.status == 200, await made.text()
        while waiting:
            address = waiting.pop(0)
            path = next((path for path, matches in known.items() if matches.match(address.partition("?")[0])), None)
            if path is None or path in found:
                continue
            found[path] = address
            answer = await page.goto(address)
            assert answer is not None
            assert answer.status == 200, address
            if problems := await problems_of(page):
                wrong.setdefault(address, []).extend(problems)
            waiting += await page.eval_on_selector_all(
                "a[href^='/']:not([download])", "links => links.map((link) => link.getAttribute('href').split('#')[0])"
            )
    assert not wrong, "\n".join(f"{address}: {'; '.join(each)}" for address, each in wrong.items())
    assert set(found) == set(known)
