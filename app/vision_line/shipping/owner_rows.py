# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keeps up, within the transaction that ships, which records are superseded of cameras that boxes share.

What a batch says of such a camera holds from some moment on; from there what is superseded is worked out anew, from the
rows of all boxes that have come. One shipper does so at a time, so that each sees what the others have brought.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING

from vision_line.central.camera_owners import CameraRow, Span, superseded, tenures_of
from vision_line.central.numbers import offset_of
from vision_line.frames import CameraState
from vision_line.inspection.coverage.causes import OFF
from vision_line.records.journal import JournalEntry, Kind
from vision_line.records.journal_removal import kind_of
from vision_line.shipping.shipping_node import ShippingNode

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

#: From when on something else holds, by run and camera.
Touched = dict[tuple[int, str], float]

_FLEETS = "SELECT run, fleet FROM records.runs WHERE node = %s AND fleet <> ''"
_STARTED = """SELECT t.run, t.camera, min(t.started_utc) FROM records.not_inspected t
    JOIN unnest(%s::bigint[], %s::text[]) u (run, interval_id) USING (run, interval_id) GROUP BY t.run, t.camera"""
_OF_RUN = "SELECT DISTINCT name FROM records.cameras WHERE run = %s AND epoch > 0"
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('vision-line owners'))"
_ROWS = """SELECT c.run, r.node, c.epoch, c.since_utc, c.inspected_utc, r.ended_utc
    FROM records.cameras c JOIN records.runs r ON r.run = c.run
    WHERE r.fleet = %s AND c.name = %s AND c.epoch > 0 AND coalesce(r.ended_utc, 'infinity') > %s"""
_REMOVED = "SELECT run, at_utc FROM records.states WHERE run = ANY(%s) AND camera = %s AND state = %s"
_GAPS = """SELECT run, started_utc, coalesce(ended_utc, 'infinity') FROM records.not_inspected
    WHERE run = ANY(%s) AND camera = %s AND cause <> %s AND coalesce(ended_utc, 'infinity') > %s"""
_SUPERSEDE = "SELECT records.supersede(%s, %s, %s, %s::bigint[], %s::bigint[], %s::float8[], %s::float8[])"


class OwnerRows:
    """Follows the batches of one box; which of its runs are of a fleet is known as long as the connection."""

    def __init__(self) -> None:
        self._fleets: Mapping[int, str] | None = None

    def begin_anew(self) -> None:
        """Ask another connection again."""
        self._fleets = None

    async def before(
        self, connection: AsyncConnection[TupleRow], node: ShippingNode, entries: Sequence[JournalEntry]
    ) -> Touched:
        """Return since when the intervals are that a batch is to change.

        Raises:
            psycopg.Error: as it comes.
        """
        if self._fleets is None:
            self._fleets = dict(await (await connection.execute(_FLEETS, (node.name,))).fetchall())
        offset = offset_of(node.number)
        named = [
            (entry.run + offset, key)
            for entry in entries
            for kind, key in (kind_of(entry),)
            if kind == Kind.INTERVAL and entry.run + offset in self._fleets
        ]
        if not named:
            return {}
        cursor = await connection.execute(_STARTED, tuple(map(list, zip(*named, strict=True))))
        return {(run, camera): started_utc for run, camera, started_utc in await cursor.fetchall()}

    async def follow(
        self,
        connection: AsyncConnection[TupleRow],
        node: ShippingNode,
        entries: Sequence[JournalEntry],
        touched: Touched,
    ) -> None:
        """Work out anew what a batch that is written changes; `touched` is what `before` gave.

        Raises:
            psycopg.Error: as it comes.
        """
        if any(kind_of(entry)[0] == Kind.RUN for entry in entries):
            self._fleets = dict(await (await connection.execute(_FLEETS, (node.name,))).fetchall())
        fleets, offset = self._fleets or {}, offset_of(node.number)
        for entry in entries:
            run = entry.run + offset
            if run not in fleets:
                continue
            for camera, at_utc in said_of_owners(entry):
                for name in [camera] if camera else await _cameras_of(connection, run):
                    touched[run, name] = min(touched.get((run, name), inf), at_utc)
        since: dict[tuple[str, str], float] = {}
        for (run, camera), at_utc in touched.items():
            shared = (fleets[run], camera)
            since[shared] = min(since.get(shared, inf), at_utc)
        if since:
            await connection.execute(_LOCK)
        for (fleet, camera), since_utc in since.items():
            await _work_out(connection, fleet, camera, since_utc)


def said_of_owners(entry: JournalEntry) -> Iterator[tuple[str, float]]:
    """Yield of which camera an entry says who has or inspects it, and from when on; "": of all of its run. Pure."""
    kind, _ = kind_of(entry)
    if kind not in {Kind.CAMERA, Kind.STATE, Kind.INTERVAL, Kind.RUN}:
        return
    row = json.loads(entry.body)
    if row.get("withdrawn"):
        return  # where it began was read before
    if kind == Kind.CAMERA:
        yield row["name"], row["since_utc"]
    elif kind == Kind.INTERVAL:
        yield row["camera"], row["started_utc"]
    elif kind == Kind.STATE and row["state"] == CameraState.REMOVED:
        yield row["camera"], row["at_utc"]
    elif kind == Kind.RUN and row["ended_utc"] is not None:
        yield "", row["ended_utc"]


async def _cameras_of(connection: AsyncConnection[TupleRow], run: int) -> list[str]:
    cursor = await connection.execute(_OF_RUN, (run,))
    return [name for (name,) in await cursor.fetchall()]


async def _work_out(connection: AsyncConnection[TupleRow], fleet: str, camera: str, since_utc: float) -> None:
    cursor = await connection.execute(_ROWS, (fleet, camera, since_utc))
    rows = [CameraRow(*row) for row in await cursor.fetchall()]
    runs = sorted({row.run for row in rows})
    removed: dict[int, list[float]] = {}
    gaps: dict[int, list[Span]] = {}
    if len(runs) > 1:
        cursor = await connection.execute(_REMOVED, (runs, camera, CameraState.REMOVED))
        for run, at_utc in await cursor.fetchall():
            removed.setdefault(run, []).append(at_utc)
        cursor = await connection.execute(_GAPS, (runs, camera, OFF, since_utc))
        for run, *gap in await cursor.fetchall():
            gaps.setdefault(run, []).append((gap[0], gap[1]))
    found = superseded(tenures_of(rows, removed, gaps), since_utc)
    columns = [[getattr(one, name) for one in found] for name in ("run", "by_run", "from_utc", "to_utc")]
    await connection.execute(_SUPERSEDE, (fleet, camera, since_utc, *columns))
