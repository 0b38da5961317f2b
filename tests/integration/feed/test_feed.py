# SPDX-License-Identifier: AGPL-3.0-or-later
"""What clients get of a run, over real sockets: byte for byte, in order, and what they do not take is counted."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from tests.builders import make_frame, make_inspection, scored_detections
from tests.fakes.feeds import (
    FACTS,
    make_encoded,
    make_event,
    make_result,
    make_video,
    next_of,
    show,
)
from tests.fakes.waiting import wait_for

from vision_line.config.models import StreamSettings
from vision_line.errors import RunError
from vision_line.feed import clients
from vision_line.feed.feed_client import FeedClient
from vision_line.feed.feed_server import FeedServer
from vision_line.feed.protocol import FeedMessage
from vision_line.frames import EventPhase, ShownEvent, TrackedObject
from vision_line.inspection.tracking.events import EventTracker

MEGABYTE = 1_000_000


def receive(client: FeedClient, count: int, *kinds: str) -> list[FeedMessage]:
    return [next_of(client, *kinds) for _ in range(count)]


def test_a_client_is_greeted_and_gets_nothing_else(server: FeedServer, tmp_path: Path) -> None:
    """Before it says what it wants."""
    server.offers.tap("cam01")
    server.offers.committed(7)
    with FeedClient(tmp_path) as client:
        server.offers.result(make_result("cam01", 1), [make_event(1)])
        server.offers.committed(8)

        assert client.hello["run"] == FACTS.run
        assert client.hello["classes"] == ["spur", "short"]
        assert (client.hello["cameras"], client.hello["journal"], client.hello["schema"]) == (["cam01"], 7, 4)
        with pytest.raises(TimeoutError):
            client.receive(0.3)


def test_frames_are_the_cameras_and_begin_with_what_a_decoder_needs(server: FeedServer, tmp_path: Path) -> None:
    """The video first, a keyframe next, then every frame, byte for byte; a new connection likewise."""
    tap, video = server.offers.tap("cam01"), make_video(b"\0\0\0\1\x67sps")
    with FeedClient(tmp_path) as client:
        client.want(frames={"*": "all"})
        assert next_of(client, "wanted").header["unknown_cameras"] == []
        tap.saw(make_encoded(video, 0, b"no keyframe yet", keyframe=False))
        sent = show(tap, video, [900, 10, 20], first=1)
        other = make_video(b"other")
        tap.saw(make_encoded(other, 4, b"of no use before a keyframe", keyframe=False))
        sent += show(tap, other, [800, 11], first=5)

        got = receive(client, 7, "video", "frame")

    videos, frames = [m for m in got if m.kind == "video"], [m for m in got if m.kind == "frame"]
    assert [message.kind for message in got] == ["video", "frame", "frame", "frame", "video", "frame", "frame"]
    assert [message.payload for message in videos] == [b"\0\0\0\1\x67sps", b"other"]
    assert [(m.header["codec"], m.header["connection"]) for m in videos] == [("h264", 1), ("h264", 2)]
    assert [message.payload for message in frames] == [bytes(frame.packet or b"") for frame in sent]
    assert [message.header["arrived_s"] for message in frames] == [frame.arrived_s for frame in sent]
    assert [message.header["keyframe"] for message in frames] == [frame.keyframe for frame in sent]
    assert all(message.header["intact"] for message in frames)


def test_keyframes_alone(server: FeedServer, tmp_path: Path) -> None:
    """And of the cameras that are asked for alone."""
    taps = [server.offers.tap(name) for name in ("a", "b", "c")]
    with FeedClient(tmp_path) as client:
        client.want(frames={"*": "keyframes", "b": "nothing", "c": "all", "d": "all"})
        assert next_of(client, "wanted").header["unknown_cameras"] == ["d"]
        for tap in taps:
            video = make_video()
            show(tap, video, [100, 10])
            show(tap, video, [100, 10], first=2)

        got = [(m.header["camera"], m.header["keyframe"]) for m in receive(client, 6, "frame")]
        with pytest.raises(TimeoutError):
            next_of(client, "frame", within_s=0.2)

    assert sorted(got) == [("a", True)] * 2 + [("c", False)] * 2 + [("c", True)] * 2


def test_damage_is_said_up_to_the_next_keyframe(server: FeedServer, tmp_path: Path) -> None:
    """A frame of which nothing is left has no message, but the next ones are not intact."""
    tap, video = server.offers.tap("cam01"), make_video()
    with FeedClient(tmp_path) as client:
        client.want(frames={"cam01": "all"})
        next_of(client, "wanted")
        show(tap, video, [100, 10])
        tap.saw(make_encoded(video, 2, b"torn", keyframe=False, damaged=True))
        tap.saw(make_encoded(video, 3, b"after it", keyframe=False))
        show(tap, video, [100, 10], first=4)
        tap.saw(make_encoded(video, 6, b"", keyframe=False, damaged=True))
        tap.saw(make_encoded(video, 7, b"after a gap", keyframe=False))

        got = receive(client, 7, "frame")

    assert [message.header["intact"] for message in got] == [True, True, False, False, True, True, False]
    assert [message.payload for message in got[2:4]] == [b"torn", b"after it"]


def test_results_of_keyframes_alone(server: FeedServer, tmp_path: Path) -> None:
    """Of a camera whose results are wanted anyway, all of them; another client's wishes change nothing."""
    taps = {name: server.offers.tap(name) for name in ("a", "b")}
    with FeedClient(tmp_path) as client, FeedClient(tmp_path) as other:
        client.want(keyframe_results=["*"], results=["b"], frames={"*": "keyframes"})
        other.want(results=["*"])
        next_of(client, "wanted")
        next_of(other, "wanted")
        for name, tap in taps.items():
            for number in range(4):
                encoded = make_encoded(make_video(), number, b"data", keyframe=number % 2 == 0)
                encoded.pts_s = None
                tap.saw(encoded)
            for number in range(4):
                server.offers.result(make_result(name, number), [])

        got = [(m.header["camera"], m.header["sequence"]) for m in receive(client, 6, "result")]
        everything = receive(other, 8, "result")

    assert got == [("a", 0), ("a", 2), ("b", 0), ("b", 1), ("b", 2), ("b", 3)]
    assert [m.header["sequence"] for m in everything] == [0, 1, 2, 3] * 2


