# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which rows of a table are wanted, as a query. Pure: text and numbers in, SQL with its parameters out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from vision_line.errors import ConfigError
from vision_line.records.columns import COLUMNS, Table
from vision_line.records.records import greatest

_AGO = re.compile(r"(?P<count>\d+(?:\.\d+)?)(?P<unit>[smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Selection:
    """What is wanted: rows at or after `since_utc` and before `until_utc`, of these cameras, classes, verdicts, lots.

    None and empty are any.

    An event is at its first sight, a detection at its frame's arrival, a run at its start. An interval that was not
    inspected is wanted if any part of it is.
    """

    since_utc: float | None = None
    until_utc: float | None = None
    cameras: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    verdicts: tuple[StrEnum, ...] = ()
    """Of events, or of parts: these also have `not_inspected`."""
    lots: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no moment is wanted."""
        return self.since_utc is not None and self.until_utc is not None and self.since_utc >= self.until_utc


@dataclass(frozen=True, slots=True)
class RowCondition:
    """What else holds for the wanted rows `t`, as SQL with its parameters: all of them lie from one moment to another.

    An interval does so for a part.
    """

    sql: str
    parameters: tuple[object, ...]
    since_utc: float
    until_utc: float


@dataclass(frozen=True, slots=True)
class ExportSource:
    """Where a table's rows come from: `t` is the table, `r` its run, `e` its evidence."""

    sql: str
    number: str  # the column that numbers the rows as they were written
    time: str  # rows are exported by it; one before until_utc is wanted
    filters: frozenset[str] = frozenset()
    ends: str = ""  # a row is wanted if this is >= since_utc; "": `time`


_JOIN_RUN = "JOIN runs r ON r.run = t.run"
_JOIN_EVIDENCE = "LEFT JOIN evidence e ON e.run = t.run AND e.event_id = t.event_id"
_JOIN_EVENT = "LEFT JOIN events v ON v.run = t.run AND v.event_id = t.event_id"

_EVERY = frozenset({"cameras"})
_FOUND = frozenset({"cameras", "classes", "verdicts"})
_STILL_OPEN = "coalesce(t.ended_utc, 9e15)"
#: A lot goes on until the next order of its lane, or of every lane.
_LOTS = f"""(SELECT *, (SELECT {greatest("n.begun_utc", "o.begun_utc")} FROM lots n WHERE n.number > o.number
    AND n.lane IN (o.lane, '*') ORDER BY n.number LIMIT 1) AS ended_utc FROM lots o WHERE o.lot <> '')"""  # noqa: S608  names, of this file

SOURCES: dict[Table, ExportSource] = {
    Table.EVENTS: ExportSource(f"events t {_JOIN_RUN} {_JOIN_EVIDENCE}", "t.event", "t.first_seen_utc", _FOUND),
    Table.DETECTIONS: ExportSource(f"detections t {_JOIN_RUN} {_JOIN_EVENT}", "t.detection", "t.arrived_utc", _FOUND),
    Table.COVERAGE: ExportSource(f"coverage t {_JOIN_RUN}", "t.minute", "t.minute_utc", _EVERY),
    Table.NOT_INSPECTED: ExportSource(
        f"not_inspected t {_JOIN_RUN}", "t.interval", "t.started_utc", _EVERY, ends=_STILL_OPEN
    ),
    Table.STATES: ExportSource(f"states t {_JOIN_RUN}", "t.change", "t.at_utc", _EVERY),
    Table.CAMERAS: ExportSource(f"cameras t {_JOIN_RUN}", "t.rowid", "t.since_utc", _EVERY),
    Table.CLOCK_STEPS: ExportSource(f"clock_steps t {_JOIN_RUN}", "t.step", "t.to_utc"),
    Table.REMOVALS: ExportSource("removals t", "t.removal", "t.from_utc", ends="t.to_utc"),
    Table.CLIPS: ExportSource(f"clips t {_JOIN_RUN}", "t.clip", "t.created_utc", _EVERY),
    Table.NEAR_MISSES: ExportSource(
        f"near_misses t {_JOIN_RUN}", "t.near_miss", "t.first_seen_utc", frozenset({"cameras", "classes"})
    ),
    Table.AUDITS: ExportSource(f"audits t {_JOIN_RUN}", "t.audit", "t.arrived_utc", _EVERY),
    Table.RUNS: ExportSource("runs r", "r.run", "r.started_utc"),
    Table.PARTS: ExportSource(
        "parts t JOIN journal j ON j.number = t.number LEFT JOIN journal c ON c.number = t.corrected",
        *("t.number", "t.triggered_utc", frozenset({"verdicts", "lots"})),
    ),
    Table.LOTS: ExportSource(
        f"{_LOTS} t JOIN journal j ON j.number = t.number",
        *("t.number", "t.begun_utc", frozenset({"lots"}), _STILL_OPEN),
    ),
}
#: Those that are in `parts.sqlite`.
OF_PARTS = frozenset({Table.PARTS, Table.LOTS})

_COLUMN = {"cameras": "t.camera", "classes": "t.class", "verdicts": "t.verdict", "lots": "t.lot"}
_OTHER_COLUMN = {(Table.DETECTIONS, "verdicts"): "v.verdict", (Table.CAMERAS, "cameras"): "t.name"}
_OPTION = {"cameras": "--camera", "classes": "--class", "verdicts": "--verdict", "lots": "--lot"}


@dataclass(frozen=True, slots=True)
class Query:
    """A table's query in pieces: `where` holds for every wanted row."""

    table: Table
    where: str
    parameters: tuple[object, ...]

    def count_sql(self) -> str:
        """Return the query for how many rows are wanted, and the highest number of them."""
        source = SOURCES[self.table]
        return f"SELECT count(*), coalesce(max({source.number}), -1) FROM {source.sql} WHERE {self.where}"  # noqa: S608

    def chunk_sql(self, chunk_rows: int) -> str:
        """Return the query for the next rows by time.

        After `parameters` it takes the highest number, and the time and number of the last row that was read.
        The two columns before the table's own are time and number.
        """
        source = SOURCES[self.table]
        columns = ", ".join(column.sql for column in COLUMNS[self.table])
        key = f"{source.time}, {source.number}"
        return (
            f"SELECT {key}, {columns} FROM {source.sql} WHERE {self.where} AND {source.number} <= ?"  # noqa: S608
            f" AND ({key}) > (?, ?) ORDER BY {key} LIMIT {chunk_rows}"
        )


def plan_query(table: Table, selection: Selection, also: RowCondition | None = None) -> Query:
    """Return the query for the rows of `table` that `selection` wants, and for which `also` holds.

    Raises:
        ConfigError: a filter does not apply to the table, or no moment is wanted.
    """
    source = SOURCES[table]
    chosen = {name: values for name in _OPTION if (values := getattr(selection, name))}
    problems = [f"{_OPTION[name]} does not apply to table {table}" for name in chosen if name not in source.filters]
    if "not_inspected" in selection.verdicts and table is not Table.PARTS:
        problems.append(f"--verdict not_inspected is one of parts; it does not apply to table {table}")
    if selection.is_empty:
        problems.append("--since: no moment is at or after it and before --until")
    if problems:
        raise ConfigError(*problems)
    conditions = [_one_of(_OTHER_COLUMN.get((table, name), _COLUMN[name]), values) for name, values in chosen.items()]
    if selection.since_utc is not None:
        conditions.append((f"{source.ends or source.time} >= ?", (selection.since_utc,)))
    if selection.until_utc is not None:
        conditions.append((f"{source.time} < ?", (selection.until_utc,)))
    if also is not None:
        conditions.append((f"({also.sql})", also.parameters))
    where = " AND ".join(sql for sql, _ in conditions) or "true"
    return Query(table, where, tuple(value for _, values in conditions for value in values))


def _one_of(column: str, values: Sequence[str]) -> tuple[str, tuple[object, ...]]:
    return f"{column} IN ({', '.join('?' * len(values))})", tuple(map(str, values))


def parse_moment(text: str, now_utc: float) -> float:
    """Return the moment that `text` names, in seconds since the epoch.

    `text` is an age (`90s`, `15m`, `2h`, `7d` before now), `now`, or an ISO 8601 date or time; UTC where it names no
    offset.

    Raises:
        ConfigError: it is neither.
    """
    if text == "now":
        return now_utc
    if found := _AGO.fullmatch(text):
        return now_utc - float(found["count"]) * _UNIT_S[found["unit"]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ConfigError(
            f"expected 2h, 30m, now or an ISO 8601 time such as 2026-01-31T12:00:00Z, found {text!r}"
        ) from exc
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
