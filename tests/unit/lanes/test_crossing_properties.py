# SPDX-License-Identifier: AGPL-3.0-or-later
"""Objects on a belt, however they are seen: each that crosses is a part, and is accepted at most once."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from vision_line.frames import TrackedObject
from vision_line.lanes.crossing_line import CrossingLine, CrossingRule
from vision_line.lanes.crossing_watch import Crossing, CrossingWatch, ObjectsFrame
from vision_line.parts.part import PartCause

SIZE_WH = (640, 360)
LINE_PX = 384.0
PERIOD_S = 0.1
BOX_PX = 60.0
RULE = CrossingRule(
    camera="a",
    classes=frozenset({"bottle"}),
    line=CrossingLine((0.6, 0.0), (0.6, 1.0), "right"),
    hits=3,
    patience=5,
    gap_s=0.25,
    dwell_s=2.0,
)


@dataclass
class Belt:
    """Objects one behind the other; each is at `-place + belt(t)` pixels. The belt stops once, perhaps."""

    speed_px_s: float
    places_px: list[float]
    trembles_px: list[float]
    stop: tuple[float, float] | None = None
    missing: set[tuple[int, int]] = field(default_factory=set)  # object, frame
    breaks: set[tuple[int, int]] = field(default_factory=set)  # from this frame on its track has another number
    dropped: set[int] = field(default_factory=set)

    @property
    def frames(self) -> int:
        """Until all have long left, and what was lost was given up."""
        way_px = SIZE_WH[0] + max(self.places_px)
        return round((way_px / self.speed_px_s + (self.stop or (0, 0))[1] + 6.0) / PERIOD_S)

    def moved_px(self, at_s: float) -> float:
        """Return how far the belt came until a moment."""
        begin_s, lasts_s = self.stop or (0.0, 0.0)
        standing_s = min(max(at_s - begin_s, 0.0), lasts_s)
        return self.speed_px_s * (at_s - standing_s)

    def crossed_s(self, number: int) -> float:
        """Return when the centre of an object is on the line."""
        way_s = (LINE_PX + self.places_px[number]) / self.speed_px_s
        begin_s, lasts_s = self.stop or (0.0, 0.0)
        return way_s + (lasts_s if way_s > begin_s else 0.0)

    def sights(self, number: int) -> list[tuple[int, float, int]]:
        """Return the frames that show an object, where, and the number of its track."""
        found, track = [], number * 100 + 1
        for frame in range(self.frames):
            x = self.moved_px(frame * PERIOD_S) - self.places_px[number]
            track += (number, frame) in self.breaks
            if 0 <= x <= SIZE_WH[0] and frame not in self.dropped and (number, frame) not in self.missing:
                found.append((frame, x + self.trembles_px[(frame * 7 + number) % len(self.trembles_px)], track))
        return found

    def seen(self) -> list[ObjectsFrame]:
        """Return the frames that were inspected."""
        hits: dict[int, int] = {}
        rows: dict[int, list[TrackedObject]] = {frame: [] for frame in range(self.frames) if frame not in self.dropped}
        for number in range(len(self.places_px)):
            for frame, x, track in self.sights(number):
                hits[track] = hits.get(track, 0) + 1
                rows[frame].append(bottle(track, x, hits=hits[track]))
        return [ObjectsFrame(frame * PERIOD_S, SIZE_WH, 1, tuple(found)) for frame, found in rows.items()]


def bottle(track: int, x: float, *, hits: int = 3, y: float = 180.0, name: str = "bottle") -> TrackedObject:
    """Return an object whose centre is at `x`, `y`."""
    half = BOX_PX / 2
    return TrackedObject(track, name, hits, 0.9, (x - half, y - half, x + half, y + half))


def parts_of(belt: Belt) -> list[Crossing]:
    """Return what a watch says that has been there since before the first object."""
    watch = CrossingWatch(RULE)
    watch.take(ObjectsFrame(-PERIOD_S, SIZE_WH, 1))
    return [crossing for frame in belt.seen() for crossing in watch.take(frame)]


def places(draw: st.DrawFn) -> list[float]:
    """Return where the objects lie: never nearer than two and a half of them."""
    steps = draw(st.lists(st.floats(2.5 * BOX_PX, 8 * BOX_PX), min_size=1, max_size=4))
    return [sum(steps[: index + 1]) for index in range(len(steps))]


@st.composite
def good_belts(draw: st.DrawFn) -> Belt:
    """Every frame is inspected and shows each object; the belt may stop."""
    trembles = draw(st.lists(st.floats(-3.0, 3.0), min_size=5, max_size=11))
    stop = draw(st.none() | st.tuples(st.floats(0.5, 5.0), st.floats(0.2, 3.0)))
    return Belt(draw(st.floats(80.0, 300.0)), places(draw), trembles, stop)


@st.composite
def bad_belts(draw: st.DrawFn, *, most_missed: int = 9, can_drop: bool = True) -> Belt:
    """Objects are missed for some frames, their tracks break off, and frames are not inspected."""
    belt = draw(good_belts())
    objects, frames = st.integers(0, len(belt.places_px) - 1), st.integers(-9, 9)  # from where an object crosses
    missed = st.integers(0, most_missed) | st.just(200 if can_drop else 0)
    for number, near, lost, breaks in draw(st.lists(st.tuples(objects, frames, missed, st.booleans()), max_size=4)):
        frame = round(belt.crossed_s(number) / PERIOD_S) + near
        belt.missing |= {(number, frame + each) for each in range(lost)}
        belt.breaks |= {(number, frame + lost)} if breaks else set()
    lengths = st.integers(1, 12)
    for number, near, lost in draw(st.lists(st.tuples(objects, frames, lengths), max_size=2)) if can_drop else ():
        frame = round(belt.crossed_s(number) / PERIOD_S) + near
        belt.dropped |= set(range(frame, frame + lost))
    for begin in sorted(belt.dropped):  # together they are no time in which something passes unseen
        if all(begin + each in belt.dropped for each in range(18)):
            belt.dropped -= {begin}
    return belt


@settings(max_examples=60, deadline=None)
@given(good_belts())
def test_each_object_is_one_part_at_its_moment(belt: Belt) -> None:
    parts = parts_of(belt)
    assert [part.cause for part in parts] == [PartCause.NONE] * len(belt.places_px)
    for number, part in enumerate(parts):
        # Where it stood between two frames nobody knows when; a trembling box is on the line sooner or later.
        has_stood = belt.stop is not None and belt.stop[0] - PERIOD_S <= part.at_s <= sum(belt.stop) + PERIOD_S
        unsure_s = sum(belt.stop or ()) if has_stood else 0.0
        assert abs(part.at_s - belt.crossed_s(number)) <= 4.0 / belt.speed_px_s + unsure_s
    assert all(later.number == earlier.number + 1 for earlier, later in pairwise(parts))


@settings(max_examples=120, deadline=None)
@given(bad_belts())
def test_none_that_was_seen_is_lost_and_none_is_accepted_twice(belt: Belt) -> None:
    parts = parts_of(belt)
    needed = breaks = 0
    for number in range(len(belt.places_px)):
        tracks = [track for _, _, track in belt.sights(number)]
        needed += any(tracks.count(track) >= RULE.hits for track in tracks)
        breaks += max(0, len(set(tracks)) - 1)
    # What was given up, and is seen before the line once more, is said once more.
    given_up = sum(len(belt.missing) + len(belt.dropped) >= RULE.patience for _ in belt.places_px) if belt.stop else 0
    # What is seen beyond the line behind a gap may have come in it; what is not where it must be then is two objects.
    entered_anew = 2 * len(belt.places_px) * gaps_of(belt)
    assert needed <= len(parts) <= len(belt.places_px) + breaks + given_up + entered_anew

    for part in parts:
        if part.cause is PartCause.NONE:
            assert any(was_seen_crossing(belt, number, part.at_s) for number in range(len(belt.places_px)))
    clean_s = sorted(part.at_s for part in parts if part.cause is PartCause.NONE)
    apart_s = (2.5 * BOX_PX - 14.0) / belt.speed_px_s  # no two objects cross nearer to each other
    assert all(later - earlier >= apart_s - 2 * PERIOD_S for earlier, later in pairwise(clean_s))


def gaps_of(belt: Belt) -> int:
    """Return how often two inspected frames are further apart than it is known which object is which."""
    kept = [frame for frame in range(belt.frames) if frame not in belt.dropped]
    return sum((later - earlier) * PERIOD_S > RULE.gap_s for earlier, later in pairwise(kept))


def was_seen_crossing(belt: Belt, number: int, at_s: float) -> bool:
    """Whether two frames that are not far apart show an object before the line, and then beyond it."""
    sights = [(frame * PERIOD_S, x, track) for frame, x, track in belt.sights(number)]
    return any(
        before[0] - 1e-9 <= at_s <= after[0] + 1e-9
        and before[1] < LINE_PX <= after[1]
        and after[0] - before[0] <= RULE.gap_s + 1e-9
        and before[2] == after[2]
        for before, after in pairwise(sights)
    )


@settings(max_examples=80, deadline=None)
@given(bad_belts(most_missed=3, can_drop=False))
def test_what_is_missed_for_less_than_the_patience_is_still_one_part(belt: Belt) -> None:
    """Also where its track breaks off: it is found anew where it must be."""
    belt.stop = None
    # One that is seen once and then lost has no speed by which it could be found again.
    for number in range(len(belt.places_px)):
        first = belt.sights(number)[0][0]
        belt.breaks -= {(number, frame) for frame in range(first + 2 + 3)}
        belt.missing -= {(number, frame) for frame in range(first + 2)}
    parts = parts_of(belt)
    assert len(parts) == len(belt.places_px)
