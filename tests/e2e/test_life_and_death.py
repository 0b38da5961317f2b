# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs that are killed, stopped and started again: whatever happens, no second is missing in the ledger."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import LineRun
from tests.fakes.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

KILLS = 2
#: Inspections lie closer than this, so a longer time without an interval is a hole; the rows of one tick lie closer.
LONGEST_S = 3.0
NEAR_S = 0.05
STOPS = 2
STOPPED_S = 2.5


def first_inspection_utc(run: LineRun, number: int, camera: str) -> float:
    """Return the end of the intervals with which the run `number` began."""
    ((ended_utc,),) = run.query(
        f"SELECT max(ended_utc) FROM not_inspected WHERE run = {number} AND camera = '{camera}'"
        " AND cause IN ('off', 'crashed', 'camera:CONNECTING', 'device:STARTING')"
    )
    assert isinstance(ended_utc, float)
    return ended_utc


def intervals(run: LineRun, camera: str) -> list[tuple[float, float, str]]:
    """Return the camera's intervals of all runs in order: start, end, cause."""
    return run.query(
        f"SELECT started_utc, ended_utc, cause FROM not_inspected WHERE camera = '{camera}' ORDER BY started_utc"
    )


def inspected_minutes(run: LineRun, number: int, camera: str) -> int:
    """Return how many frames the rows of a run count as inspected."""
    rows = run.query(f"SELECT sum(inspected) FROM coverage WHERE run = {number} AND camera = '{camera}'")
    return rows[0][0] or 0 if rows else 0


def start_and_wait(run: LineRun, number: int) -> None:
    run.start()
    wait_for(
        lambda: all(inspected_minutes(run, number, camera) for camera in run.names),
        f"run {number} inspects: {run.text()[-2000:]}",
    )


def test_killed_at_random_moments_no_second_is_missing(make_run: Callable[[int], Any]) -> None:
    """From a kill to the next first inspection all is `crashed`, then what the start says; nothing counts twice."""
    run = make_run(2)
    moment = random.Random(5)
    killed_utc = []
    for number in range(1, KILLS + 1):
        start_and_wait(run, number)
        time.sleep(moment.uniform(0.0, 3.0))  # any moment will do
        run.process.kill()
        killed_utc.append(time.time())
        run.process.wait(60)
    start_and_wait(run, KILLS + 1)
    run.signal(signal.SIGTERM)
    assert run.wait() == 130

    runs = run.query("SELECT end_cause, alive_utc, ended_utc FROM runs ORDER BY run")
    assert [cause for cause, _, _ in runs] == ["crashed"] * KILLS + ["stopped"]
    for (_, alive_utc, ended_utc), at_utc in zip(runs, killed_utc, strict=False):
        assert ended_utc == alive_utc
        assert 0 <= at_utc - alive_utc < LONGEST_S
    for camera in run.names:
        reported = intervals(run, camera)
        for (_, ended, _), (started, _, _) in pairwise(reported):
            assert started >= ended - NEAR_S, reported
        gaps = [(alive, first_inspection_utc(run, n + 2, camera)) for n, (_, alive, _) in enumerate(runs[:-1])]
        for alive_utc, first_utc in gaps:
            # On a busy machine a camera may not have been inspected for a while when its run was killed.
            inside = [row for row in reported if row[1] > alive_utc + NEAR_S and row[1] <= first_utc + NEAR_S]
            assert inside[0][2] == "crashed", reported
            reported_s = sum(end - max(start, alive_utc) for start, end, _ in inside)
            assert reported_s == pytest.approx(first_utc - alive_utc, abs=4 * NEAR_S)
    for number in range(1, KILLS + 1):
        assert run.query(f"SELECT sum(provisional) FROM coverage WHERE run = {number}") == [(len(run.names),)]


def wait_for_run(run: LineRun, number: int) -> None:
    wait_for(lambda: run.query(f"SELECT 1 FROM runs WHERE run = {number}"), "the run is entered")


