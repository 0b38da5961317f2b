# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a lane can decide in time, by its settings and what the last run showed."""

from __future__ import annotations

from vision_line.config.lane_settings import LaneSettings
from vision_line.config.models import StreamSettings
from vision_line.config.optical_settings import OpticalSettings
from vision_line.lanes.lane_plan import plan_of
from vision_line.lanes.lane_sums import LaneSum, Measured, lane_sum

CAMERAS = {"a": StreamSettings(dwell_s=1.0, min_hits=3), "b": StreamSettings(dwell_s=1.0, min_hits=3)}
MEASURED = Measured(58.0, {"a": 12.5, "b": 20.0})


def sum_of(
    measured: Measured = MEASURED, *, mm_per_s: float = 500.0, window_ms: float = 400.0, has_output: bool = False
) -> LaneSum:
    """Return the sum of a lane whose ejector is 0.5 m behind the photo-eye."""
    lane = LaneSettings(
        name="l1",
        cameras=["a", "b"],
        window_ms=[0.0, window_ms],
        camera_delay_ms=100.0,
        ejector_mm=500.0,
        belt_mm_per_s=mm_per_s,
    )
    return lane_sum(lane, plan_of(lane, CAMERAS), measured, has_output=has_output)


def test_a_lane_that_works_shows_its_sum() -> None:
    found = sum_of()
    assert found.words == (
        "deadline 910 ms = ejector 1000 - PLC 20 - actuator 50 - reserve 20; a good part is known at 653 ms: window 400"
        " + camera delay 100 + next frame 80 + latency 58 (99.9 %) + recording 15; one with something to confirm at"
        " 973 ms"
    )
    assert found.problem == ""
    assert "63 ms longer than there is" in found.warning


def test_a_module_takes_its_time_to_switch_an_output() -> None:
    found = sum_of(has_output=True)
    assert "a good part is known at 673 ms" in found.words
    assert "+ recording 15 + output 20; one with something to confirm at 993 ms" in found.words


def test_a_belt_that_is_too_fast_is_refused_with_the_numbers() -> None:
    assert sum_of(mm_per_s=900.0).problem == (
        "no part could be accepted: a good one is known 187 ms after the deadline"
    )


def test_a_window_that_is_too_short_for_the_rate_is_refused() -> None:
    assert (
        "a window of 200 ms has 2.5 inspections by a at 12.5 a second, 3 are needed" in sum_of(window_ms=200.0).problem
    )


def encoder_sum(window_mm: float) -> LaneSum:
    """Return the sum of a lane whose PLC tells the belt's count each 20 ms."""
    lane = LaneSettings(
        name="l1",
        cameras=["a"],
        window_mm=[0.0, window_mm],
        mm_per_count=0.5,
        ejector_mm=1000.0,
        belt_mm_per_s=500.0,
        plc_scan_ms=20,
    )
    return lane_sum(lane, plan_of(lane, CAMERAS), Measured(58.0, {"a": 12.5}))


def test_a_window_that_holds_enough_only_between_two_counts_is_warned_of() -> None:
    found = encoder_sum(130.0)  # 260 ms, of which 220 are sure
    assert found.problem == ""
    assert "leaves 220 ms that surely lie in it, which is 2.8 inspections by a at 12.5 a second, 3 are" in found.warning
    assert encoder_sum(141.0).warning == ""  # 242 ms are sure: 3.03


def optical_sum(window_ms: list[float], ejector_ms: float) -> LaneSum:
    """Return the sum of a lane that sees its parts itself."""
    optical = OpticalSettings(camera="a", classes=["bottle"], line=[[0.7, 0.0], [0.7, 1.0]], direction="right")
    lane = LaneSettings(
        name="l1",
        cameras=["a"],
        parts="optical",
        optical=optical,
        window_ms=window_ms,
        camera_delay_ms=100.0,
        ejector_ms=ejector_ms,
    )
    return lane_sum(lane, plan_of(lane, CAMERAS), Measured(58.0, {"a": 12.5}))


def test_a_part_that_a_camera_sees_is_not_known_before_it_has_crossed() -> None:
    found = optical_sum([-800.0, -100.0], 1000.0)
    assert "a good part is known at 253 ms: window 0 + camera delay 100 + next frame 80 + latency 58" in found.words
    assert "that it crossed is known 238 ms later, with the frame behind; its own box is something to" in found.words
    assert (found.problem, found.warning) == ("", "")


def test_a_part_that_a_camera_sees_always_has_something_to_confirm() -> None:
    assert "a good one is known 83 ms after the deadline" in optical_sum([-800.0, 0.0], 580.0).problem


def test_what_nobody_has_measured_is_said() -> None:
    found = sum_of(Measured(None, {}))
    assert "next frame (not measured yet) + latency (no run yet)" in found.words
    assert (found.problem, found.warning) == ("", "")
