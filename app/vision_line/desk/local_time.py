# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plant's clock: the zone in which all times are shown and typed, and the shifts that begin on it.

A request is answered by one clock, so pages name none: `plant_clock` is the present one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from vision_line.errors import ConfigError
from vision_line.quality.shifts import ShiftPlan, WorkShift

_DAY = timedelta(days=1)
_SHIFT = re.compile(r"\d{4}-\d{2}-\d{2}/.+")
NO_SHIFTS = "these records name no shifts: set [shifts] in streams.toml"


@dataclass(frozen=True, slots=True)
class ChosenTime:
    """The time that a page is about: [since_utc, until_utc)."""

    since_utc: float
    until_utc: float

    @property
    def length_s(self) -> float:
        """How long it is."""
        return self.until_utc - self.since_utc

    def clipped_s(self, start_utc: float, end_utc: float) -> float:
        """Return how much of [start_utc, end_utc) lies in it, seconds."""
        return max(0.0, min(end_utc, self.until_utc) - max(start_utc, self.since_utc))


@dataclass(frozen=True, slots=True)
class PlantClock:
    """A zone's clock. Without a `zone` it is that of the machine (`TZ`, or /etc/localtime); `shifts` may be unknown."""

    zone: ZoneInfo | None = None
    shifts: ShiftPlan | None = None

    def local(self, utc: float) -> datetime:
        """Return a moment with the zone's offset of then.

        Raises:
            ConfigError: there is no such moment.
        """
        try:
            return datetime.fromtimestamp(utc, self.zone) if self.zone else datetime.fromtimestamp(utc).astimezone()
        except (OverflowError, ValueError, OSError) as exc:
            raise ConfigError(f"{utc!r} is no moment") from exc

    @property
    def zone_name(self) -> str:
        """What the zone is called: `Europe/Berlin`, or where it is the machine's, that and its name of now."""
        return self.zone.key if self.zone else f"this machine's, now {datetime.now().astimezone().tzname()}"

    def day(self, utc: float) -> str:
        """Return `Sat 28 Nov 2026`."""
        return f"{self.local(utc):%a %d %b %Y}"

    def clock(self, utc: float) -> str:
        """Return `14:02:11`, with the offset in the hour that the clock shows twice."""
        return f"{self.local(utc):%H:%M:%S}{self._offset_if_twice(utc)}"

    def moment(self, utc: float) -> str:
        """Return `2026-11-28 14:02:11`, with the offset in the hour that the clock shows twice."""
        return f"{self.local(utc):%Y-%m-%d %H:%M:%S}{self._offset_if_twice(utc)}"

    def within(self, utc: float, time: ChosenTime) -> str:
        """Return a moment as the page of a time shows it: with its day where the time has several, or is another."""
        is_one = time.length_s <= 86_400.0 or self.day_of(time) is not None
        return self.clock(utc) if is_one and time.since_utc <= utc <= time.until_utc else self.moment(utc)

    def field_text(self, utc: float) -> str:
        """Return a moment as a browser's field for local times has it, to the second."""
        return f"{self.local(utc):%Y-%m-%dT%H:%M:%S}"

    def iso(self, utc: float) -> str:
        """Return a moment with its offset, as an address of a page has it: `2026-11-28T14:02:11+01:00`."""
        return self.local(utc).isoformat()

    def mark(self, utc: float, length_s: float) -> str:
        """Return a moment for the axis of a time so long: `14:00`, or `28 Nov` where days are shown."""
        return f"{self.local(utc):%d %b}" if length_s > 3 * 86_400 else f"{self.local(utc):%H:%M}"

    def date_before(self, utc: float) -> str:
        """Return the date just before a moment, such as `2026-11-28`: of a time's end, its last day."""
        return self.local(utc - 1.0).date().isoformat()

    def span(self, time: ChosenTime) -> str:
        """Return from when to when, with the offsets from UTC, which differ where the clock changes in between."""
        since, until = (f"{self.day(utc)} {self._minute(utc)}" for utc in (time.since_utc, time.until_utc))
        return f"{since} – {until}"

    def title(self, time: ChosenTime) -> str:
        """Return what a page calls its time: a shift by its name, a day, or from when to when."""
        if (shift := self.shift_of(time)) is not None:
            return f"Shift {shift.name}, {self._from_until(time)}"
        return self._from_until(time) if self.day_of(time) is None else self.day(time.since_utc)

    def named(self, since_utc: float | None, until_utc: float | None) -> tuple[str, str, str]:
        """Return what a page calls a chosen time, and the day and the shift that it is, each "" where there is none."""
        if since_utc is None or until_utc is None:
            return "", "", ""
        time = ChosenTime(since_utc, until_utc)
        if (shift := self.shift_of(time)) is not None:
            return self.title(time), shift.day.isoformat(), shift.name
        day = self.day_of(time)
        return self.title(time), "" if day is None else day.isoformat(), ""

    def _from_until(self, time: ChosenTime) -> str:
        since, until = self.local(time.since_utc), self.local(time.until_utc)
        if since.utcoffset() != until.utcoffset():
            return self.span(time)
        ends = f"{until:%H:%M}" if since.date() == until.date() else f"{self.day(time.until_utc)}, {until:%H:%M}"
        return f"{self.day(time.since_utc)}, {since:%H:%M} – {ends}"

    def parse(self, text: str) -> float:
        """Return the moment that an ISO 8601 time names, on this clock where it names no offset.

        Raises:
            ConfigError: it is none.
        """
        try:
            found = datetime.fromisoformat(text)
            return (found if found.tzinfo else found.replace(tzinfo=self.zone)).timestamp()
        except (OverflowError, ValueError) as exc:
            raise ConfigError(f"expected a time such as 2026-01-31T12:00, found {text!r}") from exc

    def whole_day(self, of: date) -> ChosenTime:
        """Return a day of this clock, which has 23 to 25 hours.

        Raises:
            ConfigError: there is no such day.
        """
        try:
            begins, ends = (
                datetime.combine(which, datetime.min.time(), self.zone).timestamp() for which in (of, of + _DAY)
            )
        except (OverflowError, ValueError) as exc:
            raise ConfigError(f"{of} is no day") from exc
        return ChosenTime(begins, ends)

    def shift_of(self, time: ChosenTime) -> WorkShift | None:
        """Return the shift that is exactly this time; None: it is another time, or no shifts are known."""
        if self.shifts is None:
            return None
        shift = self.shift_at(time.since_utc)
        return shift if (shift.start_utc, shift.end_utc) == (time.since_utc, time.until_utc) else None

    def day_of(self, time: ChosenTime) -> date | None:
        """Return the day that is exactly this time; None: it is another time."""
        day = self.local(time.since_utc).date()
        return day if self.whole_day(day) == time else None

    def shift_at(self, utc: float) -> WorkShift:
        """Return the shift to which a moment belongs.

        Raises:
            ConfigError: no shifts are known, or there is no such moment.
        """
        if self.shifts is None:
            raise ConfigError(NO_SHIFTS)
        try:
            return self.shifts.shift_at(utc)
        except (OverflowError, ValueError, OSError) as exc:
            raise ConfigError(f"{utc!r} is no moment") from exc

    def shifts_between(self, time: ChosenTime) -> list[WorkShift]:
        """Return the shifts of which some lies in a time; none where they are not known.

        Raises:
            ConfigError: the time is out of what clocks show.
        """
        try:
            return [] if self.shifts is None else list(self.shifts.shifts_between(time.since_utc, time.until_utc))
        except (OverflowError, ValueError, OSError) as exc:
            raise ConfigError(f"{time.since_utc!r} is no moment") from exc

    def shift(self, key: str) -> WorkShift:
        """Return the shift that people call so, such as `2026-11-27/early`.

        Raises:
            ConfigError: there is none.
        """
        if self.shifts is None:
            raise ConfigError(NO_SHIFTS)
        if not _SHIFT.fullmatch(key):
            raise ConfigError(f"expected a shift as DAY/NAME, such as 2026-11-27/{self.shifts.names[0]}, found {key!r}")
        try:
            return self.shifts.shift(key)
        except (OverflowError, ValueError, OSError) as exc:
            raise ConfigError(f"shift {key}: {exc}") from exc

    def _minute(self, utc: float) -> str:
        shown = "%H:%M" if utc % 60 == 0 else "%H:%M:%S"
        return f"{self.local(utc):{shown}} ({self._offset(utc)})"

    def _offset(self, utc: float) -> str:
        offset = f"{self.local(utc):%z}"
        return f"UTC{offset[:3]}:{offset[3:5]}"

    def _offset_if_twice(self, utc: float) -> str:
        """Return the offset where the clock shows this time twice, as it is put back; else nothing."""
        shown = self.local(utc).replace(tzinfo=self.zone)
        first, second = (shown.replace(fold=fold).timestamp() for fold in (0, 1))
        return "" if first == second else f" ({self._offset(utc)})"


_CLOCK: ContextVar[PlantClock] = ContextVar("plant_clock", default=PlantClock())  # noqa: B039  it cannot change


def plant_clock() -> PlantClock:
    """Return the clock by which the present request is answered, or the present report made."""
    return _CLOCK.get()


@contextmanager
def shown_by(clock: PlantClock) -> Iterator[None]:
    """Have everything within, also in threads that it waits for, show and read times by this clock."""
    token = _CLOCK.set(clock)
    try:
        yield
    finally:
        _CLOCK.reset(token)


def local(utc: float) -> datetime:
    """Return a moment on the present clock; ConfigError: there is none."""
    return plant_clock().local(utc)


def parse_local(text: str) -> float:
    """Return the moment that an ISO 8601 time names, on the present clock; ConfigError: it is none."""
    return plant_clock().parse(text)


def parse_day(text: str) -> date:
    """Return the day that an ISO 8601 date names.

    Raises:
        ConfigError: it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        raise ConfigError(f"expected a day such as 2026-01-31, found {text!r}") from exc
