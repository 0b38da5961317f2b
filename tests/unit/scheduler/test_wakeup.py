# SPDX-License-Identifier: AGPL-3.0-or-later
"""The wake-up event: no notification is lost, and each camera with new frames is named once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from vision_line.scheduler import WakeUp

LONG_S = 60.0


def waited_s(wakeup: WakeUp, timeout_s: float) -> float:
    started_s = time.monotonic()
    wakeup.wait(timeout_s)
    return time.monotonic() - started_s


@pytest.mark.parametrize("notify", [WakeUp.notify, lambda wakeup: wakeup.notify_frame("cam1")])
def test_a_notification_before_the_wait_ends_one_wait(notify: Callable[[WakeUp], None]) -> None:
    """However many there were."""
    wakeup = WakeUp()
    notify(wakeup)
    notify(wakeup)

    assert waited_s(wakeup, LONG_S) < LONG_S / 2
    assert waited_s(wakeup, 0.05) >= 0.05


def test_a_notification_ends_the_wait_that_is_under_way() -> None:
    """From another thread."""
    wakeup = WakeUp()
    later = threading.Timer(0.05, wakeup.notify)
    later.start()

    assert waited_s(wakeup, LONG_S) < LONG_S / 2
    later.join()


def test_frames_wake_nobody_while_no_slot_is_free() -> None:
    """Until a wait has ended; their cameras are noted all the same."""
    wakeup = WakeUp()
    wakeup.ignore_frames()
    wakeup.notify_frame("cam1")

    assert waited_s(wakeup, 0.05) >= 0.05
    assert wakeup.pop_arrived() == ["cam1"]

    wakeup.notify_frame("cam2")
    assert waited_s(wakeup, LONG_S) < LONG_S / 2


def test_each_camera_is_named_once() -> None:
    """A camera that sends all the while the scheduler is busy takes no memory."""
    wakeup = WakeUp()
    for camera in ["cam2", "cam1", "cam2", "cam2"]:
        wakeup.notify_frame(camera)

    assert sorted(wakeup.pop_arrived()) == ["cam1", "cam2"]
    assert wakeup.pop_arrived() == []


def test_nothing_is_lost_among_many_threads() -> None:
    """What was notified is followed by a wait that ends, with the camera named."""
    wakeup, rounds, cameras = WakeUp(), 2000, 4
    seen = [threading.Semaphore(0) for _ in range(cameras)]
    late: list[int] = []

    def send(camera: int) -> None:
        for _ in range(rounds):
            wakeup.notify_frame(str(camera))
            if not seen[camera].acquire(timeout=LONG_S):
                late.append(camera)
                return

    threads = [threading.Thread(target=send, args=(camera,)) for camera in range(cameras)]
    for thread in threads:
        thread.start()
    total = 0
    while total < rounds * cameras and not late:
        wakeup.wait(LONG_S)
        for camera in wakeup.pop_arrived():
            total += 1
            seen[int(camera)].release()
    for thread in threads:
        thread.join()

    assert not late
