# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many cameras one process carries: what a run is judged by, and how the GIL's time is divided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from benchmarks.gil import Profile, Stack
from benchmarks.many_cameras import (
    FRAME,
    FRAME_FUNCTIONS,
    INSPECTION,
    PACKET,
    STAND_IN,
    Load,
    carried,
    find_largest,
    stage,
    unit_costs_us,
)

from vision_line.ingest.rtsp import RtspSource
from vision_line.ingest.session import Session

READ = "Session._read (vision_line/ingest/session.py:160)"
TAKE = "Session._take (vision_line/ingest/session.py:180)"
PARSE = "parse_rtp (vision_line/ingest/wire/rtp.py:42)"


@pytest.mark.parametrize(
    ("thread", "frames", "expected"),
    [
        ("camera cam1", (READ, PARSE), PACKET),
        ("camera cam1", (READ, TAKE, "Colour (x.py:1)"), FRAME),
        ("camera cam1", (READ, "RtspSource._encoded (vision_line/ingest/rtsp.py:145)"), FRAME),
        ("scheduler", ("Scheduler._run (vision_line/scheduler/loop.py:1)",), INSPECTION),
        ("MainThread", (), INSPECTION),
        ("simulated-engine", ("work (a.py:1)",), STAND_IN),
    ],
)
def test_what_a_thread_works_for(thread: str, frames: tuple[str, ...], expected: str) -> None:
    assert stage(Stack(thread, frames, 1)) == expected


def test_the_functions_that_work_on_whole_frames_are_there() -> None:
    """By their names their time is found: one that is renamed would be counted as a packet's."""
    classes = {"Session": Session, "RtspSource": RtspSource}
    for name in FRAME_FUNCTIONS:
        owner, _, function = name.partition(".")
        assert getattr(classes[owner], function).__qualname__ == name


def test_a_cost_is_a_share_of_time_by_a_count() -> None:
    assert unit_costs_us({PACKET: 0.1, FRAME: 0.05}, {PACKET: 10_000, FRAME: 1000, INSPECTION: 0.0}) == {
        PACKET: pytest.approx(10.0),
        FRAME: pytest.approx(50.0),
    }


def test_the_gil_is_full_when_all_frames_take_a_second() -> None:
    assert carried({PACKET: 10.0, FRAME: 50.0, INSPECTION: 50.0}, fps=25, packets_per_frame=10) == pytest.approx(200)


def limit(most: int, tried: list[int]) -> Callable[[int], bool]:
    return lambda cameras: tried.append(cameras) or cameras <= most  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("most", "largest", "tried"),
    [(100, 100, [64, 80, 100, 125]), (64, 64, [64, 80]), (20, 16, [64, 32, 16]), (0, 0, [64, 32, 16, 8, 4, 2, 1])],
)
def test_the_number_grows_while_it_holds_and_is_halved_where_it_never_did(
    most: int, largest: int, tried: list[int]
) -> None:
    seen: list[int] = []
    assert find_largest(64, limit(most, seen)) == largest
    assert seen == tried


GOOD: dict[str, Any] = {
    "running": 64,
    "reconnects": 0,
    "lost": 0,
    "arrived_fps": 1600.0,
    "inspected_fps": 1600.0,
    "p99_ms": 20.0,
    "frames_arrived": 20_000,
    "frames_inspected": 19_000,
    "frames_dropped": {"superseded": 990, "shutdown": 10},
}
LOAD = Load(64, GOOD, {"skipped": 0}, 15.0, 1.0, 0.1, Profile((), 1))


def test_a_run_without_a_complaint_holds() -> None:
    assert LOAD.holds
    assert LOAD.rates == {PACKET: 24_000.0, FRAME: 1600.0, INSPECTION: 1600.0}


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"running": 63}, "cameras do not run"),
        ({"reconnects": 1}, "reconnects"),
        ({"p99_ms": 151.0}, "p99"),
        ({"p99_ms": None}, "p99"),
        ({"lost": 21}, "lost"),
        ({"frames_inspected": 19_001}, "unaccounted"),
        ({"frames_dropped": {}}, "unaccounted"),
    ],
)
def test_what_does_not_hold_is_named(changed: dict[str, Any], complaint: str) -> None:
    assert replace(LOAD, found=GOOD | changed).complaints == [complaint]


def test_frames_that_the_server_could_not_send_are_no_success() -> None:
    assert replace(LOAD, sent={"skipped": 1}).complaints == ["skipped by the server"]