def test_killed_while_they_start_no_second_is_missing(make_run: Callable[[int], Any]) -> None:
    """Starts that never come to inspect leave neither hole nor overlap between two runs that did."""
    run = make_run(1)
    moment = random.Random(6)
    start_and_wait(run, 1)
    run.process.kill()
    run.process.wait(60)
    for number in (2, 3):
        run.start()
        wait_for_run(run, number)
        time.sleep(moment.uniform(0.0, 1.0))  # any moment will do
        run.process.kill()
        run.process.wait(60)
    start_and_wait(run, 4)
    run.signal(signal.SIGTERM)
    assert run.wait() == 130

    ((alive_utc,),) = run.query("SELECT alive_utc FROM runs WHERE run = 1")
    reported = [row for row in intervals(run, "cam01") if row[1] > alive_utc + NEAR_S]
    assert reported[0][0] <= alive_utc + NEAR_S
    assert reported[0][2] == "crashed"
    until_utc = first_inspection_utc(run, 4, "cam01")
    for (_, ended, _), (started, _, _) in pairwise(row for row in reported if row[0] < until_utc):
        assert started == pytest.approx(ended, abs=NEAR_S), reported
    assert run.query("SELECT count(*) FROM runs WHERE end_cause = 'crashed'") == [(3,)]


def test_a_run_that_ended_leaves_off_also_for_a_camera_that_the_next_run_is_without(
    make_run: Callable[[int], Any],
) -> None:
    """The time since the last run with the camera is the row of the next one with it."""
    run = make_run(2)
    assert run.run("--duration", "2") == 0, run.text()[-3000:]
    run.write_streams(["cam01"])
    assert run.run("--duration", "2") == 0, run.text()[-3000:]
    run.write_streams(["cam01", "cam02"])
    assert run.run("--duration", "2") == 0, run.text()[-3000:]

    off = run.query(
        "SELECT run, camera, ended_utc - started_utc FROM not_inspected WHERE cause = 'off' ORDER BY run, camera"
    )
    assert [row[:2] for row in off] == [(2, "cam01"), (3, "cam01"), (3, "cam02")]
    ends = run.query("SELECT alive_utc FROM runs ORDER BY run")
    starts = run.query("SELECT started_utc FROM not_inspected WHERE cause = 'off' ORDER BY run, camera")
    first, second = (end for (end,) in ends[:2])
    assert [start for (start,) in starts] == pytest.approx([first, second, first], abs=NEAR_S)


def states_of(run: LineRun, camera: str) -> list[tuple[str, float]]:
    return run.query(f"SELECT state, at_utc FROM states WHERE camera = '{camera}' ORDER BY change")


def test_a_camera_that_comes_and_goes_by_reloads_leaves_no_hole(make_run: Callable[[int], Any]) -> None:
    """Whoever did not watch it and for whatever reason: from one inspection to the next all is told, once."""
    run = make_run(2)
    assert run.run("--duration", "2") == 0, run.text()[-3000:]
    url = f"rtsp://localhost:{run.port}/cam02"
    at_another_url = f'[[stream]]\nname = "cam02"\nurl = "{url}"\n'

    def reload(names: list[str], extra: str, state: str) -> None:
        before = len(states_of(run, "cam02"))
        run.write_streams(names, extra)
        run.signal(signal.SIGHUP)
        wait_for(
            lambda: states_of(run, "cam02")[before:] and states_of(run, "cam02")[-1][0] == state,
            f"cam02 is {state}: {run.text()[-2000:]}",
        )
        inspected = inspected_minutes(run, 2, "cam02")
        wait_for(lambda: state != "RUNNING" or inspected_minutes(run, 2, "cam02") > inspected + 5, "it is inspected")

    run.write_streams(["cam01"])
    run.start()
    wait_for(lambda: inspected_minutes(run, 2, "cam01"), run.text())
    reload(["cam01", "cam02"], "", "RUNNING")
    reload(["cam01"], at_another_url + "enabled = false\n", "REMOVED")
    reload(["cam01"], at_another_url, "RUNNING")
    reload(["cam01", "cam02"], "", "RUNNING")  # from one URL to another
    reload(["cam01"], "", "REMOVED")
    run.signal(signal.SIGTERM)
    assert run.wait() == 130
    run.write_streams(["cam01", "cam02"])
    assert run.run("--duration", "2") == 0, run.text()[-3000:]

    ((alive_utc,),) = run.query("SELECT alive_utc FROM runs WHERE run = 1")
    removed = [at_utc for state, at_utc in states_of(run, "cam02") if state == "REMOVED"]
    reported = intervals(run, "cam02")
    off = [row for row in reported if row[2] == "off"]
    assert [row[0] for row in off] == pytest.approx([alive_utc, *removed], abs=4 * NEAR_S), reported
    for (_, ended, cause), (started, _, following) in pairwise(reported):
        assert started >= ended - NEAR_S, reported
        if cause == "off":  # the run's own causes go on to the first inspection
            assert started == pytest.approx(ended, abs=NEAR_S)
            assert following in {"camera:CONNECTING", "device:STARTING"}, reported
    assert [row[2] for row in intervals(run, "cam01")].count("off") == 2


