# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which time a report is about, and on whose clock: the shifts that the records say, or those that are given."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from vision_line.desk.local_time import NO_SHIFTS, ChosenTime, PlantClock
from vision_line.desk.recorded_clock import recorded_shifts
from vision_line.desk.report.passed_parts import LotTime
from vision_line.errors import ConfigError
from vision_line.quality.shifts import ShiftPlan, WorkShift, shift_plan
from vision_line.records.query import parse_moment
from vision_line.records.records import Records

#: Longer times are asked of an export: minutes of all cameras are read for a report.
LONGEST_S = 32 * 86_400.0

_NO_SHIFTS = f"{NO_SHIFTS}, or give --timezone and --shifts"


@dataclass(frozen=True, slots=True)
class WantedPeriod:
    """What was asked for. Without `shift`, `since`, `last` and `lot` it is the last shift that has ended."""

    shift: str | None = None
    since: str | None = None
    until: str | None = None
    last: str | None = None
    timezone: str | None = None
    shifts: str | None = None  # starts, with commas between
    lot: str | None = None


@dataclass(frozen=True, slots=True)
class ReportPeriod:
    """The time of a report; `shift` or `lot` where it is one. `zone_from` says who named the zone."""

    time: ChosenTime
    clock: PlantClock
    shift: WorkShift | None
    zone_from: str
    lot: LotTime | None = None

    def charted(self, now_utc: float) -> list[ChosenTime]:
        """Return the times until now whose events are charted: of a lot those in which it was made."""
        times = [self.time] if self.lot is None else self.lot.active(now_utc)
        return [replace(time, until_utc=min(time.until_utc, now_utc)) for time in times if time.since_utc < now_utc]

    @property
    def title(self) -> str:
        """What it is called: `Shift 2026-11-27/early`, `Lot L-1`, or of another time, `Inspection report`."""
        if self.lot is not None:
            return f"Lot {self.lot.lot}"
        return "Inspection report" if self.shift is None else f"Shift {self.shift.key}"


def choose_period(
    connection: Records, wanted: WantedPeriod, now_utc: float, lot: LotTime | None = None
) -> ReportPeriod:
    """Return the time that was asked for; `lot` is the one that `wanted` names.

    Raises:
        ConfigError: it is none, or too long; or the records name no shifts, and none are given.
        RunError: what the journal says of shifts cannot be read.
        Error: the database's, as it comes.
    """
    clock, zone_from = _clock(connection, wanted)
    shift = _shift(clock, wanted, now_utc)
    if lot is not None:
        time = lot.whole(now_utc)
    else:
        time = _between(clock, wanted, now_utc) if shift is None else ChosenTime(shift.start_utc, shift.end_utc)
    if not 0 < time.length_s <= LONGEST_S:
        raise ConfigError("expected a time that ends after it begins and has at most 32 days")
    if time.since_utc >= now_utc:
        raise ConfigError(f"{clock.span(time)} has not begun")
    return ReportPeriod(time, clock, shift, zone_from, lot)


def _clock(connection: Records, wanted: WantedPeriod) -> tuple[PlantClock, str]:
    """Return the clock, and who named its zone: options go before the records."""
    recorded = recorded_shifts(connection)
    zone = wanted.timezone or (recorded.zone.key if recorded else "UTC")
    starts = wanted.shifts.split(",") if wanted.shifts else []
    try:
        if starts:
            given: ShiftPlan | None = shift_plan(zone, starts)
        else:
            given = recorded and shift_plan(zone, [f"{start:%H:%M}" for start in recorded.starts], recorded.names)
        clock = PlantClock(shift_plan(zone, ["00:00"]).zone, given)
    except ValueError as exc:
        raise ConfigError(f"--timezone, --shifts: {exc}") from exc
    return clock, "--timezone" if wanted.timezone else "[shifts] in the records" if recorded else "no zone is recorded"


def _shift(clock: PlantClock, wanted: WantedPeriod, now_utc: float) -> WorkShift | None:
    """Return the shift that is wanted; None: a time is."""
    others = [value for value in (wanted.since or wanted.until, wanted.last, wanted.lot) if value]
    if len(others) + (wanted.shift is not None) > 1:
        raise ConfigError("give only one of --shift, --since (with or without --until), --last, and --lot")
    if others:
        return None
    if clock.shifts is None:
        raise ConfigError(_NO_SHIFTS if wanted.shift else f"{_NO_SHIFTS}; or a time by --last, or --since and --until")
    if wanted.shift is None:
        return clock.shift_at(clock.shift_at(now_utc).start_utc - 1.0)
    return clock.shift(wanted.shift)


def _between(clock: PlantClock, wanted: WantedPeriod, now_utc: float) -> ChosenTime:
    if wanted.last:
        return ChosenTime(_moment(clock, wanted.last, now_utc), now_utc)
    if not wanted.since:
        raise ConfigError("--until: expected --since too")
    return ChosenTime(*(_moment(clock, text, now_utc) for text in (wanted.since, wanted.until or "now")))


def _moment(clock: PlantClock, text: str, now_utc: float) -> float:
    return clock.parse(text) if re.match(r"\d{4}-|\d{8}", text) else parse_moment(text, now_utc)
