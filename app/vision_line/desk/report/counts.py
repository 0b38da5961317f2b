# SPDX-License-Identifier: AGPL-3.0-or-later
"""What was found, in numbers: events by camera, class and verdict, and what was kept for review."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vision_line.desk.local_time import ChosenTime
from vision_line.frames import Verdict
from vision_line.records.columns import Table
from vision_line.records.query import SOURCES, Selection, plan_query
from vision_line.records.records import Records, either


@dataclass(frozen=True, slots=True)
class VerdictCounts:
    """Events of one camera or class, or both, or of all."""

    camera: str
    class_name: str
    reject: int = 0
    warn: int = 0
    accept: int = 0

    @property
    def called(self) -> int:
        """Events that are not harmless."""
        return self.reject + self.warn


@dataclass(frozen=True, slots=True)
class ParetoBar:
    """A class with its share of all rejects and warnings; `cumulated` includes the classes before it."""

    counts: VerdictCounts
    share: float
    cumulated: float


@dataclass(frozen=True, slots=True)
class KeptForReview:
    """Near misses and audits of a time, and how many of them have an image."""

    near_misses: int
    near_miss_images: int
    audits: int
    audit_images: int


def read_counts(connection: Records, time: ChosenTime) -> list[VerdictCounts]:
    """Return the events first seen in `time` by camera and class, those of challenge parts left out.

    The connection was taught `is_challenge`.

    Raises:
        Error: the database's, as it comes.
    """
    query = plan_query(Table.EVENTS, Selection(time.since_utc, time.until_utc))
    sql = f"""SELECT t.camera, t.class, t.verdict, count(*) FROM {SOURCES[Table.EVENTS].sql}
        WHERE {query.where} AND NOT is_challenge(t.camera, t.first_seen_utc)
        GROUP BY t.camera, t.class, t.verdict ORDER BY t.camera, t.class"""  # noqa: S608  names, of records
    found: dict[tuple[str, str], Counter[str]] = {}
    for camera, class_name, verdict, count in connection.execute(sql, query.parameters).fetchall():
        found.setdefault((camera, class_name), Counter())[verdict] = count
    return [
        VerdictCounts(*place, counts[Verdict.REJECT], counts[Verdict.WARN], counts[Verdict.ACCEPT])
        for place, counts in found.items()
    ]


def in_all(counts: Iterable[VerdictCounts], class_name: str = "") -> VerdictCounts:
    """Return the sums."""
    every = list(counts)
    sums = ((one.reject for one in every), (one.warn for one in every), (one.accept for one in every))
    return VerdictCounts("", class_name, *map(sum, sums))


def pareto(counts: Sequence[VerdictCounts]) -> list[ParetoBar]:
    """Return the classes that have rejects or warnings, the most frequent first."""
    names = sorted({one.class_name for one in counts})
    classes = [in_all((one for one in counts if one.class_name == name), name) for name in names]
    ranked = sorted((one for one in classes if one.called), key=lambda one: (-one.called, one.class_name))
    total = sum(one.called for one in ranked)
    reached = 0
    bars = []
    for one in ranked:
        reached += one.called
        bars.append(ParetoBar(one, one.called / total, reached / total))
    return bars


def read_kept(connection: Records, time: ChosenTime) -> KeptForReview:
    """Return how much was kept for review.

    Raises:
        Error: the database's, as it comes.
    """
    return KeptForReview(*_kept_of(connection, time, Table.NEAR_MISSES), *_kept_of(connection, time, Table.AUDITS))


def _kept_of(connection: Records, time: ChosenTime, table: Table) -> tuple[int, int]:
    query = plan_query(table, Selection(time.since_utc, time.until_utc))
    sql = f"""SELECT count(*), count({either("t.path IS NOT NULL AND t.deleted_utc IS NULL", "1", "NULL")})
        FROM {SOURCES[table].sql} WHERE {query.where}"""  # noqa: S608  the same
    rows, images = connection.execute(sql, query.parameters).fetchone()
    return rows, images
