# SPDX-License-Identifier: AGPL-3.0-or-later
"""Asking the device how busy it is, beside everything else."""

from __future__ import annotations

import threading
import time

from vision_line.ports import DeviceLoad
from vision_line.runtime.live_inspection import LoadWatch

DEADLINE_S = 60.0


def test_the_device_is_asked_again_and_again() -> None:
    """Until the end, in one thread, beside everything else."""
    noted: list[tuple[DeviceLoad, ...]] = []
    enough = threading.Event()

    def note(loads: tuple[DeviceLoad, ...]) -> None:
        noted.append(loads)
        if len(noted) == 3:
            enough.set()

    watch = LoadWatch(lambda: (DeviceLoad("cuda:0", 1, 2, sm_percent=len(noted)),), note, period_s=0.001)
    assert enough.wait(DEADLINE_S)
    watch.close()
    watch.close()

    assert [loads[0].sm_percent for loads in noted[:3]] == [0, 1, 2]


def test_a_device_that_reports_nothing_is_asked_once() -> None:
    """The CPU's thread ends at once, and the screen forgets what a lost GPU said last."""
    noted: list[tuple[DeviceLoad, ...]] = []
    asked: list[float] = []

    def ask() -> tuple[DeviceLoad, ...]:
        asked.append(time.monotonic())
        return ()

    watch = LoadWatch(ask, noted.append, period_s=0.0)
    watch._thread.join(DEADLINE_S)
    watch.close()

    assert (len(asked), noted) == (1, [()])


def test_a_driver_that_hangs_holds_up_nobody() -> None:
    """The end of the run does not wait for its answer."""
    answer = threading.Event()

    def ask() -> tuple[DeviceLoad, ...]:
        assert answer.wait(DEADLINE_S)
        return ()

    watch = LoadWatch(ask, lambda loads: None)
    before_s = time.monotonic()
    watch.close()

    assert time.monotonic() - before_s < DEADLINE_S / 2
    assert watch._thread.is_alive()
    assert watch._thread.daemon
    answer.set()
    watch._thread.join()
