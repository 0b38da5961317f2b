# SPDX-License-Identifier: AGPL-3.0-or-later
"""The parts that passed, for those who look at them: counts by lane, and parts by what is asked of them.

Challenge parts are no products: they are in lists, and in no count. A connection is of `parts.sqlite`, and was taught
`is_challenge`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from vision_line.parts.part import PartVerdict
from vision_line.records.records import ColumnValue, Records, Row

#: A part is of a challenge where one of its cameras had a challenge part before it in the middle of the part's window:
#: a trigger may come seconds before or after. Only where any camera had one about then is the part's entry read.
OF_CHALLENGE = """any_challenge() AND challenge_at(t.lane, t.triggered_utc) AND EXISTS (
    SELECT 1 FROM (SELECT body, (CAST(json_extract(body, '$.window_utc[0]') AS DOUBLE PRECISION)
        + CAST(json_extract(body, '$.window_utc[1]') AS DOUBLE PRECISION)) / 2 AS middle_utc
        FROM journal WHERE number = t.number) j, json_each(j.body, '$.inspections') c
    WHERE is_challenge(c.key, j.middle_utc))"""
_COUNTS = f"""SELECT t.lane, t.verdict, t.cause, count(*) AS parts, count(t.corrected) AS corrected FROM parts t
    WHERE {{where}} AND NOT ({OF_CHALLENGE}) GROUP BY t.lane, t.verdict, t.cause ORDER BY t.lane"""  # noqa: S608
#: The same of each of many times, one behind the other, in one look.
_COUNTS_OF = f"""WITH period (place, begins_utc, ends_utc) AS (VALUES {{periods}})
    SELECT p.place, t.lane, t.verdict, t.cause, count(*) AS parts, count(t.corrected) AS corrected
    FROM period p CROSS JOIN parts t WHERE t.triggered_utc >= p.begins_utc AND t.triggered_utc < p.ends_utc
    AND {{where}} AND NOT ({OF_CHALLENGE}) GROUP BY p.place, t.lane, t.verdict, t.cause ORDER BY p.place, t.lane"""  # noqa: S608
_LAST = f"""SELECT t.triggered_utc FROM parts t WHERE {{where}} AND NOT ({OF_CHALLENGE})
    ORDER BY t.triggered_utc DESC LIMIT 1"""  # noqa: S608
#: First only which parts: a lot has more than a page, and whether one is of a challenge is asked of each that is shown.
_PAGE = f"""SELECT t.number, t.lane, t.sequence, t.part_id, t.lot, t.recipe, t.triggered_utc, t.decided_utc, t.verdict,
    t.cause, t.inspections, t.run_id, t.is_simulated, t.corrected, {OF_CHALLENGE} AS is_challenge
    FROM parts t WHERE t.number IN (
        SELECT t.number FROM parts t WHERE {{where}} ORDER BY t.triggered_utc DESC, t.number DESC LIMIT ?)
    ORDER BY t.triggered_utc DESC, t.number DESC"""  # noqa: S608
#: From each lane to the next: an index has all of them, and very many parts of each.
_LANES = """WITH RECURSIVE found (lane) AS (SELECT min(lane) FROM parts UNION ALL
    SELECT (SELECT min(p.lane) FROM parts p WHERE p.lane > f.lane) FROM found f WHERE f.lane IS NOT NULL)
    SELECT lane FROM found WHERE lane IS NOT NULL ORDER BY lane"""
#: Parts of one page.
PAGE_ROWS = 100


@dataclass(frozen=True, slots=True)
class PartsFilter:
    """Which parts: triggered at or after `since_utc` and before `until_utc`; None and "" are any.

    `is_challenge`: those of challenge parts alone, or none of them. What counts parts leaves them out anyway.
    """

    since_utc: float | None = None
    until_utc: float | None = None
    lane: str = ""
    lot: str = ""
    part_id: str = ""
    verdict: str = ""
    recipe: str = ""
    is_challenge: bool | None = None

    def conditions(self) -> tuple[str, tuple[object, ...]]:
        """Return it as SQL with its parameters."""
        asked: list[tuple[str, object]] = [
            ("t.triggered_utc >= ?", self.since_utc),
            ("t.triggered_utc < ?", self.until_utc),
            ("t.lane || '' = ?", self.lane or None),  # || : by the index over time, newest first, and not by the lane's
            ("t.lot <> '' AND t.lot = ?", self.lot or None),  # the words of the index's condition
            ("t.part_id <> '' AND t.part_id = ?", self.part_id or None),  # the same
            ("t.verdict = ?", self.verdict or None),
            ("t.recipe = ?", self.recipe or None),
        ]
        wanted = [(sql, value) for sql, value in asked if value is not None]
        conditions = [sql for sql, _ in wanted]
        if self.is_challenge is not None:
            conditions.append(f"({OF_CHALLENGE})" if self.is_challenge else f"NOT ({OF_CHALLENGE})")
        return " AND ".join(conditions) or "true", tuple(value for _, value in wanted)


@dataclass(slots=True)
class LaneCounts:
    """What was decided at a lane. `causes`: why parts were not inspected. `corrected`: found defective too late."""

    lane: str
    accept: int = 0
    warn: int = 0
    reject: int = 0
    not_inspected: int = 0
    corrected: int = 0
    causes: Counter[str] = field(default_factory=Counter)

    @property
    def parts(self) -> int:
        """All of them."""
        return self.inspected + self.not_inspected

    @property
    def inspected(self) -> int:
        """Those that have a verdict by what was seen."""
        return self.accept + self.warn + self.reject

    @property
    def good(self) -> int:
        """Those that were let through: warnings too."""
        return self.accept + self.warn


@dataclass(frozen=True, slots=True)
class PassedPart:
    """A part of a list; `number` is its entry's. `inspections` is the fewest of any camera."""

    number: int
    lane: str
    sequence: int
    part_id: str
    lot: str
    recipe: str
    triggered_utc: float
    decided_utc: float
    verdict: PartVerdict
    cause: str
    inspections: int
    run_id: str
    is_simulated: bool
    corrected: int | None
    is_challenge: bool


