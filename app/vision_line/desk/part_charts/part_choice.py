# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a request wants to see charts of: which lane's parts, of which recipe or lot, by which period."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Query
from pydantic import BeforeValidator

from vision_line.desk.charts.chart_choice import LONGEST_DAYS
from vision_line.desk.charts.chart_periods import ChartPeriod, PeriodKind, chart_periods
from vision_line.desk.local_time import ChosenTime, parse_local, plant_clock
from vision_line.errors import ConfigError
from vision_line.quality import DEFAULT_TESTS, NELSON_TESTS
from vision_line.records.records import Records
from vision_line.reviews.part_baseline_entries import PartScope

_DAY_S = 86_400.0

#: The newest part: the clock of one before may have been ahead.
_NEWEST = "SELECT triggered_utc FROM parts ORDER BY number DESC LIMIT 1"
_LANES = "SELECT DISTINCT lane FROM parts ORDER BY lane"
_RECIPES = "SELECT DISTINCT recipe FROM parts WHERE recipe <> '' ORDER BY recipe"


class PartPeriodKind(StrEnum):
    """What a point is the share of."""

    HOUR = "hour"
    SHIFT = "shift"
    DAY = "day"
    LOT = "lot"


#: How much a chart shows unless somebody chooses: days.
_USUAL_DAYS = {PartPeriodKind.HOUR: 7, PartPeriodKind.SHIFT: 30, PartPeriodKind.DAY: 90, PartPeriodKind.LOT: 30}


@dataclass(frozen=True, slots=True)
class PartWish:
    """What a request says; "" and 0 are what is usual, or any."""

    lane: str = ""
    recipe: str = ""
    lot: str = ""
    period: str = ""
    days: int = 0
    since: str = ""
    until: str = ""
    tests: tuple[int, ...] = DEFAULT_TESTS

    @property
    def kind(self) -> PartPeriodKind:
        """What a point is.

        Raises:
            ConfigError: there is no such period.
        """
        if not self.period:
            return PartPeriodKind.HOUR if plant_clock().shifts is None else PartPeriodKind.SHIFT
        try:
            return PartPeriodKind(self.period)
        except ValueError as exc:
            raise ConfigError(f"expected hour, shift, day or lot, found {self.period!r}") from exc

    def fields(self, **other: str | int) -> list[tuple[str, str | int]]:
        """Return the parameters that ask for the same, but for these."""
        said: dict[str, str | int] = {"lane": self.lane, "recipe": self.recipe, "lot": self.lot}
        said |= {"period": self.period, "days": self.days, "since": self.since, "until": self.until, **other}
        tests = [("test", test) for test in self.tests] if self.tests != DEFAULT_TESTS else []
        return [*((name, value) for name, value in said.items() if value), *tests]

    def address(self, **other: str | int) -> str:
        """Return the same as an address has it."""
        return urlencode(self.fields(**other))


@dataclass(frozen=True, slots=True)
class PartTime:
    """The time that is wanted, with its periods unless a point is a lot; `known_utc` is when the newest part came."""

    kind: PartPeriodKind
    time: ChosenTime
    periods: Sequence[ChartPeriod]
    known_utc: float


@dataclass(frozen=True, slots=True)
class PartChoices:
    """What there is to choose from."""

    lanes: Sequence[str]
    recipes: Sequence[str]
    kinds: Sequence[PartPeriodKind]


_Name = Annotated[str, Query(max_length=64)]


def part_wish(
    lane: _Name = "",
    recipe: _Name = "",
    lot: _Name = "",
    period: Annotated[str, Query(max_length=5, description="`hour`, `shift`, `day` or `lot`.")] = "",
    days: Annotated[
        int,
        BeforeValidator(lambda text: text or 0),  # a form sends the empty choice too
        Query(ge=0, le=LONGEST_DAYS, description="So many days until the newest part."),
    ] = 0,
    since: Annotated[str, Query(max_length=40, description="From this ISO 8601 time on.")] = "",
    until: Annotated[str, Query(max_length=40, description="Before this time.")] = "",
    test: Annotated[list[int], Query(max_length=8, description="Nelson's tests, 1 to 8.")] = [],  # noqa: B006  FastAPI copies it
) -> PartWish:
    """Return what a request wants.

    Raises:
        ConfigError: there is no such test.
    """
    if unknown := set(test) - NELSON_TESTS.keys():
        raise ConfigError(f"there is no test {min(unknown)}: Nelson's are 1 to 8")
    return PartWish(
        lane=lane.strip(),
        recipe=recipe.strip(),
        lot=lot.strip(),
        period=period,
        days=days,
        since=since,
        until=until,
        tests=tuple(sorted(set(test))) or DEFAULT_TESTS,
    )


AskedParts = Annotated[PartWish, Depends(part_wish)]


def choose_part_time(connection: Records, wish: PartWish) -> PartTime:
    """Return the periods that are wanted: whole ones, until the newest part unless something else is said.

    Raises:
        ConfigError: it is no time or no period, or too long.
        Error: the database's, as it comes.
    """
    kind = wish.kind
    (known_utc,) = connection.execute(_NEWEST).fetchone() or (0.0,)
    until_utc = parse_local(wish.until) if wish.until else max(known_utc, _DAY_S) + 1.0
    days = wish.days or _USUAL_DAYS[kind]
    since_utc = parse_local(wish.since) if wish.since else until_utc - days * _DAY_S
    if not 0 < until_utc - since_utc <= (LONGEST_DAYS + 1) * _DAY_S:
        raise ConfigError(f"choose a time that ends after it begins and has at most {LONGEST_DAYS} days")
    time = ChosenTime(since_utc, until_utc)
    if kind is PartPeriodKind.LOT:
        return PartTime(kind, time, (), known_utc)
    periods = chart_periods(PeriodKind(kind), time, plant_clock())
    return PartTime(kind, ChosenTime(periods[0].since_utc, periods[-1].until_utc), periods, known_utc)


def scopes_of(connection: Records, wish: PartWish) -> list[PartScope]:
    """Return whose parts are drawn: the lane's that is wanted, else each lane's.

    Raises:
        Error: the database's, as it comes.
    """
    lanes = [wish.lane] if wish.lane else [lane for (lane,) in connection.execute(_LANES)]
    return [PartScope(wish.kind, lane, wish.recipe) for lane in lanes]


def read_part_choices(connection: Records) -> PartChoices:
    """Return what parts had.

    Raises:
        Error: the database's, as it comes.
    """
    lanes, recipes = ([name for (name,) in connection.execute(sql)] for sql in (_LANES, _RECIPES))
    has_shifts = plant_clock().shifts is not None
    return PartChoices(
        lanes, recipes, [kind for kind in PartPeriodKind if kind is not PartPeriodKind.SHIFT or has_shifts]
    )
