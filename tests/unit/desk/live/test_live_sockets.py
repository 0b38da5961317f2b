# SPDX-License-Identifier: AGPL-3.0-or-later
"""Live video over WebSockets, from a real feed: what comes, when nothing is asked for, and who may listen."""

from __future__ import annotations

import json
import struct
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import WebSocketTestSession
from starlette.websockets import WebSocketDisconnect
from tests.builders import make_detections, make_frame, make_inspection
from tests.fakes.desk import ADDRESS, ORIGIN, DeskUnderTest, desk_over
from tests.fakes.feeds import make_event
from tests.fakes.live_video import LiveLine, encoded_shades, live_line

from vision_line.desk.live.live_updates import joined, packed_binary
from vision_line.desk.users.sessions import Role
from vision_line.frames import ShownEvent

PASSWORD = "correct horse battery"  # noqa: S105  nobody's
TILES, VIDEO = "/api/v1/live/tiles", "/api/v1/live/video/cam01"


#: What came together with what a socket was asked for.
CAME: WeakKeyDictionary[WebSocketTestSession, deque[tuple[dict[str, Any], bytes]]] = WeakKeyDictionary()


@pytest.fixture
def line(records: Path) -> Iterator[LiveLine]:
    """Yield a feed in the desk's record directory."""
    with live_line(records) as found:
        yield found


def opened(desk: DeskUnderTest, path: str) -> WebSocketTestSession:
    return desk.client.websocket_connect(f"ws://{ADDRESS}{path}", headers=ORIGIN)


def received(socket: WebSocketTestSession, *kinds: str) -> tuple[dict[str, Any], bytes]:
    """Return the next message of these kinds, passing over others."""
    while True:
        came = CAME.setdefault(socket, deque())
        while came:
            header, payload = came.popleft()
            if header["kind"] in kinds:
                return header, payload
        message = socket.receive()
        if message["type"] != "websocket.send":
            raise WebSocketDisconnect(message["code"], message.get("reason"))
        text = message.get("text")
        came += messages_in(message["bytes"]) if text is None else [(json.loads(text), b"")]