def test_an_older_run_is_asked_for_all_results(server: FeedServer, tmp_path: Path) -> None:
    """It refuses keys that it does not know, and its hello names none."""
    tap, video = server.offers.tap("cam01"), make_video()
    with FeedClient(tmp_path) as client:
        assert set(client.hello["wants"]) == {
            *("snapshots", "decisions", "journal", "beats"),
            *("results", "keyframe_results", "frames", "patience_s", "frames_wait", "snapshots_apart_s", "brief"),
        }
        del client.hello["wants"]
        client.want(keyframe_results=["cam01"], frames={"cam01": "keyframes"})
        next_of(client, "wanted")
        show(tap, video, [50, 50])
        for number in range(2):
            server.offers.result(make_result("cam01", number), [])
        assert [m.header["sequence"] for m in receive(client, 2, "result")] == [0, 1]


def test_a_result_ties_to_its_frame(server: FeedServer, tmp_path: Path) -> None:
    """By camera and arrival, which are the same numbers in both; boxes are rounded as in the records."""
    tap, video = server.offers.tap("cam01"), make_video()
    with FeedClient(tmp_path) as client:
        client.want(results=["cam01"], frames={"cam01": "all"})
        next_of(client, "wanted")
        show(tap, video, [50, 50, 50])
        server.offers.result(
            replace(make_result("cam01", 2, boxes=2), recipe="board-7"),
            [make_event(2)],
            lambda: [ShownEvent(make_event(7), ((0.0, 2.0, 3.0, 4.0),))],
        )
        server.offers.result(make_result("other", 1), [])
        got = receive(client, 4, "frame", "result")

    (result,) = [message.header for message in got if message.kind == "result"]
    (frame,) = [m.header for m in got if m.kind == "frame" and m.header["arrived_s"] == result["arrived_s"]]
    assert (result["sequence"], frame["camera"]) == (2, result["camera"])
    undecided = {"event_id": None, "verdict": None}
    assert result["boxes"] == [{"class": "spur", "score": 0.9, "box": [1.0, 2.0, 3.12, 4.0], **undecided}] * 2
    assert [event["event_id"] for event in result["events"]] == ["e2"]
    assert [(event["event_id"], event["last_seen_s"]) for event in result["shown"]] == [("e7", 2.0)]
    assert result["recipe"] == "board-7"


