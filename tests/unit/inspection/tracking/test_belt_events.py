# SPDX-License-Identifier: AGPL-3.0-or-later
"""Simulated belts: every physical defect that crosses the view is exactly one event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import cos, radians, sin

import numpy as np
import pytest
from tests.builders import make_frame, scored_detections

from vision_line.config.models import StreamSettings
from vision_line.frames import (
    DefectEvent,
    EventPhase,
    Frame,
)
from vision_line.inspection.tracking.events import EventTracker

CLASSES = ("open", "short", "mousebite", "spur", "spurious_copper", "pin_hole")
SIZE_WH = (640, 360)
START_UTC = 1_767_225_600.0
FLICKER = -1

Way = Callable[[float], float]  # seconds -> how far the belt has run, in pixels


@dataclass(frozen=True, slots=True)
class Defect:
    """A defect on the belt: `along` the belt's way (negative: comes later), `across` it, in pixels."""

    along: float
    across: float
    class_id: int = 0
    size: float = 16.0


@dataclass(slots=True)
class Belt:
    """A belt under a camera, inspected at given times; `degrees` is its direction, 0 = to the right."""

    defects: Sequence[Defect]
    way: Way
    inspections_s: Sequence[float]
    degrees: float = 0.0
    jitter_px: float = 0.0
    miss: float = 0.0
    flicker: float = 0.0
    stretch: float = 0.0  # how much faster the far side of the frame moves than its near side (perspective)
    seed: int = 1
    seen: Counter[int] = field(default_factory=Counter)

    def run(self, min_hits: int = 3) -> Outcome:
        """Inspect every frame and end all events."""
        tracker = EventTracker("cam01", CLASSES, StreamSettings(min_hits=min_hits), 0.25)
        rng = np.random.default_rng(self.seed)
        truth: dict[tuple[int, tuple[float, ...]], int] = {}
        events: list[DefectEvent] = []
        for sequence, at_s in enumerate(self.inspections_s):
            rows = self._observe(rng, at_s)
            detections = scored_detections(*((*box, score, class_id) for _, box, score, class_id in rows))
            for index, row in enumerate(rows):
                truth[sequence, tuple(detections.xyxy[index].tolist())] = row[0]
            events += tracker.update(_frame(sequence, at_s), detections)
        events += tracker.close()
        return Outcome(events, truth, self)

    def _observe(self, rng: np.random.Generator, at_s: float) -> list[tuple[int, list[float], float, int]]:
        rows = []
        for number, defect in enumerate(self.defects):
            box = self._box(defect, at_s, rng)
            if box is not None and rng.random() >= self.miss:
                self.seen[number] += 1
                rows.append((number, box, float(rng.uniform(0.4, 0.9)), defect.class_id))
        while rng.random() < self.flicker:
            x, y = rng.uniform(20, SIZE_WH[0] - 20), rng.uniform(20, SIZE_WH[1] - 20)
            rows.append((FLICKER, [x - 8, y - 8, x + 8, y + 8], 0.4, int(rng.integers(len(CLASSES)))))
        return rows

    def _box(self, defect: Defect, at_s: float, rng: np.random.Generator) -> list[float] | None:
        """Cut the box at the frame edge as a detector does; less than 40 % of it in view is not seen."""
        ux, uy = cos(radians(self.degrees)), sin(radians(self.degrees))
        run = defect.along + self.way(at_s - self.inspections_s[0])
        x = SIZE_WH[0] / 2 + run * ux - defect.across * uy
        y = SIZE_WH[1] / 2 + run * uy + defect.across * ux
        x += self.stretch * (x - SIZE_WH[0] / 2) * (y / SIZE_WH[1])
        x, y = x + rng.normal(0, self.jitter_px / 2), y + rng.normal(0, self.jitter_px / 2)
        half = defect.size / 2 * rng.uniform(0.9, 1.1)
        box = np.clip([x - half, y - half, x + half, y + half], 0, [*SIZE_WH, *SIZE_WH])
        shown = (box[2] - box[0]) * (box[3] - box[1]) / (2 * half) ** 2
        return box.tolist() if shown >= 0.4 else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The events, and the physical defect to which each box belongs."""

    events: list[DefectEvent]
    truth: dict[tuple[int, tuple[float, ...]], int]
    belt: Belt

    def owners(self) -> dict[str, set[int]]:
        """Return the physical defects behind each event's boxes."""
        owners: dict[str, set[int]] = {}
        for event in self.events:
            owners.setdefault(event.event_id, set()).add(self.truth[event.sequence, event.xyxy])
        return owners

    def events_of(self) -> Counter[int]:
        """Return how many events touched each physical defect."""
        return Counter(number for owners in self.owners().values() for number in owners)

    def faults(self, least: int = 3) -> dict[str, int]:
        """Count defects that were split or missed though seen often enough, events of several defects, false ones."""
        events = self.events_of()
        due = [number for number, count in self.belt.seen.items() if count >= least]
        return {
            "due": len(due),
            "split": sum(events[number] > 1 for number in due),
            "untold": sum(events[number] == 0 for number in due),
            "merged": sum(len(owners) > 1 for owners in self.owners().values()),
            "false": sum(owners == {FLICKER} for owners in self.owners().values()),
        }