@dataclass(frozen=True, slots=True)
class PartDetail:
    """All that is known of a part: its entry's body, that of its newest correction, and its events."""

    part: PassedPart
    body: dict[str, object]
    correction: dict[str, object] | None
    events: Sequence[str]


def count_parts(connection: Records, wanted: PartsFilter) -> list[LaneCounts]:
    """Return what was decided, by lane; challenge parts left out.

    Raises:
        Error: the database's, as it comes.
    """
    where, values = wanted.conditions()
    return _by_lane(connection.execute(_COUNTS.format(where=where), values).fetchall())


def count_parts_between(connection: Records, wanted: PartsFilter, edges: Sequence[float]) -> list[list[LaneCounts]]:
    """Return the same for each time between neighbours of `edges` (n + 1,): n lists.

    Raises:
        Error: the database's, as it comes.
    """
    where, values = replace(wanted, since_utc=edges[0], until_utc=edges[-1]).conditions()
    periods = ", ".join(f"({n}, ?, ?)" for n in range(len(edges) - 1))
    asked = (*(moment for own in pairwise(edges) for moment in own), *values)
    found: list[list[list[ColumnValue]]] = [[] for _ in range(len(edges) - 1)]
    for place, *row in connection.execute(_COUNTS_OF.format(periods=periods, where=where), asked).fetchall():
        found[place].append(row)
    return [_by_lane(rows) for rows in found]


def _by_lane(rows: Iterable[Iterable[ColumnValue]]) -> list[LaneCounts]:
    found: dict[str, LaneCounts] = {}
    for lane, verdict, cause, parts, corrected in rows:
        counts = found.setdefault(lane, LaneCounts(lane))
        setattr(counts, verdict, getattr(counts, verdict) + parts)
        counts.corrected += corrected
        if verdict == PartVerdict.NOT_INSPECTED:
            counts.causes[cause] += parts
    return list(found.values())


def read_lanes(connection: Records) -> list[str]:
    """Return the lanes at which parts passed, by name.

    Raises:
        Error: the database's, as it comes.
    """
    return [lane for (lane,) in connection.execute(_LANES)]


def last_part(connection: Records, wanted: PartsFilter) -> float | None:
    """Return when the newest part came, challenge parts left out; None: there is none.

    Raises:
        Error: the database's, as it comes.
    """
    where, values = wanted.conditions()
    (triggered_utc,) = connection.execute(_LAST.format(where=where), values).fetchone() or (None,)
    return triggered_utc


def find_parts(
    connection: Records, wanted: PartsFilter, after: tuple[float, int] | None = None, rows: int = PAGE_ROWS
) -> list[PassedPart]:
    """Return parts, the newest first; `after` is time and number of the last one of the page before.

    Raises:
        Error: the database's, as it comes.
    """
    where, values = wanted.conditions()
    if after is not None:
        where, values = f"{where} AND (t.triggered_utc, t.number) < (?, ?)", (*values, *after)
    found = connection.execute(_PAGE.format(where=where), (*values, rows)).fetchall()
    return [_passed(row) for row in found]


def read_part(connection: Records, number: int) -> PartDetail | None:
    """Return a part by its entry's number, None: there is none.

    Raises:
        Error: the database's, as it comes.
    """
    rows = connection.execute(_PAGE.format(where="t.number = ?"), (number, 1)).fetchall()
    if not rows:
        return None
    part = _passed(rows[0])
    events = connection.execute("SELECT event_id FROM part_events WHERE number = ? ORDER BY event_id", (number,))
    correction = None if part.corrected is None else _body(connection, part.corrected)
    return PartDetail(part, _body(connection, number), correction, [event for (event,) in events])


def parts_of_event(connection: Records, run_id: str, event_id: str) -> list[int]:
    """Return the numbers of the parts that an event belongs to.

    Raises:
        Error: the database's, as it comes.
    """
    sql = "SELECT number FROM part_events WHERE event_id = ? AND run_id = ? ORDER BY number"
    return [number for (number,) in connection.execute(sql, (event_id, run_id))]


def _passed(row: Row) -> PassedPart:
    columns = dict(row)
    for flag in ("is_simulated", "is_challenge"):
        columns[flag] = bool(columns[flag])
    return PassedPart(**columns | {"verdict": PartVerdict(columns["verdict"])})


def _body(connection: Records, number: int) -> dict[str, object]:
    (text,) = connection.execute("SELECT body FROM journal WHERE number = ?", (number,)).fetchone()
    body: dict[str, object] = json.loads(text)
    return body