def messages_in(data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield what a binary message holds: one, or several behind four zero bytes."""
    (length,) = struct.unpack_from(">I", data)
    if length:
        yield json.loads(data[4 : 4 + length]), data[4 + length :]
        return
    at = 4
    while at < len(data):
        is_text, size = struct.unpack_from(">?I", data, at)
        at += 5 + size
        if is_text:
            yield json.loads(data[at - size : at]), b""
        else:
            yield from messages_in(data[at - size : at])


@given(st.lists(st.tuples(st.booleans(), st.dictionaries(st.text(), st.text(), min_size=1), st.binary()), min_size=1))
def test_what_was_joined_is_each_message(messages: list[tuple[bool, dict[str, str], bytes]]) -> None:
    """Texts and binary ones, in their order; a single one is sent as it is."""
    sent = [json.dumps(header) if is_text else packed_binary(header, data) for is_text, header, data in messages]
    whole = joined(sent)
    found = [(json.loads(whole), b"")] if isinstance(whole, str) else list(messages_in(whole))
    assert found == [(header, b"" if is_text else data) for is_text, header, data in messages]
    assert len(sent) > 1 or whole == sent[0]


def wait_until_alone(line: LiveLine) -> None:
    ends_s = time.monotonic() + 20
    while line.clients:
        assert time.monotonic() < ends_s
        time.sleep(0.01)


def test_tiles_of_all_cameras_with_their_boxes(desk: DeskUnderTest, line: LiveLine) -> None:
    """And of each box the verdict, or that there is none yet."""
    with opened(desk, TILES) as socket:
        line.wait_for("cam01", "keyframes")
        at_s = time.monotonic()
        line.show("cam01", encoded_shades(count=1), at_s)
        line.show("cam02", encoded_shades(count=1), at_s)
        frame = make_frame("cam01", 7, at_s=at_s, data=object())
        found = make_detections((1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0))
        shown = [ShownEvent(make_event(7), ((1.0, 2.0, 3.0, 4.0),))]
        line.feed.offers.result(make_inspection(frame, found), [], lambda: shown)
        tiles: dict[str, tuple[dict[str, Any], bytes]] = {}
        boxes: dict[str, Any] = {}
        while len(tiles) < 2 or not boxes:
            header, jpeg = received(socket, "tile", "boxes")
            if header["kind"] == "tile":
                tiles[header["camera"]] = header, jpeg
            else:
                boxes = header
        assert set(tiles) == {"cam01", "cam02"}
        header, jpeg = tiles["cam01"]
        assert jpeg.startswith(b"\xff\xd8")
        assert (header["at"], header["size"]) == (at_s, [640, 360])
        assert 0 <= header["age_s"] < 20
        assert boxes["at"] == at_s
        assert [box["verdict"] for box in boxes["boxes"]] == ["reject", None]


def test_a_camera_in_focus_comes_frame_by_frame(desk: DeskUnderTest, line: LiveLine) -> None:
    """Of the others nothing is asked for, and nothing is decoded."""
    with opened(desk, VIDEO) as socket:
        line.wait_for("cam01", "all")
        assert line.wanted("cam02") is None
        line.show("cam01", encoded_shades(count=7), 50.0)
        start, segment = received(socket, "start")
        assert start["codec"] == "avc1.42C01E"
        assert segment[4:8] == b"ftyp"
        frames = [received(socket, "frame") for _ in range(7)]
        assert [header["at"] for header, _ in frames] == [50 + n / 25 for n in range(7)]
        assert [header["keyframe"] for header, _ in frames] == [n % 5 == 0 for n in range(7)]
        assert all(data[4:8] == b"moof" for _, data in frames)


def test_beside_a_busy_run_frames_may_come_together(desk: DeskUnderTest, line: LiveLine) -> None:
    """It is woken less often then; once it has room again each frame comes at once."""
    tap = line.feed.offers.tap("cam01")
    with opened(desk, VIDEO) as socket:
        line.wait_for("cam01", "all")
        assert tap.wakes
        for cpu_percent, wakes in ((95.0, False), (30.0, True)):
            ends_s = time.monotonic() + 20
            while tap.wakes != wakes:
                assert time.monotonic() < ends_s
                line.state(cpu_percent, cam01={})
                time.sleep(0.05)
        line.show("cam01", encoded_shades(count=3), 50.0)
        assert [received(socket, "frame")[0]["at"] for _ in range(3)] == [50.0, 50.04, 50.08]


def test_who_comes_later_gets_the_start_too(desk: DeskUnderTest, line: LiveLine) -> None:
    with opened(desk, VIDEO) as first:
        line.wait_for("cam01", "all")
        line.show("cam01", encoded_shades(count=6), 50.0)
        received(first, "frame")
        with opened(desk, VIDEO) as second:
            received(second, "start")
            line.show("cam01", encoded_shades(count=6), 60.0)
            assert received(second, "frame")[0]["keyframe"]


def test_with_nobody_watching_nothing_is_asked_of_the_feed(desk: DeskUnderTest, line: LiveLine) -> None:
    with opened(desk, TILES):
        line.wait_for("cam01", "keyframes")
        with opened(desk, VIDEO):
            line.wait_for("cam01", "all")
        line.wait_for("cam01", "keyframes")
        assert desk.client.get("/api/v1/live").json() == {"followed": True, "browsers": 1}
    wait_until_alone(line)
    assert line.wanted("cam01") is None
    assert desk.client.get("/api/v1/live").json() == {"followed": False, "browsers": 0}


def test_a_page_waits_for_a_line(desk: DeskUnderTest, records: Path) -> None:
    """It says that none runs, shows the one that comes, and says when that has ended."""
    with opened(desk, TILES) as socket:
        assert "no run has a live feed" in received(socket, "status")[0]["headline"]
        with live_line(records) as line:
            line.wait_for("cam01", "keyframes")
            line.state(one={"name": "cam01"})
            status, _ = received(socket, "status")
            while not status["runs"]:
                status, _ = received(socket, "status")
            assert status["cameras"][0]["words"] == "12.0 inspections a second"
        while status["runs"]:
            status, _ = received(socket, "status")


@pytest.mark.parametrize("path", [TILES, VIDEO])
def test_the_right_to_listen_is_asked_for_before_each_message(records: Path, line: LiveLine, path: str) -> None:
    """Who signed out, or is no user any more, gets nothing more, though the socket is open."""
    with desk_over(records) as desk:
        for name in ("rita", "rosa"):
            desk.accounts.add(name, Role.READER, PASSWORD, by="test")

        def sign_out(_name: str) -> None:
            desk.client.post("/leave", headers=ORIGIN, follow_redirects=False)

        def be_removed(name: str) -> None:
            desk.accounts.remove(name, by="test")

        for name, end in (("rita", sign_out), ("rosa", be_removed)):
            desk.client.cookies.clear()
            desk.sign_in_as(name, PASSWORD)
            with opened(desk, path) as socket:
                line.wait_for("cam01", "keyframes" if path == TILES else "all")
                line.state(one={"name": "cam01"})
                received(socket, "status")
                end(name)
                line.state(one={"name": "cam01", "state": "STALE"})
                with pytest.raises(WebSocketDisconnect) as ended:
                    received(socket, "nothing")
                assert ended.value.code == 1008
            wait_until_alone(line)


def test_too_many_are_sent_away(desk: DeskUnderTest, line: LiveLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vision_line.desk.live.live_sockets.MOST_SOCKETS", 1)
    with opened(desk, TILES), opened(desk, TILES) as second, pytest.raises(WebSocketDisconnect) as ended:
        received(second, "status")
    assert ended.value.code == 1013


def test_who_talks_is_left(desk: DeskUnderTest, line: LiveLine) -> None:
    """Nothing that a browser sends means anything."""
    with opened(desk, TILES) as socket:
        line.wait_for("cam01", "keyframes")
        socket.send_text("want everything")
        wait_until_alone(line)