def _frame(sequence: int, at_s: float) -> Frame:
    return make_frame(sequence=sequence, size_wh=SIZE_WH, at_s=at_s, at_utc=START_UTC + at_s)


def steady(speed: float) -> Way:
    """Run at one speed."""
    return lambda at_s: speed * at_s


def stop_and_go(speed: float, period_s: float = 3.0, ramp_s: float = 0.3) -> Way:
    """Run for a period, stand for a period, with ramps."""
    times = np.arange(0, 600, 0.01)
    phase = times % (2 * period_s)
    share = np.clip(np.minimum(phase, period_s - phase) / ramp_s, 0, 1)
    way = np.concatenate([[0.0], np.cumsum(share * speed * 0.01)])
    return lambda at_s: float(np.interp(at_s, np.arange(len(way)) * 0.01, way))


def back_and_forth(speed: float, turn_s: float) -> Way:
    """Run, and at `turn_s` turn back."""
    return lambda at_s: speed * (turn_s - abs(at_s - turn_s))


def inspections(fps: float, duration_s: float, unevenness: float = 0.0, seed: int = 5) -> list[float]:
    """Return the moments of inspection; `unevenness` is the largest share by which an interval differs."""
    rng = np.random.default_rng(seed)
    intervals = (1 / fps) * (1 + rng.uniform(-unevenness, unevenness, int(duration_s * fps)))
    return [float(at_s) for at_s in 10.0 + np.cumsum(intervals)]


def boards(rng: np.random.Generator, count: int, pitch: float = 300.0, defects: float = 2.5) -> list[Defect]:
    """Return random boards that follow each other on the belt, no two defects of a class closer than 14 px."""
    placed: list[Defect] = []
    for board in range(count):
        for _ in range(int(rng.poisson(defects))):
            along, across = -board * pitch - rng.uniform(0, 240) - 400, rng.uniform(-120, 120)
            class_id, size = int(rng.integers(len(CLASSES))), float(rng.uniform(10, 26))
            if all(abs(along - p.along) + abs(across - p.across) > 30 for p in placed):
                placed.append(Defect(along, across, class_id, size))
    return placed


def _exactly_one(belt: Belt, least: int = 3) -> None:
    """Check that each defect seen often enough is one event of its own class, and nothing else is reported."""
    outcome = belt.run()
    faults = outcome.faults(least)
    due = faults.pop("due")

    assert due == len(belt.defects)
    assert faults == {"split": 0, "untold": 0, "merged": 0, "false": 0}
    assert [event.phase for event in outcome.events if event.phase is not EventPhase.UPDATE].count(
        EventPhase.END
    ) == due
    for event in outcome.events:
        assert belt.defects[outcome.truth[event.sequence, event.xyxy]].class_id == event.class_id


def _mixed(count: int, pitch: float = 90.0) -> list[Defect]:
    """Return defects of all classes that follow each other, the first just entering."""
    return [Defect(-320 - number * pitch, (number * 53) % 200 - 100, number % 6) for number in range(count)]


@pytest.mark.parametrize("fps", [2, 5, 25])
@pytest.mark.parametrize("degrees", [0, 90, 180, 213])
def test_steady_belt(fps: float, degrees: float) -> None:
    """Each defect is one event at 2, 5 and 25 inspections a second, whichever way the belt runs."""
    _exactly_one(Belt(_mixed(8), steady(100), inspections(fps, 15), degrees, jitter_px=2))


