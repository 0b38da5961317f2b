# SPDX-License-Identifier: AGPL-3.0-or-later
"""A line that the file moves while objects pass: none is a part by both lines, and none by neither."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.lane_scenes import make_plan
from tests.unit.lanes.test_crossing_properties import (
    BOX_PX,
    PERIOD_S,
    RULE,
    SIZE_WH,
    Belt,
    bad_belts,
    bottle,
    good_belts,
)

from vision_line.feed.protocol import FeedMessage
from vision_line.frames import TrackedObject
from vision_line.lanes.crossing_line import CrossingLine, CrossingRule
from vision_line.lanes.crossing_watch import Crossing, CrossingWatch, ObjectsFrame
from vision_line.lanes.deciding import Deciding
from vision_line.lanes.lanes_off import LanesOff
from vision_line.lanes.parts_recorder import PartsRecorder
from vision_line.lanes.watch_before import WatchBefore
from vision_line.parts.part import PartCause
from vision_line.parts.parts_file import FILE_NAME

lines = st.sampled_from([0.3, 0.45, 0.5, 0.6, 0.75])


def rule_at(share: float) -> CrossingRule:
    """Return the rule of a line at a share of the frame's width."""
    return replace(RULE, line=CrossingLine((share, 0.0), (share, 1.0), "right"))


def parts_of(belt: Belt, moves: Iterable[tuple[int, float]]) -> list[tuple[float, Crossing]]:
    """Return where each part crossed, in pixels; from each of the frames on, the line is another one."""
    left: WatchBefore | None = None
    frames, found = belt.seen(), list[tuple[float, Crossing]]()
    changes = [*moves, (belt.frames + 1, 0.0)]
    for (begin, share), (end, _) in pairwise(changes):
        watch = CrossingWatch(rule_at(share), left)
        if not begin:
            watch.take(ObjectsFrame(-PERIOD_S, SIZE_WH, 1))
        mine = [each for each in frames if begin * PERIOD_S - 1e-9 <= each.at_s < end * PERIOD_S - 1e-9]
        crossings = [crossing for frame in mine for crossing in watch.take(frame)]
        crossings += watch.end(end * PERIOD_S) if end <= belt.frames else []
        found += [(share * SIZE_WH[0], crossing) for crossing in crossings]
        left = watch.left()
    return found


def object_at(belt: Belt, line_px: float, at_s: float) -> int:
    """Return which object is on a line at a moment."""
    places = [abs(belt.moved_px(at_s) - place - line_px) for place in belt.places_px]
    return places.index(min(places))


moved = st.tuples(st.integers(1, 90), lines)


@settings(max_examples=80, deadline=None)
@given(good_belts(), lines, st.lists(moved, min_size=1, max_size=2, unique_by=lambda each: each[0]).map(sorted))
def test_each_object_is_one_part_wherever_the_line_goes(
    belt: Belt, first: float, later: list[tuple[int, float]]
) -> None:
    later = [(frame, share) for frame, share in later if frame < belt.frames]
    parts = parts_of(belt, [(0, first), *later])
    assert len(parts) == len(belt.places_px)
    clean = [object_at(belt, line_px, one.at_s) for line_px, one in parts if not one.cause]
    assert len(clean) == len(set(clean))
    assert {one.cause for _, one in parts} <= {PartCause.NONE, PartCause.RESTART}


@settings(max_examples=150, deadline=None)
@given(bad_belts(), lines, moved)
def test_none_is_accepted_by_both_lines_however_badly_it_is_seen(
    belt: Belt, first: float, later: tuple[int, float]
) -> None:
    parts = parts_of(belt, [(0, first), *([later] if later[0] < belt.frames else [])])
    clean = [object_at(belt, line_px, one.at_s) for line_px, one in parts if not one.cause]
    assert len(clean) == len(set(clean))
    tracks = [[track for _, _, track in belt.sights(number)] for number in range(len(belt.places_px))]
    seen = sum(any(mine.count(track) >= RULE.hits for track in mine) for mine in tracks)
    assert seen <= len(parts)


