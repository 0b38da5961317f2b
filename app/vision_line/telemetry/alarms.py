# SPDX-License-Identifier: AGPL-3.0-or-later
"""Alarms and notices: one sentence each, a pure function of the run's state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from vision_line.challenges.due import TargetState
from vision_line.frames import CameraState, NotInspected
from vision_line.inspection.coverage.causes import NOT_READY
from vision_line.ports import DeviceLoad, LogStatus, OverlayStatus
from vision_line.quality.challenge import ChallengeState
from vision_line.telemetry.shortfall import as_measured, shortfall
from vision_line.telemetry.snapshot import CameraSnapshot

_CAMERA_CAUSE = "camera:"
_NAMES_SHOWN = 6
#: The shortest delay that is shown, with one decimal.
LEAST_SHOWN_S = 0.1


def plan_alarms(
    cameras: Sequence[CameraSnapshot],
    log: LogStatus,
    not_inspected: Sequence[NotInspected],
    now_s: float,
    decoding: str = "",
    steady: Callable[[int], int] = as_measured,
) -> tuple[str, ...]:
    """Return the alarms, worst first.

    Order: the log (it stops every camera), missing capacity (`decoding`: frames that are shed), cameras that are not
    inspected, cameras whose frames come too late, troubled cameras, and cameras inspected without a reserve.

    Cameras with the same trouble share one sentence, so that a failed network switch is one alarm, not sixty-four. A
    camera whose state is the cause of its open interval appears once, with its state; one that sends too slowly, or
    what is damaged or too old, runs all the same. A starting device is no alarm.
    `steady` smooths the number of cameras that the machine could serve.
    """
    alarms = [] if log.writable else [f"records cannot be written: {log.reason or 'no reason given'}"]
    alarms += _overload(cameras, steady)
    alarms += [decoding] if decoding else []
    capacity: dict[str, list[tuple[str, float]]] = defaultdict(list)
    running = {camera.name for camera in cameras if camera.state is CameraState.RUNNING}
    for interval in not_inspected:
        is_state = interval.cause.startswith(_CAMERA_CAUSE) and interval.camera not in running
        if interval.cause not in NOT_READY and not is_state:
            capacity[interval.cause].append((interval.camera, now_s - interval.started_s))
    for cause, intervals in capacity.items():
        longest_s = max(length_s for _, length_s in intervals)
        alarms.append(f"not inspected for {longest_s:.0f} s ({cause}): {_names(name for name, _ in intervals)}")
    alarms += _rare_inspections(cameras)
    alarms += _late_frames(cameras)
    return (*alarms, *_camera_alarms(cameras), *_scarce_inspections(cameras))


def challenge_alarms(challenges: Iterable[TargetState]) -> list[str]:
    """Return a sentence for each challenge that failed, and one for all that are overdue."""
    troubled = [one for one in challenges if one.why]
    failed = [one.why for one in troubled if one.state is ChallengeState.FAILED]
    overdue = [one for one in troubled if one.state is ChallengeState.OVERDUE]
    if len(overdue) <= 1:
        return [*failed, *(one.why for one in overdue)]
    return [*failed, f"challenges are overdue: {_names(one.name for one in overdue)}"]


def plan_notices(
    cameras: Sequence[CameraSnapshot],
    overlay: OverlayStatus | None,
    preparation: str = "",
    loads: Sequence[DeviceLoad] = (),
    clock_step: str = "",
    left_out: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return the notices.

    Cameras left out by `--cameras`, what the device prepares, a clock that was set, GPUs near a limit, cameras whose
    identity is not verified, connections that hang, incomplete videos.
    """
    notices = [sentence for sentence in (preparation, clock_step) if sentence]
    if left_out:
        notices.append(f"left out by --cameras: {_names(left_out)}")
    notices += [notice for load in loads for notice in _strained(load)]
    present = [camera for camera in cameras if camera.state is not CameraState.REMOVED]
    if unverified := [camera.name for camera in present if camera.is_unverified]:
        notices.append(f"identity not verified (tls_verify = false): {_names(unverified)}")
    if hanging := [camera for camera in cameras if camera.hanging]:
        names = _names(f"{camera.name} {camera.hanging}" for camera in hanging)
        notices.append(f"connections hang and were given up: {names}")
    if overlay is not None and overlay.dropped:
        notices.append(
            f"overlay: {overlay.dropped} of {overlay.written + overlay.dropped} frames are missing from the videos"
        )
    if overlay is not None and overlay.problem:
        notices.append(overlay.problem)
    return tuple(notices)