def test_a_stopped_process_says_paused(make_run: Callable[[int], Any]) -> None:
    """SIGSTOP again and again: each time an interval of its own cause, and no step of the clock."""
    run = make_run(2)
    start_and_wait(run, 1)
    stops = []
    moment = random.Random(7)
    for _ in range(STOPS):
        time.sleep(moment.uniform(0.5, 1.5))  # any moment will do
        stopped_utc = time.time()
        run.signal(signal.SIGSTOP)
        time.sleep(STOPPED_S)
        run.signal(signal.SIGCONT)
        stops.append((stopped_utc, time.time()))
    inspected = [inspected_minutes(run, 1, camera) for camera in run.names]
    wait_for(
        lambda: all(inspected_minutes(run, 1, c) > n for c, n in zip(run.names, inspected, strict=True)),
        f"it goes on: {run.text()[-2000:]}",
    )
    run.signal(signal.SIGTERM)

    assert run.wait() == 130
    assert run.text().count("did not run for") == STOPS, run.text()[-3000:]
    assert run.query("SELECT * FROM clock_steps") == []
    for camera in run.names:
        reported = intervals(run, camera)
        for stopped_utc, until_utc in stops:
            within = [row for row in reported if row[0] < until_utc - 0.1 and row[1] > stopped_utc + 0.1]
            assert {cause for _, _, cause in within} == {"paused"}, (stopped_utc, reported)
            # A camera's frames that wait in the network are inspected afterwards, while they are not too old.
            assert sum(ended - started for started, ended, _ in within) > STOPPED_S - 1.0


#: Stands for a wall clock that somebody sets: the process asks it for the time, and adds what a file says.
_SET_CLOCK = """
import pathlib, time
_true, _file = time.time, pathlib.Path({file!r})
time.time = lambda: _true() + float(_file.read_text())
"""


def wait_for_clock(run: LineRun, clock: int) -> None:
    sql = f"SELECT sum(inspected) FROM coverage WHERE clock = {clock}"
    wait_for(lambda: (run.query(sql)[0][0] or 0) > 5, f"inspection by clock {clock}: {run.text()[-2000:]}")


def test_a_clock_that_is_set_moves_no_minute_into_another(
    make_run: Callable[[int], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three hours forward, then half an hour back, under a real run: steps are recorded, rows keep to their clock."""
    offset = tmp_path / "offset"
    offset.write_text("0")
    (tmp_path / "sitecustomize.py").write_text(_SET_CLOCK.format(file=str(offset)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    run = make_run(1)
    start_and_wait(run, 1)
    began_utc = time.time()
    for clock, offset_s in enumerate((10_800, 9_000), 1):
        partial = tmp_path / "partial"
        partial.write_text(str(offset_s))
        partial.replace(offset)
        wait_for_clock(run, clock)
    run.signal(signal.SIGTERM)

    assert run.wait() == 130
    steps = run.query("SELECT clock, to_utc - from_utc FROM clock_steps ORDER BY clock")
    assert [clock for clock, _ in steps] == [1, 2]
    assert [step for _, step in steps] == pytest.approx([10_800, -1800], abs=1)
    assert "the wall clock was set back by 1800" in run.text()
    for clock, offset_s in enumerate((0, 10_800, 9_000)):
        minutes = run.query(f"SELECT minute_utc - {offset_s} FROM coverage WHERE clock = {clock}")
        assert all(began_utc - 120 <= minute <= time.time() for (minute,) in minutes)
    assert run.query("SELECT count(*) FROM not_inspected WHERE ended_utc < started_utc OR ended_utc IS NULL") == [(0,)]
    assert run.query("SELECT count(*) FROM events WHERE last_seen_utc < first_seen_utc") == [(0,)]
    inspected = sum(camera["frames_inspected"] for camera in run.summary()["cameras"])
    assert run.query("SELECT sum(inspected) FROM coverage") == [(inspected,)]
