# SPDX-License-Identifier: AGPL-3.0-or-later
"""The program gets too little processor, or none for a while: nothing old is inspected as new, and it is soon well."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from tests.fakes.waiting import wait_for

if TYPE_CHECKING:
    from tests.e2e.conftest import LineRun

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(900)]

LIMIT_S = 0.5  # max_staleness_ms unless set
NEAR_S = 0.5  # what a busy machine adds to the path, and what the estimate leaves open
STOP_S = 12.0  # longer than the read timeout and than what the server keeps for us
RECOVERY_S = 15.0  # 2 s on a quiet machine

#: On one machine the camera's clock is ours.
OLDEST = "SELECT max(arrived_utc - camera_utc), max(behind_ms), count(*) FROM detections WHERE camera_utc IS NOT NULL"


def starve(run: LineRun, seconds: float) -> None:
    """Stop the program for three quarters of the time, in slices of a tenth of a second."""
    assert run.process is not None
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        os.kill(run.process.pid, signal.SIGSTOP)
        time.sleep(0.075)
        os.kill(run.process.pid, signal.SIGCONT)
        time.sleep(0.025)


def test_nothing_old_is_inspected_as_new(make_run: Callable[[int], LineRun]) -> None:
    """Starved of its processor, then stopped: whatever was inspected was fresh, and all cameras are back soon."""
    run = make_run(4)
    run.start()
    run.wait_for_detections(5)
    starve(run, 8.0)
    wait_for(lambda: " behind " in run.text(), "the status line tells how late frames come")
    run.signal(signal.SIGSTOP)
    time.sleep(STOP_S)
    resumed_utc = time.time()
    run.signal(signal.SIGCONT)
    back = f"SELECT DISTINCT camera FROM not_inspected WHERE ended_utc > {resumed_utc}"
    wait_for(lambda: len(run.query(back)) == 4, "all cameras are inspected again")
    before = run.query("SELECT count(*) FROM detections")[0][0]
    run.wait_for_detections(before + 20)
    run.signal(signal.SIGTERM)
    run.wait()

    ((oldest_s, behind_ms, rows),) = run.query(OLDEST)
    assert rows > 20
    assert oldest_s <= LIMIT_S + NEAR_S
    assert behind_ms <= LIMIT_S * 1000
    gaps = run.query(f"SELECT camera, cause, ended_utc FROM not_inspected WHERE ended_utc > {resumed_utc}")
    first_back = {name: min(end for camera, _, end in gaps if camera == name) for name, _, _ in gaps}
    assert max(first_back.values()) <= resumed_utc + RECOVERY_S
    summary = run.summary()
    assert summary["totals"]["behind_ms"]["p99"] <= LIMIT_S * 1000 * 1.03
    assert summary["totals"]["frames_dropped"]["behind"] > 0
    assert max(camera["most_behind_ms"] for camera in summary["cameras"]) >= STOP_S * 900