def test_a_brief_result_is_its_boxes(server: FeedServer, tmp_path: Path) -> None:
    """With their verdicts; nobody is asked for followed objects then, and who wants all still gets it."""
    shown, asked = [ShownEvent(make_event(7), ((0.0, 2.0, 3.0, 4.0),))], list[int]()

    def objects() -> list[TrackedObject]:
        asked.append(1)
        return []

    with FeedClient(tmp_path) as brief, FeedClient(tmp_path) as whole:
        brief.want(results=["*"], brief=True)
        next_of(brief, "wanted")
        server.offers.result(make_result("cam01", 1, boxes=2), [make_event(2)], lambda: shown, objects)
        said = next_of(brief, "result").header
        assert not asked
        whole.want(results=["*"])
        next_of(whole, "wanted")
        server.offers.result(make_result("cam01", 2, boxes=2), [make_event(2)], lambda: shown, objects)
        assert asked
        full = next_of(whole, "result").header
        again = next_of(brief, "result").header

    assert set(full) - set(said) == {"events", "shown", "tracks"}
    assert set(again) == set(said)
    assert (again["boxes"], again["sequence"]) == (full["boxes"], 2)


def test_who_has_just_come_gets_a_snapshot_at_once(server: FeedServer, tmp_path: Path) -> None:
    """However far apart others want them; and who wants all gets all."""
    with FeedClient(tmp_path) as seldom, FeedClient(tmp_path) as often:
        seldom.want(snapshots=True, snapshots_apart_s=2)
        next_of(seldom, "wanted")
        assert server.offers.is_snapshot_due
        server.offers.snapshot({"number": 1})
        assert next_of(seldom, "snapshot").header["number"] == 1
        often.want(snapshots=True)
        next_of(often, "wanted")
        for number in (2, 3):
            assert server.offers.is_snapshot_due
            server.offers.snapshot({"number": number})
            assert next_of(often, "snapshot").header["number"] == number


def test_each_box_has_the_verdict_of_its_event(server: FeedServer, tmp_path: Path) -> None:
    """Whatever its class is in this frame, and by the box as it was before rounding; none where nothing is decided."""
    tracker = EventTracker("cam01", FACTS.classes, StreamSettings(min_hits=2, reject_threshold=0.8), 0.25)
    sure, again, new = (1.00001, 2.0, 31.0, 42.0, 0.9, 0), (2.0, 2.0, 31.0, 42.0, 0.3, 1), (200, 2, 231, 42, 0.6, 1)
    said = []
    with FeedClient(tmp_path) as client:
        client.want(results=["cam01"])
        next_of(client, "wanted")
        for number, rows in enumerate(([sure], [sure, again], [sure, new])):
            frame = make_frame("cam01", number, at_s=float(number), data=object())
            inspection = make_inspection(frame, scored_detections(*rows))
            events = tracker.update(frame, inspection.detections)
            server.offers.result(inspection, events, tracker.shown)
            said.append(next_of(client, "result").header)

    assert [[box["verdict"] for box in one["boxes"]] for one in said] == [[None], ["reject"] * 2, ["reject", None]]
    assert said[2]["boxes"][0]["event_id"] == said[1]["shown"][0]["event_id"]


