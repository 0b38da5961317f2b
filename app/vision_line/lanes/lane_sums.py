# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a lane can decide in time: the sum of its times, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vision_line.config.lane_settings import LaneSettings
from vision_line.lanes.coil_pulse import WRITE_S
from vision_line.lanes.lane_plan import LanePlan

#: What is kept free for recording an acceptance where it is not slower, in milliseconds.
RECORD_MS = 15.0
#: What a module takes for an output that waits for the write of another one, where it is not slower, in milliseconds.
OUTPUT_MS = 2000 * WRITE_S


@dataclass(frozen=True, slots=True)
class Measured:
    """What the last run showed of a lane's cameras, of several recipes under the slowest.

    `latency_ms` is that from an image's arrival to its result, which 999 of 1000 detections did not exceed; `rates` are
    inspections a second by camera. None, and a camera that is missing: no run has shown it. `recipes` are those under
    which something was found, "" for none.
    """

    latency_ms: float | None
    rates: Mapping[str, float]
    recipes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LaneSum:
    """A lane's sum in words; `problem` is why it cannot work, `warning` what it will not do well, "" for neither."""

    words: str
    problem: str
    warning: str


def lane_sum(lane: LaneSettings, plan: LanePlan, measured: Measured, *, has_output: bool = False) -> LaneSum:
    """Return a lane's sum; what nobody has measured counts nothing in it, and is said.

    `has_output`: a module is told each verdict, which it must have by the deadline.
    """
    deadline_ms = 1000 * plan.deadline_after_s
    rates = {camera: measured.rates.get(camera) for camera in plan.cameras}
    frame_ms = max((1000 / rate for rate in rates.values() if rate), default=0.0)
    end_ms = _end_ms(plan)
    leaving_ms = RECORD_MS + OUTPUT_MS * has_output
    known_ms = end_ms + 1000 * plan.camera_delay_s + frame_ms + (measured.latency_ms or 0.0) + leaving_ms
    confirmed_ms = known_ms + max(
        (1000 * (plan.cameras[camera].confirming - 1) / rate for camera, rate in rates.items() if rate), default=0.0
    )
    known = _known_words(plan, frame_ms, measured.latency_ms, has_output=has_output)
    words = (
        f"{_deadline_words(lane, plan)}; a good part is known at {known_ms:.0f} ms: "
        f"{known}; one with something to confirm at {confirmed_ms:.0f} ms"
        f"{_optical_words(plan, frame_ms, measured.latency_ms)}{_encoder_words(plan)}"
    )
    return LaneSum(
        words,
        _late(known_ms if plan.optical is None else confirmed_ms, deadline_ms) or _too_few(plan, rates),
        "; ".join(filter(None, (_unconfirmed(confirmed_ms, deadline_ms), _unsure(lane, plan, rates)))),
    )


def _end_ms(plan: LanePlan) -> float:
    """Return when a part's window is over; one that a camera sees itself is not known before it crosses the line."""
    end_ms = 1000 * plan.window_after_s[1]
    return end_ms if plan.optical is None else max(end_ms, 0.0)


def _optical_words(plan: LanePlan, frame_ms: float, latency_ms: float | None) -> str:
    if plan.optical is None:
        return ""
    noticed_ms = 1000 * plan.camera_delay_s + frame_ms + (latency_ms or 0.0)
    noticed = f"{noticed_ms:.0f} ms" if frame_ms else "an inspection (not measured yet)"
    return (
        "; all of it counts from when the part's centre was on the line, between two inspected frames; that it crossed"
        f" is known {noticed} later, with the frame behind; its own box is something to confirm"
    )


def _encoder_words(plan: LanePlan) -> str:
    return f"; the encoder's count must come each {1000 * plan.pause_s:.0f} ms" if plan.has_encoder else ""


def _deadline_words(lane: LaneSettings, plan: LanePlan) -> str:
    reached_ms = 1000 * (plan.deadline_after_s + plan.spare_s)
    spared = f"PLC {lane.plc_scan_ms:g} - actuator {lane.actuator_ms:g} - reserve {lane.reserve_ms:g}"
    return f"deadline {1000 * plan.deadline_after_s:.0f} ms = ejector {reached_ms:.0f} - {spared}"


def _known_words(plan: LanePlan, frame_ms: float, latency_ms: float | None, *, has_output: bool) -> str:
    window = f"window {_end_ms(plan):.0f} + camera delay {1000 * plan.camera_delay_s:.0f}"
    frame = f"next frame {frame_ms:.0f}" if frame_ms else "next frame (not measured yet)"
    latency = "latency (no run yet)" if latency_ms is None else f"latency {latency_ms:.0f} (99.9 %)"
    output = f" + output {OUTPUT_MS:.0f}" if has_output else ""
    return f"{window} + {frame} + {latency} + recording {RECORD_MS:.0f}{output}"


def _late(known_ms: float, deadline_ms: float) -> str:
    if known_ms <= deadline_ms:
        return ""
    return f"no part could be accepted: a good one is known {known_ms - deadline_ms:.0f} ms after the deadline"


def _unconfirmed(confirmed_ms: float, deadline_ms: float) -> str:
    if confirmed_ms <= deadline_ms:
        return ""
    return (
        f"a part with something to confirm at the end of its window is not inspected (late): that takes"
        f" {confirmed_ms - deadline_ms:.0f} ms longer than there is"
    )


def _too_few(plan: LanePlan, rates: Mapping[str, float | None]) -> str:
    begin_s, end_s = plan.window_after_s
    for camera, need in plan.cameras.items():
        rate = rates[camera]
        if rate and (end_s - begin_s) * rate < need.inspections:
            return (
                f"no part could be accepted: a window of {1000 * (end_s - begin_s):.0f} ms has"
                f" {(end_s - begin_s) * rate:.1f} inspections by {camera} at {rate:.1f} a second,"
                f" {need.inspections} are needed"
            )
    return ""


def _unsure(lane: LaneSettings, plan: LanePlan, rates: Mapping[str, float | None]) -> str:
    """Return why some good parts would lack inspections: a frame between two counts surely lies in no window."""
    if not plan.has_encoder:
        return ""
    begin_s, end_s = plan.window_after_s
    sure_s = end_s - begin_s - 2 * lane.plc_scan_ms / 1000
    for camera, need in plan.cameras.items():
        rate = rates[camera]
        if rate and sure_s * rate < need.inspections:
            return (
                f"many good parts would not be inspected (too_few_inspections): at the window's edges a PLC scan of"
                f" {lane.plc_scan_ms:g} ms leaves {max(1000 * sure_s, 0):.0f} ms that surely lie in it, which is"
                f" {max(sure_s * rate, 0):.1f} inspections by {camera} at {rate:.1f} a second, {need.inspections} are"
                " needed; a longer window_mm or a higher inspect_fps gives more"
            )
    return ""