def _strained(load: DeviceLoad) -> Iterator[str]:
    hot = "" if load.temperature_c is None else f"{load.temperature_c} °C"
    if load.throttled:
        yield f"{load.name}: slowed down by heat{f', {hot}' if hot else ''}"
    elif load.is_hot:
        yield f"{load.name}: {hot}"
    if load.is_full:
        yield f"{load.name}: memory nearly full, {load.memory_used_mb} of {load.memory_total_mb} MB"


def _overload(cameras: Sequence[CameraSnapshot], steady: Callable[[int], int]) -> list[str]:
    """Return the shortfall of the machine's capacity in one sentence."""
    if not any(camera.lacks_capacity for camera in cameras):
        return []
    sentence = shortfall([camera for camera in cameras if camera.is_running and camera.needed_fps], steady)
    return [sentence] if sentence else []


def _rare_inspections(cameras: Sequence[CameraSnapshot]) -> list[str]:
    rare = [camera for camera in cameras if camera.is_too_slow and camera.not_inspected is None]
    worst = min(rare, key=lambda camera: camera.fps_inspected / camera.needed_fps, default=None)
    if worst is None:
        return []
    rates = f"{worst.fps_inspected:.1f} of {worst.needed_fps:.1f} inspections/s needed"
    return [f"inspected too rarely ({rates}): {_names(camera.name for camera in rare)}"]


def _late_frames(cameras: Sequence[CameraSnapshot]) -> list[str]:
    late = [camera for camera in cameras if camera.comes_late]
    if not late:
        return []
    now_s = max(camera.behind_s for camera in late)
    words = f"frames arrive {now_s:.1f} s late" if now_s >= LEAST_SHOWN_S else "late frames were skipped"
    return [f"{words}: {_names(camera.name for camera in late)}"]


def _scarce_inspections(cameras: Sequence[CameraSnapshot]) -> list[str]:
    scarce = [camera for camera in cameras if camera.is_scarce]
    worst = min(scarce, key=lambda camera: camera.fps_inspected / camera.spare_fps, default=None)
    if worst is None:
        return []
    rates = f"{worst.fps_inspected:.1f} /s, {worst.spare_fps:.1f} /s leave room for a miss"
    return [f"only just enough inspections ({rates}): {_names(camera.name for camera in scarce)}"]


def _camera_alarms(cameras: Sequence[CameraSnapshot]) -> list[str]:
    troubled: dict[str, list[CameraSnapshot]] = defaultdict(list)
    for camera in cameras:
        if camera.is_troubled and camera.state is not CameraState.RUNNING:
            troubled[f"{camera.state} {camera.code or ''}".strip()].append(camera)
    return [
        f"{trouble}: {_names(camera.name for camera in group)}{_detail(group)}"
        for trouble, group in sorted(troubled.items(), key=lambda item: (item[1][0].is_inspecting, -len(item[1])))
    ]


def _detail(group: Sequence[CameraSnapshot]) -> str:
    return f" ({group[0].detail})" if len(group) == 1 and group[0].detail else ""


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _NAMES_SHOWN
    shown = ", ".join(listed[:_NAMES_SHOWN])
    return f"{shown} + {more} more" if more > 0 else shown