def test_what_can_wait_comes_with_the_next_frame_or_by_itself(server: FeedServer, tmp_path: Path) -> None:
    """Results before the frames that bring them; and where nothing brings them, when patience is over."""
    tap, video = server.offers.tap("cam01"), make_video()
    with FeedClient(tmp_path) as client:
        client.want(snapshots=True, results=["*"], frames={"cam01": "all"}, patience_s=1)
        next_of(client, "wanted")
        server.offers.result(make_result("cam01", 1), [])
        show(tap, video, [50])
        first = [message.kind for message in receive(client, 3, "result", "video", "frame")]
        server.offers.result(make_result("cam02", 2), [])
        server.offers.snapshot({"cameras": []})
        rest = {message.kind for message in receive(client, 2, "result", "snapshot")}

    assert first == ["result", "video", "frame"]
    assert rest == {"result", "snapshot"}


def test_frames_that_may_wait_come_without_waking_anybody(server: FeedServer, tmp_path: Path) -> None:
    """When patience is over; and at once again when nobody wants them to wait."""
    tap, video = server.offers.tap("cam01"), make_video()
    with FeedClient(tmp_path) as client:
        client.want(results=["*"], frames={"cam01": "all"}, patience_s=1, frames_wait=True)
        next_of(client, "wanted")
        assert not tap.wakes
        show(tap, video, [50, 50])
        server.offers.result(make_result("cam01", 1), [])
        came = sorted(message.kind for message in receive(client, 4, "video", "frame", "result"))
        client.want(frames={"cam01": "all"}, patience_s=1)
        next_of(client, "wanted")
        assert tap.wakes

    assert came == ["frame", "frame", "result", "video"]


def test_decisions_come_at_once_and_the_journal_follows(server: FeedServer, tmp_path: Path) -> None:
    """Also those that no frame brought; the newest number comes with the wish already."""
    server.offers.committed(41)
    with FeedClient(tmp_path) as client:
        client.want(decisions=True, journal=True)
        assert next_of(client, "journal").header["number"] == 41
        server.offers.result(make_result("cam01", 1), [make_event(1), make_event(2)])
        server.offers.decide([make_event(1, EventPhase.END)])
        decisions = [message.header for message in receive(client, 3, "decision")]
        server.offers.committed(44)
        assert next_of(client, "journal").header["number"] == 44

    assert [(d["event_id"], d["phase"]) for d in decisions] == [("e1", "new"), ("e2", "new"), ("e1", "end")]
    assert decisions[0]["verdict"] == "reject"
    assert decisions[0]["last"]["box"] == [1.0, 2.0, 3.0, 4.0]


def test_a_slow_client_loses_frames_up_to_a_keyframe_and_hears_how_many(server: FeedServer, tmp_path: Path) -> None:
    """And nobody else: another client of the same camera gets every frame."""
    tap, video = server.offers.tap("cam01"), make_video()
    with FeedClient(tmp_path) as slow, FeedClient(tmp_path) as quick:
        for client in (slow, quick):
            client.want(frames={"*": "all"}, decisions=True)
            next_of(client, "wanted")
        groups, got = 60, []
        for group in range(groups):
            show(tap, video, [100_000, 50_000, 50_000], first=3 * group)
            got += receive(quick, 3, "frame")
        server.offers.decide([make_event(1)])
        assert [message.header["arrived_s"] for message in got] == list(range(3 * groups))
        wait_for(lambda: server.status.frames_dropped > 0, "the status counts what was dropped")

        arrived: list[tuple[int, bool]] = []
        dropped = 0
        while len(arrived) + dropped < 3 * groups:
            message = next_of(slow, "frame", "dropped", "decision")
            if message.kind == "dropped":
                dropped = message.header["frames"]["cam01"]
            elif message.kind == "frame":
                arrived.append((int(message.header["arrived_s"]), message.header["keyframe"]))
            else:
                assert message.header["event_id"] == "e1"

    holes = [after for before, after in pairwise(arrived) if after[0] != before[0] + 1]
    assert 0 < dropped < 3 * groups
    assert all(keyframe for _, keyframe in holes)
    wait_for(lambda: server.status.frames_dropped == dropped, "the count outlives the client")


