# SPDX-License-Identifier: AGPL-3.0-or-later
"""Live pages with and without a run, their modules, and the image that regions are drawn on."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import pytest
from starlette.testclient import TestClient
from tests.fakes.desk_records import DeskRecords
from tests.fakes.live_video import encoded_shades, live_line

from vision_line.desk.live.camera_still import next_keyframe


@pytest.fixture
def filled(rows: DeskRecords) -> DeskRecords:
    """Return records of three cameras, of which one has an image."""
    run = rows.run(0, 600, "cam01", "cam02", "cam 3")
    rows.images(rows.event(run, "cam02", 30), b"kept")
    return rows


def test_a_camera_has_its_neighbours(filled: DeskRecords, client: TestClient) -> None:
    shown = client.get("/live/cam01").text
    assert 'href="/live/cam%203" data-key="ArrowLeft"' in shown
    assert 'href="/live/cam02" data-key="ArrowRight"' in shown


def test_an_unknown_camera_is_said(filled: DeskRecords, client: TestClient) -> None:
    for path in ("/live/none", "/live/none/regions", "/api/v1/live/cameras/none/snapshot"):
        assert client.get(path).status_code == 404, path


def test_modules_import_modules_that_are_served(filled: DeskRecords, client: TestClient) -> None:
    """By the address that never changes; a browser finds no other."""
    pages = [client.get(path).text for path in ("/live", "/live/cam01", "/live/cam01/regions")]
    asked = {address for page in pages for address in re.findall(r'src="(/static/[^"]+\.js)"', page)}
    seen: set[str] = set()
    while asked:
        address = asked.pop()
        answer = client.get(address)
        assert answer.status_code == 200, address
        seen.add(address)
        asked |= {f"/static/{name}" for name in re.findall(r'from "\./([^"]+)"', answer.text)} - seen
    assert {name.rpartition("-")[2] for name in seen} >= {"live_socket.js", "live_player.js", "live_regions.js"}


def test_without_a_line_regions_are_drawn_on_the_newest_kept_image(filled: DeskRecords, client: TestClient) -> None:
    """And the page says which it is; a camera without one has none."""
    answer = client.get("/api/v1/live/cameras/cam02/snapshot")
    assert answer.content == b"kept"
    assert "newest image that was kept" in unquote(answer.headers["x-taken"])
    assert client.get("/api/v1/live/cameras/cam01/snapshot").status_code == 404


def test_with_a_line_they_are_drawn_on_the_next_keyframe(
    filled: DeskRecords, records: Path, client: TestClient
) -> None:
    with live_line(records) as line:
        line.feed.offers.tap("cam01")

        def send() -> None:
            line.wait_for("cam01", "keyframes")
            line.show("cam01", encoded_shades(count=1, size=(1280, 720)), time.monotonic())

        sending = threading.Thread(target=send)
        sending.start()
        answer = client.get("/api/v1/live/cameras/cam01/snapshot")
        sending.join()
        assert answer.content.startswith(b"\xff\xd8")
        assert unquote(answer.headers["x-taken"]) == "A keyframe of now."


def test_a_camera_that_sends_nothing_has_no_keyframe(records: Path) -> None:
    with live_line(records) as line:
        line.feed.offers.tap("cam01")
        assert next_keyframe(records, "cam01", within_s=0.3) is None
        assert next_keyframe(records, "other", within_s=0.3) is None


def test_nobody_waits_for_others_who_take_a_keyframe(records: Path) -> None:
    """Two do; who waited for a turn would hold a thread that all pages share."""
    with live_line(records) as line, ThreadPoolExecutor(2) as others:
        for camera in ("cam01", "cam02"):
            line.feed.offers.tap(camera)
        waiting = [others.submit(next_keyframe, records, camera, 60.0) for camera in ("cam01", "cam02")]
        line.wait_for("cam01", "keyframes")
        line.wait_for("cam02", "keyframes")
        assert next_keyframe(records, "cam01", 60.0) is None
        line.show("cam01", encoded_shades(count=1), time.monotonic())
        line.show("cam02", encoded_shades(count=1), time.monotonic())
        assert all(taken.result() for taken in waiting)
