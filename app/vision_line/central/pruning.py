# SPDX-License-Identifier: AGPL-3.0-or-later
"""Old rows of the central record go, month by month; what was removed is not taken in again.

Whole partitions are dropped, which takes no time; of other tables rows are deleted. Runs, cameras, lots and what people
decided stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from vision_line.records.formats import iso_utc

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.rows import TupleRow

#: Tables with months, and the column that they go by.
_MONTHLY = {"events": "first_seen_utc", "coverage": "minute_utc", "detections": "arrived_utc"}
#: Which rows of the others are old. An interval that is open is not.
_OLD = {
    "records.not_inspected": "ended_utc < %(before)s",
    "records.superseded": "to_utc < %(before)s",
    "records.states": "at_utc < %(before)s",
    "records.evidence": "created_utc < %(before)s",
    "records.clips": "created_utc < %(before)s",
    "records.near_misses": "first_seen_utc < %(before)s",
    "records.audits": "arrived_utc < %(before)s",
    "plant.withdrawn": "at_utc < %(before)s",
    "parts.part_events": "number IN (SELECT number FROM parts.parts WHERE triggered_utc < %(before)s)",
    "parts.journal": "kind IN ('part', 'correction') AND at_utc < %(before)s"
    " AND number NOT IN (SELECT corrected FROM parts.parts WHERE triggered_utc >= %(before)s AND corrected IS NOT NULL)"
    " AND number NOT IN (SELECT number FROM parts.parts WHERE triggered_utc >= %(before)s)",
    "parts.parts": "triggered_utc < %(before)s",
}
_PARTITIONS = """SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = ('records.' || %s)::regclass AND c.relname < %s ORDER BY c.relname"""
_ENTER = """INSERT INTO plant.prunings (before_utc, rows, at_utc)
    VALUES (%s, %s, extract(epoch FROM clock_timestamp())::float8)"""
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '20s'"


@dataclass(frozen=True, slots=True)
class PrunedTable:
    """How many rows of a table went, or would."""

    table: str
    rows: int


def month_before(keep_days: int, now_utc: float) -> float:
    """Return the beginning of the month in which the time to keep begins: so much is kept at the least. Pure."""
    since = datetime.fromtimestamp(now_utc, UTC) - timedelta(days=keep_days)
    return since.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()


def prune(connection: Connection[TupleRow], before_utc: float, *, dry_run: bool) -> list[PrunedTable]:
    """Remove what is from before a month's beginning, all or nothing; return what went, or would with `dry_run`.

    Raises:
        psycopg.Error: as it comes; a table is in use for too long.
    """
    from psycopg import Rollback

    with connection.transaction() as transaction:
        connection.execute(_LOCK_TIMEOUT)
        found = [*_months(connection, before_utc), *_others(connection, before_utc)]
        connection.execute(_ENTER, (before_utc, sum(one.rows for one in found)))
        if dry_run:
            raise Rollback(transaction)
    return [one for one in found if one.rows]


def _months(connection: Connection[TupleRow], before_utc: float) -> Iterator[PrunedTable]:
    month = iso_utc(before_utc)[:7].replace("-", "_")
    for table, age in _MONTHLY.items():
        deleted = connection.execute(
            f"DELETE FROM records.{table}_elsewhen WHERE {age} < %s".encode(),  # noqa: S608  names, of this file
            (before_utc,),
        )
        rows = deleted.rowcount
        for (partition,) in connection.execute(_PARTITIONS, (table, f"{table}_{month}")).fetchall():
            counting = f"SELECT count(*) FROM records.{partition}"  # noqa: S608  a name of the database's own
            (there,) = connection.execute(counting.encode()).fetchone() or (0,)
            connection.execute(f"DROP TABLE records.{partition}".encode())
            rows += there
        yield PrunedTable(f"records.{table}", rows)


def _others(connection: Connection[TupleRow], before_utc: float) -> Iterator[PrunedTable]:
    for table, old in _OLD.items():
        statement = f"DELETE FROM {table} WHERE {old}"  # noqa: S608  names, of this file
        deleted = connection.execute(statement.encode(), {"before": before_utc})
        yield PrunedTable(table, deleted.rowcount)