class Moved:
    """An object that was a part by a line at 256 pixels, and the line that is at 384 from now on."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.watch = CrossingWatch(rule_at(0.4))
        self.show()
        for x in range(200, 320, 20):
            self.show(bottle(1, x))
        assert self.watch.end(self.now_s) == []
        self.watch = CrossingWatch(rule_at(0.6), self.watch.left())

    def show(self, *objects: TrackedObject, after_s: float = 0.1, criteria: int = 1) -> list[PartCause]:
        self.now_s += after_s
        return [each.cause for each in self.watch.take(ObjectsFrame(self.now_s, SIZE_WH, criteria, objects))]

    def move(self, track: int, places: Iterable[float], criteria: int = 1) -> list[PartCause]:
        return [cause for x in places for cause in self.show(bottle(track, x), criteria=criteria)]


ON = range(320, 500, 20)


def test_the_same_track_is_the_same_part() -> None:
    moved = Moved()
    assert moved.move(1, ON) == []
    assert [cause for _ in range(70) for cause in moved.show()] == []
    assert moved.move(2, range(100, 500, 20)) == [PartCause.NONE]


def test_a_part_that_stands_between_the_lines_for_a_minute_is_still_that_one() -> None:
    moved = Moved()
    assert moved.move(1, [320] * 600) == []
    assert moved.move(1, ON) == []


@pytest.mark.parametrize("stands", [1, 600])
def test_another_track_between_the_lines_may_be_that_part(stands: int) -> None:
    moved = Moved()
    assert moved.move(1, [320] * stands) == []
    assert moved.move(2, ON) == [PartCause.RESTART]


def test_a_part_that_is_lost_between_the_lines_and_seen_again_elsewhere_is_not_accepted() -> None:
    moved = Moved()
    for _ in range(10):
        moved.show()
    assert moved.move(2, range(310, 500, 20)) == [PartCause.RESTART]


@pytest.mark.parametrize("what", ["run", "sleep", "settings", "gap", "goes back"])
def test_who_does_not_know_whether_it_is_the_same_part_does_not_accept_it(what: str) -> None:
    moved = Moved()
    match what:
        case "run":
            moved.watch.line_went()
        case "sleep":
            moved.watch.slept(0.1)
        case "gap":
            moved.now_s += 0.5
        case "goes back":
            moved.move(1, [320, 340, 280])
    causes = moved.move(1, ON, criteria=2 if what == "settings" else 1)
    assert len(causes) == 1
    assert causes[0]


def test_a_part_is_not_doubted_for_ever() -> None:
    """One that is found late each time, beyond where the line was, is a part once the old ones are gone."""
    moved = Moved()
    assert moved.move(2, range(300, 500, 20)) == [PartCause.RESTART]
    for _ in range(60):
        moved.show()
    assert moved.move(3, range(300, 500, 20)) == [PartCause.NONE]


def test_a_line_that_moves_up_says_what_is_between_the_two_once() -> None:
    moved = Moved()
    assert moved.move(2, [300, 320]) == []  # a part by the first line, perhaps
    assert moved.watch.end(moved.now_s) == []
    moved.watch = CrossingWatch(rule_at(0.3), moved.watch.left())
    assert moved.move(2, [340, 360, *ON]) == [PartCause.RESTART]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.7])
def test_what_is_never_seen_again_once_the_line_has_moved_is_a_part_that_was_not_inspected(share: float) -> None:
    """It was in view, and by no line a part yet."""
    moved = Moved()
    assert moved.move(2, range(200, 360, 20)) == []
    assert moved.watch.end(moved.now_s) == []
    moved.watch = CrossingWatch(rule_at(share), moved.watch.left())
    assert [cause for _ in range(70) for cause in moved.show()] == [PartCause.RESTART]


def test_two_moves_before_a_frame_lose_nothing() -> None:
    moved = Moved()
    moved.watch.end(moved.now_s)
    moved.watch = CrossingWatch(rule_at(0.7), moved.watch.left())
    assert moved.move(1, range(320, 600, 20)) == []


def said(x: float, at_s: float) -> dict[str, object]:
    """Return the `result` of a frame that shows one object."""
    box = [x - BOX_PX / 2, 150.0, x + BOX_PX / 2, 210.0]
    track = {"track": 1, "class": "bottle", "hits": 9, "score": 0.9, "box": box}
    width, height = SIZE_WH
    moments = {"arrived_s": at_s, "behind_s": 0.0, "width": width, "height": height, "criteria": 1}
    return {"kind": "result", "camera": "a", "boxes": [], "events": [], "tracks": [track], **moments}


async def test_a_lane_that_is_changed_hands_on_what_it_knew(tmp_path: Path) -> None:
    recorder = PartsRecorder(tmp_path, ["l1"], lambda _: None)
    try:
        deciding = Deciding(recorder, [], LanesOff(tmp_path, ()), is_simulated=True)
        began_s = time.monotonic()
        for share, places in ((0.4, range(200, 320, 20)), (0.6, ON)):
            deciding.add(replace(make_plan(), optical=rule_at(share)))
            deciding.line_came("run", ["bottle"])
            for x in places:
                deciding.line_said(FeedMessage(said(x, began_s + x / 200)))
            deciding.remove("l1")
        deciding.end()
    finally:
        recorder.close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        found = connection.execute("SELECT sequence, verdict, cause FROM parts ORDER BY number").fetchall()
    assert found == [(1, "not_inspected", "restart")]