@pytest.mark.parametrize("speed", [0, 20, 250, 400])
def test_slow_and_fast_belts(speed: float) -> None:
    """Each defect is one event on a belt that stands, creeps, or crosses the view in a few frames."""
    defects = [
        Defect(along - 100, across, number) for number, (along, across) in enumerate([(0, 0), (50, 60), (90, -80)])
    ]
    _exactly_one(
        Belt(
            defects if speed < 100 else _mixed(8), steady(speed), inspections(5, 30 if speed < 100 else 9), jitter_px=2
        )
    )


def test_uneven_gaps() -> None:
    """Intervals between inspections that differ by up to 80 % change nothing."""
    _exactly_one(Belt(_mixed(12), steady(100), inspections(5, 20, unevenness=0.8), jitter_px=2))


@pytest.mark.parametrize("spacing", [19, 20, 21, 40])
@pytest.mark.parametrize("unevenness", [0.0, 0.3])
def test_neighbours_as_far_apart_as_the_shift(spacing: float, unevenness: float) -> None:
    """Defects of one class in a row, with a spacing near the belt's shift between inspections, stay apart."""
    row = [Defect(-320 - number * spacing, 10, 2, 12) for number in range(8)]
    _exactly_one(Belt(row, steady(100), inspections(5, 12, unevenness), jitter_px=2))


def test_equal_boards() -> None:
    """Boards with the same defects at the same places are not taken for one another."""
    pattern = [(0, -60, 0), (70, 20, 1), (140, 70, 0)]
    belt = [Defect(-320 - board * 220 - along, across, kind) for board in range(6) for along, across, kind in pattern]
    _exactly_one(Belt(belt, steady(110), inspections(5, 20), jitter_px=2))


def test_lone_defects() -> None:
    """Defects that cross the view one at a time, far apart, are one event each."""
    _exactly_one(Belt(_mixed(6, pitch=900), steady(150), inspections(5, 42), jitter_px=2))


@pytest.mark.parametrize("fps", [5, 25])
def test_belt_stops_and_starts(fps: float) -> None:
    """Stops and starts, also abrupt ones, split nothing and merge nothing."""
    _exactly_one(Belt(_mixed(8), stop_and_go(120, period_s=2.0, ramp_s=0.2), inspections(fps, 30), jitter_px=2))


def test_belt_turns_back() -> None:
    """A belt that reverses keeps the events of what stays in view."""
    defects = [Defect(-120 - 60 * number, 40.0 * number - 80, number) for number in range(5)]
    _exactly_one(Belt(defects, back_and_forth(100, 2.8), inspections(5, 5.5), jitter_px=2))


def test_missed_inspections() -> None:
    """A detector that misses one frame in five splits nothing."""
    _exactly_one(Belt(_mixed(12), steady(100), inspections(5, 20, 0.2), jitter_px=2, miss=0.2))


def test_flickers_are_not_reported() -> None:
    """False detections in single frames, four in ten frames, make no event and disturb none."""
    _exactly_one(Belt(_mixed(12), steady(100), inspections(5, 20), jitter_px=2, flicker=0.3))


def test_perspective() -> None:
    """A camera that looks along the belt at an angle, with speeds 20 % apart across the view, splits nothing."""
    _exactly_one(Belt(_mixed(12), steady(100), inspections(5, 20), jitter_px=2, stretch=0.2))


def _random_belts() -> list[Belt]:
    """Return 24 hard belts: random boards, speeds, directions, rates, gaps, misses and false detections."""
    belts = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        fps, speed = [(2, 50), (5, 30), (5, 100), (5, 200), (10, 120), (10, 300)][seed % 6]
        way = stop_and_go(speed, 2.5) if seed % 4 == 3 else steady(speed)
        placed = boards(rng, 7)
        duration_s = (1400 + 7 * 300) / speed * (2 if seed % 4 == 3 else 1)
        belts.append(
            Belt(placed, way, inspections(fps, duration_s, 0.3, seed), rng.uniform(0, 360), 2, 0.2, 0.05, seed=seed)
        )
    return belts


def test_random_belts_are_almost_always_right() -> None:
    """Over more than 300 defects under all difficulties at once, at least 99 % are exactly one event."""
    total: Counter[str] = Counter()
    for belt in _random_belts():
        total.update(belt.run().faults(least=6))
    wrong = total["split"] + total["untold"] + total["merged"]

    assert total["due"] >= 300
    assert wrong <= 0.01 * total["due"], dict(total)
    assert total["false"] <= 1
