# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fewer frames can be inspected than arrive: as many parts as possible get their inspections, and turns are fair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.builders import make_frame

from vision_line.config.models import StreamSettings
from vision_line.ingest.mailbox import NewestFrame
from vision_line.inspection.detection_filter import DetectionFilter
from vision_line.inspection.tracking.events import EventTracker
from vision_line.scheduler import CameraPipeline
from vision_line.scheduler.batching import Ready, Turns, plan_batch
from vision_line.scheduler.load_share import LoadShare
from vision_line.scheduler.rotation import DWELLS_OF_A_PERIOD, HEADROOM, OVERLOADED_IN_A_ROW, Rotation

SHAPE = (192, 320)
FPS = 25.0


@dataclass(slots=True)
class Camera:
    """A camera that always has a frame of the last 40 ms, whose parts stay `dwell_s` and need `inspections`."""

    inspections: int
    dwell_s: float
    last_turn: float = -1
    seen_s: list[float] = field(default_factory=list)
    rests: bool = False

    @property
    def needed_fps(self) -> float:
        return self.inspections / self.dwell_s

    def covered(self, from_s: float, until_s: float, turn_s: float = 0.0) -> float:
        """Return the share of parts, coming at every moment, that got their inspections by `turn_s` after they left."""
        entries = [from_s + n * 0.05 for n in range(int((until_s - self.dwell_s - turn_s - from_s) / 0.05))]
        enough = sum(
            sum(entry <= at <= entry + self.dwell_s + turn_s for at in self.seen_s) >= self.inspections
            for entry in entries
        )
        return enough / len(entries)


def serve(cameras: Sequence[Camera], capacity_fps: float, seconds: float, rotation: Rotation | None = None) -> None:
    """Inspect one frame after the other in virtual time, as the scheduler's thread plans it."""
    turns, taken = Turns(), [-1] * len(cameras)
    decided_s = 0.0
    for n in range(round(seconds * capacity_fps)):
        now_s = n / capacity_fps
        if rotation is not None and now_s >= decided_s + 2.0:
            decided_s = now_s
            needs = {str(index): camera.needed_fps for index, camera in enumerate(cameras)}
            resting = rotation.plan(now_s, needs, capacity_fps, max(camera.dwell_s for camera in cameras))
            for index, camera in enumerate(cameras):
                camera.rests = str(index) in resting
        frame = int(now_s * FPS)
        ready = [
            Ready(i, frame / FPS, SHAPE, inf if c.rests else c.last_turn)
            for i, c in enumerate(cameras)
            if taken[i] < frame
        ]
        for index in plan_batch(now_s, ready, max_batch=1).batch:
            taken[index] = frame
            cameras[index].seen_s.append(frame / FPS)
            cameras[index].last_turn = turns.take(cameras[index].last_turn, 1 / cameras[index].needed_fps)


needs = st.tuples(st.integers(1, 12), st.floats(1.0, 6.0))


@settings(deadline=None, max_examples=20)
@given(st.lists(needs, min_size=2, max_size=8), st.floats(1.5, 4.0))
@example([(1, 1.0), (1, 4.0)], 1.5)  # two turns of this device take longer than a part stays
def test_where_the_device_can_every_part_gets_its_inspections(cameras: list[tuple[int, float]], spare: float) -> None:
    """Needs differ by the camera: none with a lower one takes from one with a higher, and all come evenly.

    To one turn of the device and one frame: no order of turns helps a part that stays for less than two.
    """
    made = [Camera(inspections, dwell_s) for inspections, dwell_s in cameras]
    capacity_fps = spare * sum(camera.needed_fps for camera in made)
    serve(made, capacity_fps, 30.0)

    for camera in made:
        assert camera.covered(1.0, 30.0, 1 / capacity_fps + 1 / FPS) == 1.0 or camera.needed_fps * spare > FPS


@settings(deadline=None, max_examples=20)
@given(st.lists(needs, min_size=2, max_size=8))
def test_shares_are_in_proportion_to_needs(cameras: list[tuple[int, float]]) -> None:
    """When all lack something, all lack the same share of their need; a frame that comes late costs a turn."""
    made = [Camera(inspections, dwell_s) for inspections, dwell_s in cameras]
    needed = sum(camera.needed_fps for camera in made)
    share = min(0.9, 0.9 * FPS / needed)
    serve(made, share * needed, 30.0)

    for camera in made:
        assert len(camera.seen_s) == pytest.approx(30.0 * share * camera.needed_fps, abs=2.5, rel=0.03)


def test_one_camera_is_looked_at_evenly() -> None:
    """No bursts: of 16 cameras at two inspections a second each gap is half a second, to a frame."""
    made = [Camera(7, 4.0) for _ in range(16)]
    serve(made, 32.0, 30.0)

    for camera in made:
        assert all(0.4 < after - before < 0.6 for before, after in pairwise(camera.seen_s[2:]))


