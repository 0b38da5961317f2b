# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is on the device when a camera is removed, or the scheduler ends: it is recorded or accounted for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from benchmarks.simulated_device import SimulatedDevice
from tests.fakes.scheduler_rig import Rig, rig_on
from tests.fakes.waiting import WAIT_S

from vision_line.frames import DropCause, Inspection


class Held(SimulatedDevice):
    """A device that keeps its results until they are released."""

    released = False

    def collect(self) -> list[Inspection]:
        return super().collect() if self.released else []


@pytest.fixture
def held() -> Iterator[tuple[Rig, Held]]:
    """A line of which two frames are on the device and a third waits."""
    rig = rig_on(Held)
    device = rig.device
    assert isinstance(device, Held)
    rig.add("cam", live=False)
    rig.scheduler.start()
    rig.put("cam", 0)
    rig.put("cam", 1)
    rig.until(lambda: device.in_flight() == 2)
    rig.put("cam", 2)
    yield rig, device
    rig.end()


def test_what_is_on_the_device_when_a_camera_is_removed_is_recorded(held: tuple[Rig, Held]) -> None:
    """The removal is over when its last frames are in the log, and in a round, and every frame is accounted for."""
    rig, device = held
    gone = rig.scheduler.remove("cam")
    rig.until(lambda: rig.lines["cam"].mailbox.oldest() is None)
    assert not gone.done()

    device.released = True
    rig.bell.notify()
    gone.result(WAIT_S)
    assert rig.log.inspected == [("cam", 0), ("cam", 1)]
    assert rig.counts()["cam"] == (3, 2, {DropCause.SHUTDOWN: 1})
    assert len([inspected for update in rig.rounds for inspected in update.inspected_frames]) == 2


def test_a_result_belongs_to_the_line_that_took_its_frame(held: tuple[Rig, Held]) -> None:
    """A camera that is altered meanwhile is counted anew from its own first frame, and keeps its own detections."""
    rig, device = held
    old = rig.lines["cam"]
    gone = rig.scheduler.remove("cam")
    new = rig.add("cam")
    new.keep = lambda found, _: (found[:0], found[:0])
    rig.until(lambda: old.mailbox.oldest() is None)
    rig.put("cam", 3)
    device.released = True
    rig.bell.notify()
    gone.result(WAIT_S)
    rig.until(lambda: new.inspected == 1)

    assert rig.log.inspected == [("cam", 0), ("cam", 1), ("cam", 3)]
    assert rig.tally.kept == 2
    assert (old.inspected, old.mailbox.counts().dropped) == (2, {DropCause.SHUTDOWN: 1})
    assert (new.mailbox.counts().arrived, new.mailbox.counts().dropped) == (1, {})


def test_a_removal_before_the_drain_is_answered_by_it(held: tuple[Rig, Held]) -> None:
    """Nobody waits in vain because the run ends."""
    rig, device = held
    gone = rig.scheduler.remove("cam")
    rig.scheduler.stop()
    device.released = True
    rig.bell.notify()

    gone.result(WAIT_S)
    assert rig.counts()["cam"] == (3, 2, {DropCause.SHUTDOWN: 1})


def test_an_aborted_drain_accounts_for_what_it_leaves(held: tuple[Rig, Held]) -> None:
    """Frames that a forced end leaves on the device were not inspected."""
    rig, _ = held
    rig.scheduler.abort()
    assert rig.scheduler.join(WAIT_S)

    assert rig.counts()["cam"] == (3, 0, {DropCause.SHUTDOWN: 3})


def test_nobody_who_waits_can_break_the_thread(held: tuple[Rig, Held]) -> None:
    """Who gives up waiting for a removal or for the end cannot cancel it."""
    rig, device = held
    gone = rig.scheduler.remove("cam")
    assert not gone.cancel()
    assert not rig.scheduler.outcome.cancel()
    device.released = True
    rig.bell.notify()

    gone.result(WAIT_S)
    rig.scheduler.stop()
    rig.scheduler.outcome.result(WAIT_S)


def test_a_drain_records_what_is_in_flight() -> None:
    """Frames on the device when the stop comes are inspected, those still waiting are counted as dropped."""
    rig = Rig(slots=2, inference_s=0.05)
    for camera in ("a", "b", "c"):
        rig.add(camera)
        rig.put(camera, 0)
    rig.scheduler.start()
    rig.until(lambda: rig.device.in_flight() == 2)
    rig.end()

    assert len(rig.log.inspected) == 2
    dropped = [cause for _, _, causes in rig.counts().values() for cause in causes]
    assert dropped == [DropCause.SHUTDOWN]
