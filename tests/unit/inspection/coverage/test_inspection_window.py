# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ledger's rule for parts, against parts that are simulated one by one; and why a line gets too few inspections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vision_line.frames import CameraState, DropCause, NotInspected, StateChange
from vision_line.inspection.coverage.ledger import CoverageLedger
from vision_line.inspection.coverage.minutes import CameraCounts
from vision_line.inspection.coverage.window import Need

UTC = 1_767_225_600.0
UNIT_S = 1 / 64  # sums of it are exact
NO_BOUND_S = 1e6


class Line:
    """One running camera under the ledger's eyes; the record as a database would hold it."""

    def __init__(self, need: Need) -> None:
        self.ledger = CoverageLedger()
        self.ledger.add_camera("cam", need, 0.0, UTC)
        self.ledger.state(StateChange("cam", CameraState.RUNNING, 0.0, UTC))
        self.rows: dict[str, NotInspected] = {}
        self.arrived = self.inspected = 0
        self.dropped: Counter[DropCause] = Counter()

    def inspect(self, at_s: float) -> None:
        self.inspected += 1
        self.ledger.inspected("cam", at_s)

    def tick(self, at_s: float) -> None:
        self._keep(self.ledger.tick(at_s, UTC + at_s, self._counts())[1])

    def close(self, at_s: float) -> None:
        self._keep(self.ledger.close(at_s, UTC + at_s, self._counts())[1])

    def reported(self) -> list[tuple[float, float, str]]:
        rows = [row for row in self.rows.values() if not row.withdrawn]
        return sorted((row.started_s, float("inf") if row.ended_s is None else row.ended_s, row.cause) for row in rows)

    def _counts(self) -> dict[str, CameraCounts]:
        return {"cam": CameraCounts(self.arrived, self.arrived, self.inspected, dict(self.dropped))}

    def _keep(self, rows: Sequence[NotInspected]) -> None:
        self.rows |= {row.interval_id: row for row in rows}


@settings(deadline=None, max_examples=150)
@given(
    pauses=st.lists(st.integers(1, 60), min_size=0, max_size=80),
    needed=st.integers(1, 8),
    dwell=st.integers(5, 120),
    delays=st.one_of(st.just([0] * 80), st.lists(st.integers(0, 100), min_size=80, max_size=80)),
    tick_every=st.integers(4, 60),
    tail=st.integers(1, 200),
    gap=st.one_of(st.none(), st.integers(2, 60)),
)
@example(  # the last gap is found before the inspections behind it, which make parts that came before it lack one
    pauses=[1] * 30 + [1, 1, 1, 1, 1, 39, 51, 25, 31, *[2] * 10],
    needed=7,
    dwell=100,
    delays=[0] * 80,
    tick_every=5,
    tail=60,
    gap=50,
)
def test_exactly_the_stays_of_parts_with_too_few_inspections(
    pauses: list[int], needed: int, dwell: int, delays: list[int], tick_every: int, tail: int, gap: int | None
) -> None:
    """Parts come at every moment; reported is the time of those with too few inspections, however late results are.

    So is that between two inspections which are too far apart, and what lies between two such stretches.

    Times are whole units: inspections at even ones, parts at odd ones, so that no two coincide.
    """
    inspections = [2 * sum(pauses[: n + 1]) for n in range(len(pauses))]
    end = (inspections[-1] if inspections else 0) + 2 * tail
    line = Line(Need(NO_BOUND_S if gap is None else 2 * gap * UNIT_S, needed, 2 * dwell * UNIT_S))
    results = [seen + max(delays[: n + 1]) for n, seen in enumerate(inspections)]  # they come in order
    steps = [(at, 1, seen) for at, seen in zip(results, inspections, strict=True) if at <= end]
    steps += [(at, 2, at) for at in range(0, end, tick_every)]
    for at, kind, seen in sorted(steps):
        if kind == 1:
            line.inspect(seen * UNIT_S)
        else:
            line.tick(at * UNIT_S)
    line.close(end * UNIT_S)

    known = [seen for result, seen in zip(results, inspections, strict=True) if result <= end]
    unseen: set[int] = set()
    for enters in range(1, end - 2 * dwell, 2):
        if sum(enters < seen < enters + 2 * dwell for seen in known) < needed:
            unseen.update(range(enters, enters + 2 * dwell + 1, 2))
    for before, after in pairwise((0, *known, end)):
        if gap is not None and after - before > 2 * gap:
            unseen.update(range(before + 1, after, 2))
    reported = {at for at in range(1, end, 2) if any(a < at * UNIT_S < b for a, b, _ in line.reported())}
    assert reported >= unseen
    if gap is None:
        assert reported == unseen


def _feed(
    line: Line,
    seconds: float,
    *,
    fps: float,
    inspect_every: int,
    lost: DropCause | None = None,
    start_s: float = 0.0,
    lost_every: int = 1,
) -> float:
    """Let frames come at `fps`; each `inspect_every`-th is inspected, the others are dropped for `lost`."""
    frames = round(seconds * fps)
    for n in range(frames):
        at_s = start_s + (n + 1) / fps
        line.arrived += 1
        if n % inspect_every == 0:
            line.inspect(at_s)
        elif lost is not None and n % lost_every == 0:
            line.dropped[lost] += 1
        else:
            line.dropped[DropCause.SUPERSEDED] += 1
        line.tick(at_s + 0.01)
    return start_s + seconds


NEED = Need(2.0, 7, 4.0)


