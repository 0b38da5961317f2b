# SPDX-License-Identifier: AGPL-3.0-or-later
"""A time cut at the borders of its shifts: what of each shift was inspected, with a bar for each camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vision_line.desk.inspected.coverage_bar import BarPart, read_bars
from vision_line.desk.inspected.inspected_time import CameraTime, read_inspected_time
from vision_line.desk.local_time import ChosenTime, plant_clock
from vision_line.quality.shifts import WorkShift
from vision_line.records.records import Records
from vision_line.telemetry.covered import Covered, together

#: Shifts of a day, and what of the night shift lies at both ends of it; of more there are no bars, only sums.
MOST_WITH_BARS = 5


@dataclass(frozen=True, slots=True)
class CameraCoverage:
    """One camera's share and bar."""

    time: CameraTime
    share: float | None
    bar: Sequence[BarPart]


@dataclass(frozen=True, slots=True)
class ShiftPart:
    """What of a shift lies in a time; `is_whole`: all of it. `cameras` is empty where there are many shifts."""

    key: str  # `2026-11-28/early`
    name: str
    time: ChosenTime
    is_whole: bool
    total: Covered
    share: float | None
    cameras: Sequence[CameraCoverage]

    @property
    def missing_s(self) -> float:
        """Seconds that were due and not inspected, all cameras together."""
        return sum(self.total.not_inspected_s.values())


def read_cameras(connection: Records, time: ChosenTime, most_bars: int | None = None) -> list[CameraCoverage]:
    """Return what is known of each camera in `time`, by name; of more cameras than `most_bars` without bars.

    Raises:
        Error: the database's, as it comes.
    """
    times = read_inspected_time(connection, time)
    has_bars = most_bars is None or len(times) <= most_bars
    bars = read_bars(connection, time, [gap for one in times for gap in one.gaps]) if has_bars else {}
    return [CameraCoverage(one, one.covered.share, bars.get(one.camera, [])) for one in times]


def read_shift_parts(connection: Records, time: ChosenTime, most_bars: int | None = None) -> list[ShiftPart]:
    """Return the shifts of which some lies in `time`; none where they are not known, or where it is only one.

    Bars as of `read_cameras`.

    Raises:
        ConfigError: the time is out of what clocks show.
        Error: the database's, as it comes.
    """
    shifts = plant_clock().shifts_between(time)
    if len(shifts) < 2:
        return []
    most = most_bars if len(shifts) <= MOST_WITH_BARS else -1
    return [_read_part(connection, shift, time, most) for shift in shifts]


def read_shift(connection: Records, shift: WorkShift) -> ShiftPart:
    """Return what is known of a shift, without bars.

    Raises:
        Error: the database's, as it comes.
    """
    return _read_part(connection, shift, ChosenTime(shift.start_utc, shift.end_utc), -1)


def _read_part(connection: Records, shift: WorkShift, time: ChosenTime, most_bars: int | None) -> ShiftPart:
    part = ChosenTime(max(shift.start_utc, time.since_utc), min(shift.end_utc, time.until_utc))
    cameras = read_cameras(connection, part, most_bars)
    total = together(one.time.covered for one in cameras)
    return ShiftPart(
        key=shift.key,
        name=shift.name,
        time=part,
        is_whole=part == ChosenTime(shift.start_utc, shift.end_utc),
        total=total,
        share=total.share,
        cameras=[] if most_bars == -1 else cameras,
    )