@pytest.mark.parametrize(("capacity_fps", "equal", "in_turns"), [(20.0, 0.0, 0.5), (14.0, 0.0, 0.3), (4.0, 0.0, 0.05)])
def test_with_too_little_for_all_some_are_served_fully_in_turns(
    capacity_fps: float, equal: float, in_turns: float
) -> None:
    """16 cameras need 28 inspections a second: an equal share inspects no part, turns inspect as many as possible."""
    made = [Camera(7, 4.0) for _ in range(16)]
    serve(made, capacity_fps, 40.0)
    assert sum(camera.covered(20.0, 40.0) for camera in made) / 16 == equal

    made = [Camera(7, 4.0) for _ in range(16)]
    serve(made, capacity_fps, 220.0, Rotation())
    covered = [camera.covered(20.0, 220.0) for camera in made]
    assert sum(covered) / 16 > in_turns
    if capacity_fps > 10:
        assert min(covered) > 0.5 * sum(covered) / 16  # nobody rests for ever


def test_a_moment_of_overload_lets_nobody_rest() -> None:
    """Only what lasts does, and it ends as soon as the device can serve all again, with something to spare."""
    needs_fps = {"a": 2.0, "b": 2.0, "c": 2.0}
    rotation = Rotation()
    for n in range(OVERLOADED_IN_A_ROW - 1):
        assert rotation.plan(n, needs_fps, 5.0, 4.0) == frozenset()
    assert rotation.plan(8.0, needs_fps, None, 4.0) == frozenset()

    planned = [rotation.plan(10.0 + n, needs_fps, 5.0, 4.0) for n in range(OVERLOADED_IN_A_ROW)]
    assert [len(resting) for resting in planned] == [0] * (OVERLOADED_IN_A_ROW - 1) + [1]
    assert len(rotation.plan(20.0, needs_fps, 6.0 * HEADROOM - 0.1, 4.0)) == 1
    assert rotation.plan(21.0, needs_fps, 6.0 * HEADROOM, 4.0) == frozenset()


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.floats(0.2, 10.0), min_size=2, max_size=20),
    st.floats(0.05, 0.99),
    st.lists(st.floats(0.8, 1.2), min_size=200, max_size=200),
)
def test_who_is_served_is_served_fully_and_who_rests_comes_in_turn(
    needed: list[float], share: float, noise: list[float]
) -> None:
    """Whatever the capacity, and though it wavers: those that do not rest fit into it; turns go round."""
    needs_fps = {str(index): fps for index, fps in enumerate(needed)}
    capacity = share * sum(needed)
    rotation, served = Rotation(), Counter[str]()
    for n, factor in enumerate(noise):
        room = min(capacity * factor, sum(needed) * 0.999)
        resting = rotation.plan(n * 2.0, needs_fps, room, 1.0)
        if resting:
            awake = needs_fps.keys() - resting
            assert sum(needs_fps[camera] for camera in awake) <= room + 1e-6
            served.update(awake)
    periods = len(noise) * 2.0 / DWELLS_OF_A_PERIOD
    able = [camera for camera, fps in needs_fps.items() if fps <= 0.8 * capacity / HEADROOM]
    if periods > 3 * len(needed):
        assert all(served[camera] for camera in able)


def test_what_no_device_could_serve_lets_nobody_rest() -> None:
    """Where not even one camera fits, resting would help nobody."""
    rotation = Rotation()

    assert [rotation.plan(n, {"a": 5.0, "b": 6.0}, 3.0, 4.0) for n in range(9)] == [frozenset()] * 9


class Rig:
    """Lines that always have a frame, under the eyes of a `LoadShare`; ten samples a second."""

    def __init__(self, cameras: int, needed_fps: float) -> None:
        self.lines = [self._line(f"cam{n}", needed_fps) for n in range(cameras)]
        self.share = LoadShare(0.0)
        self.now_s, self.inspected = 0.0, 0.0

    def run(self, seconds: float, inspected_fps: float, *, full: bool = True) -> list[str]:
        for _ in range(round(seconds * 10)):
            self.now_s += 0.1
            self.inspected += inspected_fps * 0.1
            self.share.sample(self.now_s, self.lines, round(self.inspected), full=full)
        return [line.camera for line in self.lines if line.rests]

    @staticmethod
    def _line(camera: str, needed_fps: float) -> CameraPipeline:
        settings = StreamSettings()
        box = NewestFrame(lambda: None)
        keep, tracker = DetectionFilter(("a",), settings, 0.5), EventTracker(camera, ("a",), settings, 0.5)
        box.put(make_frame(camera, size_wh=(64, 64)))
        return CameraPipeline(camera, box, keep, tracker, period_s=1 / needed_fps, dwell_s=4.0)


def test_a_device_at_its_limit_lets_lines_rest() -> None:
    """Only when it has no free slot while frames wait, and does less than all of them need."""
    rig = Rig(4, 2.0)
    assert rig.run(20.0, 5.0, full=False) == []
    assert rig.run(20.0, 9.0) == []
    assert len(rig.run(20.0, 5.0)) == 2
    assert rig.run(20.0, 9.0) == []


def test_a_line_without_frames_is_not_counted() -> None:
    """A camera that is dead takes no share, and so lets no other rest."""
    rig = Rig(4, 2.0)
    for line in rig.lines[:2]:
        line.mailbox.take()

    assert rig.run(20.0, 5.0) == []