@pytest.mark.parametrize(
    ("cause", "need", "fps", "inspect_every", "lost"),
    [
        ("capacity", NEED, 25.0, 40, DropCause.SUPERSEDED),
        ("capacity", NEED, 25.0, 40, DropCause.STALE),
        ("capacity:decoding", NEED, 25.0, 40, DropCause.SHED),
        ("camera:BEHIND", NEED, 25.0, 40, DropCause.BEHIND),
        ("camera:CORRUPT", NEED, 25.0, 40, DropCause.CORRUPT),
        ("rate_cap", Need(2.0, 7, 4.0, cap_fps=0.625), 25.0, 40, DropCause.RATE_CAP),
        ("camera:SLOW", NEED, 1.0, 1, None),
    ],
)
def test_what_lacks_is_the_cause(
    cause: str, need: Need, fps: float, inspect_every: int, lost: DropCause | None
) -> None:
    """No gap is longer than allowed, yet no part gets its seven inspections: one interval all the time, one cause."""
    line = Line(need)
    end_s = _feed(line, 60.0, fps=fps, inspect_every=inspect_every, lost=lost)
    line.close(end_s)

    assert line.reported() == [(0.0, end_s, cause)]


def _feed_damage_after_whole_frames(line: Line) -> float:
    """Let ten seconds of inspections be followed by 2.4 s of frames that are all damaged."""
    end_s = _feed(line, 10.0, fps=25.0, inspect_every=1)
    for n in range(60):
        line.arrived += 1
        line.dropped[DropCause.CORRUPT] += 1
        line.tick(end_s + (n + 1) / 25)
    return end_s + 2.4


def test_damage_after_enough_whole_frames_is_the_cause() -> None:
    """Over the whole dwell more whole frames came than are needed: all of them before the gap."""
    line = Line(NEED)
    whole_again_s = _feed_damage_after_whole_frames(line)
    line.close(_feed(line, 10.0, fps=25.0, inspect_every=1, start_s=whole_again_s))

    assert line.reported() == [(10.0, whole_again_s + 1 / 25, "camera:CORRUPT")]


def test_a_file_that_is_damaged_to_its_end_lacks_that_part() -> None:
    """No inspection will come, though none is due after the end."""
    line = Line(NEED)
    end_s = _feed_damage_after_whole_frames(line)
    line.ledger.state(StateChange("cam", CameraState.ENDED, end_s, UTC + end_s, "CORRUPT"))
    line.close(end_s + 5.0)

    assert line.reported() == [(10.0, end_s, "camera:CORRUPT")]


def test_a_cap_that_suffices_is_not_to_blame() -> None:
    """Frames beyond `inspect_fps` are dropped as ever, and the device gets to fewer than the cap allows."""
    line = Line(Need(2.0, 7, 4.0, cap_fps=5.0))
    line.close(_feed(line, 60.0, fps=25.0, inspect_every=40, lost=DropCause.RATE_CAP, lost_every=2))

    assert [cause for _, _, cause in line.reported()] == ["capacity"]


def test_enough_inspections_leave_nothing_to_report() -> None:
    """Exactly the rate that is needed is enough."""
    line = Line(Need(2.0, 8, 4.0))
    line.close(_feed(line, 60.0, fps=32.0, inspect_every=16))

    assert line.reported() == []


def test_a_rate_that_hovers_about_the_need_makes_no_flicker() -> None:
    """Inspections a little too far apart and a little closer in turns: intervals are longer than a part stays."""
    line = Line(NEED)
    at_s = 0.0
    for n in range(600):
        at_s += 0.6 if n % 5 < 2 + (n // 40) % 3 else 0.54
        line.arrived += 1
        line.inspect(at_s)
        line.tick(at_s)
    line.close(at_s)

    reported = line.reported()
    assert 0 < len(reported) < 20
    assert all(end - start > NEED.dwell_s for start, end, _ in reported)


def test_what_lacks_is_distinguished_from_what_lacked_before() -> None:
    """After a camera's failure too few inspections are the device's fault, from when the camera was back."""
    line = Line(NEED)
    end_s = _feed(line, 20.0, fps=25.0, inspect_every=5)
    line.ledger.state(StateChange("cam", CameraState.RECONNECTING, end_s, UTC + end_s, "REFUSED"))
    for n in range(50):
        line.tick(end_s + n / 5)
    back_s = end_s + 10.0
    line.ledger.state(StateChange("cam", CameraState.RUNNING, back_s, UTC + back_s))
    end_s = _feed(line, 30.0, fps=25.0, inspect_every=40, start_s=back_s)
    end_s = _feed(line, 20.0, fps=25.0, inspect_every=5, start_s=end_s)
    line.close(end_s)

    (first, second) = line.reported()
    assert first[1] == pytest.approx(back_s, abs=0.3)
    assert first[2] == "camera:REFUSED"
    assert (second[0], second[2]) == (first[1], "capacity")
    assert 60.0 <= second[1] < 64.0


def test_another_lack_begins_another_interval() -> None:
    """When the device is fast again and the camera sends too little, the cause changes, once."""
    line = Line(NEED)
    end_s = _feed(line, 40.0, fps=25.0, inspect_every=40)
    line.close(_feed(line, 60.0, fps=1.0, inspect_every=1, start_s=end_s))

    (first, second) = line.reported()
    assert (first[2], second[2]) == ("capacity", "camera:SLOW")
    assert first[1] == second[0] == pytest.approx(end_s, abs=5.0)
