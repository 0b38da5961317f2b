# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the coverage ledger blames: the device while it is made ready, and what files wait for."""

from __future__ import annotations

from tests.fakes.ledger_line import GAP_S, Line, idle, inspect_steadily

from vision_line.frames import CameraState
from vision_line.inspection.coverage.ledger import CoverageLedger
from vision_line.inspection.coverage.window import Need


def test_start_is_distinguished_from_the_cameras() -> None:
    """Until the camera runs it is the camera's, then the device's until that is ready, then nobody's."""
    line = Line(ledger=CoverageLedger(device_ready=False), running=False)
    idle(line, 0.0, 0.5)
    line.state(0.5, CameraState.RUNNING)
    idle(line, 0.5, 4.0, arriving=True)
    line.ledger.device_is_ready(4.1)
    line.inspect(4.25)
    inspect_steadily(line, 4.5, 8.0)

    assert line.log.causes() == [("camera:CONNECTING", 0.0, 0.5), ("device:STARTING", 0.5, 4.25)]


def test_the_building_of_an_engine_has_a_cause_of_its_own() -> None:
    """Its minutes are the GPU's, and neither the camera's nor the program's."""
    line = Line(ledger=CoverageLedger(device_ready=False), running=False)
    idle(line, 0.0, 0.5)
    line.state(0.5, CameraState.RUNNING)
    idle(line, 0.5, 3.0, arriving=True)
    line.ledger.device_builds(True, 3.1)
    idle(line, 3.2, 6.0, arriving=True)
    line.ledger.device_builds(False, 6.1)
    idle(line, 6.2, 7.0, arriving=True)
    line.ledger.device_is_ready(7.1)
    line.ledger.device_builds(True, 7.2)  # for one more input shape: the others go on
    line.inspect(7.25)
    inspect_steadily(line, 7.5, 11.0)

    assert line.log.causes()[-3:] == [
        ("device:STARTING", 0.5, 3.1),
        ("device:BUILDING", 3.1, 6.1),
        ("device:STARTING", 6.1, 7.25),
    ]


def test_a_camera_that_never_came_is_blamed_though_the_device_starts() -> None:
    """While the device starts, a camera in trouble is told as such; then a slow device is told as such."""
    line = Line(ledger=CoverageLedger(device_ready=False), running=False)
    line.state(0.2, CameraState.RECONNECTING, "REFUSED")
    idle(line, 0.0, 2.0)
    line.ledger.device_is_ready(2.1)
    line.state(3.0, CameraState.RUNNING)
    idle(line, 3.0, 6.0, arriving=True)

    assert line.log.causes() == [("camera:REFUSED", 0.0, 3.0), ("capacity", 3.0, None)]


def test_a_gap_that_is_found_when_the_device_is_ready() -> None:
    """A start that lasts just longer than a gap is the device's, though no tick found it."""
    line = Line(ledger=CoverageLedger(device_ready=False), running=False)
    line.state(0.25, CameraState.RUNNING)
    line.ledger.device_is_ready(1.25)
    line.inspect(1.5)
    line.tick(1.6)

    assert line.log.causes() == [("camera:CONNECTING", 0.0, 0.25), ("device:STARTING", 0.25, 1.5)]


def test_a_file_that_waits_for_the_device_blames_the_device() -> None:
    """Its first frame arrived before the device was ready, the next one waited for room."""
    line = Line(ledger=CoverageLedger(device_ready=False), running=False)
    line.state(0.5, CameraState.RUNNING)
    idle(line, 0.5, 4.0)
    line.ledger.device_is_ready(4.1)
    line.inspect(0.25)
    line.inspect(4.25)
    line.tick(4.5)

    assert line.log.causes() == [("device:STARTING", 0.25, 4.25)]


def test_a_drain_is_nobodys_fault() -> None:
    """What is not inspected while the program ends is `stopped`; a gap from before keeps its cause."""
    line = Line()
    inspect_steadily(line, 0.0, 2.25)
    line.ledger.stop(2.5)
    line.close(6.0)
    assert line.log.causes() == [("stopped", 2.0, 6.0)]

    line = Line()
    line.inspect(0.5)
    idle(line, 0.5, 1.75, arriving=True)
    line.ledger.stop(1.8)
    line.close(6.0)
    assert line.log.causes() == [("capacity", 0.5, 6.0)]


def test_a_file_that_waits_through_a_full_disk_blames_the_log() -> None:
    """Two of its frames waited in front of the device; they arrived before the log was stuck, the next one after."""
    line = Line()
    inspect_steadily(line, 0.0, 5.25)
    line.ledger.log_writable(False, 5.3)
    line.arrived += 2
    idle(line, 5.25, 9.0)
    line.ledger.log_writable(True, 9.0)
    for arrived_s in (5.1, 5.2, 9.1):
        line.ledger.inspected("cam01", arrived_s)
    line.inspected += 3
    line.arrived += 1
    line.tick(9.3)

    assert line.log.causes() == [("log", 5.2, 9.1)]


def test_a_file_that_waits_with_two_frames_at_the_start_blames_the_device() -> None:
    """While the engine is compiled its first frames wait: the device starts, it does not lack capacity."""
    line = Line(ledger=CoverageLedger(device_ready=False), running=False)
    line.state(0.1, CameraState.RUNNING)
    line.arrived = 2
    idle(line, 0.2, 4.0)
    line.ledger.device_is_ready(4.1)
    for arrived_s in (0.15, 0.19, 4.15):
        line.ledger.inspected("cam01", arrived_s)
    line.arrived, line.inspected = 3, 3
    line.tick(4.5)

    assert line.log.causes() == [("device:STARTING", 0.19, 4.15)]


def test_a_file_that_waits_for_one_thing_after_the_other_blames_each() -> None:
    """The device starts, and when it is ready the disk is full: what is told of the wait is told of each part of it."""
    line = Line(ledger=CoverageLedger(device_ready=False), running=False)
    line.state(0.1, CameraState.RUNNING)
    line.arrived = 2
    idle(line, 0.2, 4.0)
    line.ledger.device_is_ready(4.1)
    line.ledger.log_writable(False, 4.2)
    idle(line, 4.2, 9.0)
    line.ledger.log_writable(True, 9.0)
    for arrived_s in (0.15, 0.19, 9.1):
        line.ledger.inspected("cam01", arrived_s)
    line.arrived, line.inspected = 3, 3
    line.tick(9.3)

    assert line.log.causes() == [("device:STARTING", 0.19, 4.2), ("log", 4.2, 9.1)]


def test_a_file_at_the_devices_own_pace_lacks_no_inspection() -> None:
    """It waits for the device however slow that is; what stands in the way is told all the same."""
    line = Line(need=Need(GAP_S, every_frame=True))
    for at_s in (0.5, 3.5, 6.5):
        idle(line, at_s, at_s + 2.0, arriving=True)
        line.inspect(at_s + 2.5)
    assert line.log.causes() == []

    line.ledger.log_writable(False, 9.5)
    idle(line, 9.5, 12.0)
    assert line.log.causes() == [("log", 9.0, None)]
