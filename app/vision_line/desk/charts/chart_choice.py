# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a request wants to see charts of: whose events, by which period, over which time, by which tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Query
from pydantic import BeforeValidator

from vision_line.desk.boxes import present_boxes
from vision_line.desk.charts.chart_periods import USUAL_DAYS, ChartPeriod, PeriodKind, chart_periods
from vision_line.desk.local_time import ChosenTime, parse_local, plant_clock
from vision_line.errors import ConfigError
from vision_line.quality import DEFAULT_TESTS, NELSON_TESTS
from vision_line.records.records import Records
from vision_line.reviews.baseline_entries import ChartScope

LONGEST_DAYS = 400
_DAY_S = 86_400.0

#: Of the last run of each machine: the clock of one before may have been ahead.
_NEWEST = """SELECT max(coalesce(r.ended_utc, r.alive_utc, r.started_utc)) FROM runs r
    WHERE NOT EXISTS (SELECT 1 FROM runs n WHERE n.host = r.host AND n.run > r.run)"""
_STATION_NAMES = "SELECT DISTINCT station FROM cameras WHERE station <> '' ORDER BY station"


@dataclass(frozen=True, slots=True)
class ChartWish:
    """What a request says; "" and 0 are what is usual."""

    camera: str = ""
    station: str = ""
    class_name: str = ""
    together: bool = False
    period: str = ""
    days: int = 0
    since: str = ""
    until: str = ""
    tests: tuple[int, ...] = DEFAULT_TESTS

    @property
    def is_one(self) -> bool:
        """Whether it is about one camera, one station, or all cameras together."""
        return bool(self.camera or self.station or self.together)

    def scope(self) -> ChartScope:
        """Return whose events are wanted, by which period.

        Raises:
            ConfigError: there is no such period.
        """
        return ChartScope(_kind(self), self.camera, self.station, self.class_name)

    def fields(self, **other: str | int) -> list[tuple[str, str | int]]:
        """Return the parameters that ask for the same, but for these."""
        said: dict[str, str | int] = {"camera": self.camera, "station": self.station, "class": self.class_name}
        said |= {"together": int(self.together), "period": self.period, "days": self.days}
        said |= {"since": self.since, "until": self.until, **present_boxes().asked, **other}
        tests = [("test", test) for test in self.tests] if self.tests != DEFAULT_TESTS else []
        return [*((name, value) for name, value in said.items() if value), *tests]

    def address(self, **other: str | int) -> str:
        """Return the same as an address has it."""
        return urlencode(self.fields(**other))


@dataclass(frozen=True, slots=True)
class ChartTime:
    """The periods that are wanted; `known_utc` is until when the records account for the line."""

    kind: PeriodKind
    time: ChosenTime
    periods: Sequence[ChartPeriod]
    known_utc: float


def chart_wish(
    camera: Annotated[str, Query(max_length=100, description="Only this camera.")] = "",
    station: Annotated[str, Query(max_length=100, description="Only this station.")] = "",
    class_: Annotated[str, Query(alias="class", max_length=100, description="Only events of this class.")] = "",
    together: Annotated[bool, Query(description="All cameras in one chart, not one for each station.")] = False,
    period: Annotated[str, Query(max_length=5, description="`hour`, `shift` or `day`.")] = "",
    days: Annotated[
        int,
        BeforeValidator(lambda text: text or 0),  # a form sends the empty choice too
        Query(ge=0, le=LONGEST_DAYS, description="So many days until the newest records."),
    ] = 0,
    since: Annotated[str, Query(max_length=40, description="From this ISO 8601 time on.")] = "",
    until: Annotated[str, Query(max_length=40, description="Before this time.")] = "",
    test: Annotated[list[int], Query(max_length=8, description="Nelson's tests, 1 to 8.")] = [],  # noqa: B006  FastAPI copies it
) -> ChartWish:
    """Return what a request wants.

    Raises:
        ConfigError: there is no such test, or both a camera and a station are wanted.
    """
    if camera and station:
        raise ConfigError("choose a camera or a station, not both")
    if unknown := set(test) - NELSON_TESTS.keys():
        raise ConfigError(f"there is no test {min(unknown)}: Nelson's are 1 to 8")
    tests = tuple(sorted(set(test))) or DEFAULT_TESTS
    return ChartWish(
        camera=camera,
        station=station,
        class_name=class_,
        together=together and not camera and not station,
        period=period,
        days=days,
        since=since,
        until=until,
        tests=tests,
    )


Wish = Annotated[ChartWish, Depends(chart_wish)]


def choose_chart_time(connection: Records, wish: ChartWish) -> ChartTime:
    """Return the periods that are wanted: whole ones, until the newest records unless something else is said.

    Raises:
        ConfigError: it is no time or no period, or too long.
        Error: the database's, as it comes.
    """
    kind = PeriodKind(wish.scope().period)
    known_utc = connection.execute(_NEWEST).fetchone()[0] or 0.0
    until_utc = parse_local(wish.until) if wish.until else max(known_utc, _DAY_S)
    days = wish.days or USUAL_DAYS[kind]
    since_utc = parse_local(wish.since) if wish.since else until_utc - days * _DAY_S
    if not 0 < until_utc - since_utc <= (LONGEST_DAYS + 1) * _DAY_S:
        raise ConfigError(f"choose a time that ends after it begins and has at most {LONGEST_DAYS} days")
    periods = chart_periods(kind, ChosenTime(since_utc, until_utc), plant_clock())
    return ChartTime(kind, ChosenTime(periods[0].since_utc, periods[-1].until_utc), periods, known_utc)


def scopes_of(connection: Records, wish: ChartWish) -> list[ChartScope]:
    """Return whose events are drawn: the camera's, the station's or all that are wanted, else each station's.

    Raises:
        Error: the database's, as it comes.
    """
    scope = wish.scope()
    names = [] if wish.is_one else [name for (name,) in connection.execute(_STATION_NAMES).fetchall()]
    return [replace(scope, station=name) for name in names] or [scope]


def period_kinds() -> list[PeriodKind]:
    """Return what a point can be; shifts where the records name some."""
    return [kind for kind in PeriodKind if kind is not PeriodKind.SHIFT or plant_clock().shifts is not None]


def _kind(wish: ChartWish) -> PeriodKind:
    if not wish.period:
        return PeriodKind.HOUR if plant_clock().shifts is None else PeriodKind.SHIFT
    try:
        return PeriodKind(wish.period)
    except ValueError as exc:
        raise ConfigError(f"expected hour, shift or day, found {wish.period!r}") from exc