def test_a_slow_client_hears_of_missing_results_before_it_gets_the_next_ones(
    server: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lanes decide by what follows: a word that comes behind it would be too late."""
    monkeypatch.setattr(clients, "TICK_S", 1000.0)
    count = 3000
    with FeedClient(tmp_path) as client:
        client.want(results=["*"])
        next_of(client, "wanted")
        for number in range(count):
            server.offers.result(make_result("cam01", number, boxes=8), [])
        expected, missing, reported = 0, 0, 0
        while expected < count:
            message = next_of(client, "result", "dropped")
            if message.kind == "dropped":
                reported = message.header["results"]
                continue
            missing += message.header["sequence"] - expected
            expected = message.header["sequence"] + 1
            assert reported >= missing
    assert missing > 0


def test_a_client_that_cannot_take_decisions_is_sent_away_with_a_reason(server: FeedServer, tmp_path: Path) -> None:
    """None may be missing without a word."""
    with FeedClient(tmp_path) as client:
        client.want(decisions=True)
        next_of(client, "wanted")
        number = 0
        while server.status.clients_sent_away == 0 and number < 200_000:
            server.offers.decide([make_event(number)])
            number += 1
            if number % 200 == 0:
                time.sleep(0.001)
        got = [message for message in client if message.kind == "decision"]

    assert client.reason == "decisions are not read fast enough, so some would be missing"
    assert [message.header["event_id"] for message in got] == [f"e{n}" for n in range(len(got))]
    assert 100 < len(got) < number


def test_only_the_newest_snapshot_waits(server: FeedServer, tmp_path: Path) -> None:
    """A client that was away for a while sees the present first."""
    with FeedClient(tmp_path) as client:
        client.want(snapshots=True)
        next_of(client, "wanted")
        assert server.offers.is_snapshot_due
        for number in range(300):
            server.offers.snapshot({"number": number, "filling": "x" * 10_000})
            time.sleep(0.001)
        wait_for(lambda: server.status.snapshots_dropped > 0, "snapshots are dropped")
        numbers = [next_of(client, "snapshot").header["number"]]
        while numbers[-1] != 299:
            numbers.append(next_of(client, "snapshot").header["number"])

    assert numbers == sorted(numbers)
    assert len(numbers) < 300


def test_nobody_is_heard_once_the_last_client_is_gone(server: FeedServer, tmp_path: Path) -> None:
    """Then a frame costs a test of an attribute again."""
    tap = server.offers.tap("cam01")
    with FeedClient(tmp_path) as client:
        client.want(frames={"*": "all"}, results=["*"], snapshots=True)
        next_of(client, "wanted")
        assert tap.wanted
        assert server.offers.is_heard
        assert server.offers.tap("late").wanted
    wait_for(lambda: tap.wanted is None, "the tap is closed")

    assert not server.offers.is_heard
    assert not server.offers.is_snapshot_due


def test_the_run_says_goodbye_after_the_last_decision(server: FeedServer, tmp_path: Path) -> None:
    """The socket is gone then, and nobody can connect."""
    with FeedClient(tmp_path) as client:
        client.want(decisions=True, journal=True)
        next_of(client, "wanted")
        server.offers.decide([make_event(9, EventPhase.END)])
        server.offers.committed(12)
        server.close()
        kinds = [message.kind for message in client]

    assert kinds == ["decision", "journal"]
    assert client.reason == "the run has ended"
    assert not list(tmp_path.iterdir())
    with pytest.raises(RunError, match="no run has a live feed there"):
        FeedClient(tmp_path)


def test_who_wants_something_of_a_run_that_has_just_ended_hears_why(server: FeedServer, tmp_path: Path) -> None:
    """Not that a pipe is broken: the goodbye waits to be read."""
    with FeedClient(tmp_path) as client:
        server.close()
        client.want(snapshots=True)
        assert client.receive(20) is None

    assert client.reason == "the run has ended"


def test_offers_after_the_end_are_harmless(server: FeedServer, tmp_path: Path) -> None:
    """The log commits its last records after the feed has closed."""
    tap = server.offers.tap("cam01")
    server.close()
    server.close()

    show(tap, make_video(), [10, 10])
    server.offers.result(make_result("cam01", 1), [make_event(1)])
    server.offers.committed(5)
    server.offers.snapshot({})
