# SPDX-License-Identifier: AGPL-3.0-or-later
"""One connection's work: a batch of a journal is one transaction, which moves the box's place in the database too.

So each entry takes effect once, whatever is killed when. The place in the database is the only one there is.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from vision_line import __version__
from vision_line.central.database_url import DatabaseUrl
from vision_line.central.schema_steps import FoundSchema, check_usable
from vision_line.config.central_settings import CentralSettings
from vision_line.errors import ConfigError
from vision_line.outputs.chained_source import ChainedSource
from vision_line.outputs.cursor import BEGINNING, JournalName, JournalPosition
from vision_line.outputs.message_sink import SinkError, SinkTrouble
from vision_line.records.journal import JournalEntry, Kind, chained, name_of
from vision_line.records.journal_removal import kind_of
from vision_line.shipping.live_rows import LiveRows
from vision_line.shipping.part_rows import apply_parts, apply_reviews
from vision_line.shipping.record_rows import RecordRows
from vision_line.shipping.shipped_sources import ShippedSources
from vision_line.shipping.shipping_node import ShippingNode

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

logger = logging.getLogger(__name__)

#: The digest of one entry in so many is kept.
HEAD_EVERY = 1000
#: More entries of a batch than this are not refused for what is in them: something else is wrong.
MOST_REFUSED = 10

Entries = Sequence[tuple[JournalEntry, JournalPosition]]

_IS_THERE = "SELECT to_regclass('plant.schema_version') IS NOT NULL"
_VERSION = "SELECT version, oldest_writer FROM plant.schema_version ORDER BY version DESC LIMIT 1"
_FIND_NODE = "SELECT number, host, directory FROM plant.nodes WHERE node = %s"
_CLAIM = """INSERT INTO plant.nodes
    (node, host, directory, version, added_utc, seen_utc, box_utc, database_utc, clock_offset_s)
    SELECT %(node)s, %(host)s, %(directory)s, %(version)s, t, t, %(box_utc)s, t, %(box_utc)s - t
    FROM (SELECT extract(epoch FROM clock_timestamp())::float8 AS t) now
    ON CONFLICT (node) DO UPDATE
    SET host = excluded.host, directory = excluded.directory, version = excluded.version, seen_utc = excluded.seen_utc
    RETURNING number"""
_SEEN = """UPDATE plant.nodes SET seen_utc = %(database_utc)s, box_utc = %(box_utc)s, database_utc = %(database_utc)s,
    clock_offset_s = %(box_utc)s - %(database_utc)s WHERE node = %(node)s"""
_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"
_PLACES = "SELECT journal, number, digest FROM plant.shipment WHERE node = %s"
_BEGIN_PLACE = """INSERT INTO plant.shipment (node, journal, number, digest, at_utc, shipped_utc, entries)
    VALUES (%s, %s, 0, %s, 0, 0, 0) ON CONFLICT DO NOTHING"""
#: No row: another one was here.
_MOVE = """UPDATE plant.shipment SET number = %(number)s, digest = %(digest)s, at_utc = %(at_utc)s,
    shipped_utc = extract(epoch FROM clock_timestamp())::float8, entries = entries + %(entries)s
    WHERE node = %(node)s AND journal = %(journal)s AND number = %(old)s"""
_HEAD = """INSERT INTO plant.heads (node, journal, number, digest, at_utc, shipped_utc)
    VALUES (%s, %s, %s, %s, %s, extract(epoch FROM clock_timestamp())::float8) ON CONFLICT DO NOTHING"""
_LOST = """INSERT INTO plant.lost (node, journal, from_number, to_number, noticed_utc)
    VALUES (%s, %s, %s, %s, extract(epoch FROM clock_timestamp())::float8) ON CONFLICT DO NOTHING"""


class Shipper:
    """Ships the journals of one record directory by one connection."""

    def __init__(
        self, settings: CentralSettings, url: DatabaseUrl, sources: ShippedSources, rows: RecordRows, live: LiveRows
    ) -> None:
        self._settings = settings
        self._url = url
        self._sources = sources
        self._rows = rows
        self._live = live
        self._connection: AsyncConnection[TupleRow] | None = None
        self._node = ShippingNode(settings.node, 0)
        self.places: dict[JournalName, JournalPosition] = {}
        self.clock_offset_s = 0.0
        self.lost = 0

    async def connect(self) -> None:
        """Connect, and find out how far this box is.

        Raises:
            SinkError: another box has this node's name, or the tables are not for this version.
            RunError: the box's records cannot be read.
            psycopg.Error: as it comes.
        """
        from psycopg import AsyncConnection
        from psycopg.conninfo import make_conninfo

        self._connection = await AsyncConnection.connect(make_conninfo(**self._url.parameters), autocommit=True)
        self._rows.begin_anew()
        self._live.begin_anew()
        await self._check_schema()
        found = await self._row(_FIND_NODE, (self._settings.node,))
        if found is not None:
            await self._read_places()
            for source in self._sources.all:
                self._check_same(source, str(found[1]), str(found[2]))
        await self._claim()
        for source in self._sources.all:
            digest = BEGINNING.digest
            await self._open.execute(_BEGIN_PLACE, (self._settings.node, source.journal, digest))
        await self._read_places()

    @property
    def _open(self) -> AsyncConnection[TupleRow]:
        assert self._connection is not None  # noqa: S101  connected
        return self._connection

    async def _row(self, sql: str, values: Sequence[object] | Mapping[str, object] = ()) -> TupleRow | None:
        cursor = await self._open.execute(sql.encode(), values)
        return await cursor.fetchone()

    async def _check_schema(self) -> None:
        (is_there,) = await self._row(_IS_THERE) or (False,)
        found = await self._row(_VERSION) if is_there else None
        try:
            check_usable(FoundSchema() if found is None else FoundSchema(*found))
        except ConfigError as exc:
            raise SinkError(SinkTrouble.REFUSED, str(exc)) from exc

    async def _read_places(self) -> None:
        cursor = await self._open.execute(_PLACES, (self._settings.node,))
        self.places = {JournalName(name): JournalPosition(*place) for name, *place in await cursor.fetchall()}

    async def _claim(self) -> None:
        asked = {
            "node": self._settings.node,
            "host": socket.gethostname(),
            "directory": str(self._sources.directory.absolute()),
            "version": __version__,
            "box_utc": time.time(),
        }
        (number,) = await self._row(_CLAIM, asked) or (0,)
        self._node = ShippingNode(self._settings.node, int(number))

    def _check_same(self, source: ChainedSource, host: str, directory: str) -> None:
        """Have no two boxes under one name: what was shipped must be in this journal.

        Raises:
            SinkError: it is not.
        """
        place = self.places.get(source.journal, BEGINNING)
        if not place.number:
            return
        reading = source.read_entries(place, 1)
        if reading is None or reading.is_fork:
            what = "is not there" if reading is None else "has another entry there, or ends before it"
            raise SinkError(
                SinkTrouble.TAKEN_OVER,
                f"node {self._settings.node!r} is in the database with the {source.journal} of {directory} on {host} up"
                f" to entry {place.number}, and the journal here {what}: another box has this name, or the records were"
                " replaced; give each record directory a `node` of its own",
            )

    async def seen(self) -> None:
        """Tell the database that this box is there, compare the clocks, and bring what has no entry yet.

        Raises:
            RunError: the box's records cannot be read.
            psycopg.Error: as it comes.
        """
        asked_s, asked_utc = time.monotonic(), time.time()
        (database_utc,) = await self._row(_CLOCK) or (0.0,)
        box_utc = asked_utc + (time.monotonic() - asked_s) / 2
        self.clock_offset_s = box_utc - database_utc
        asked = {"box_utc": box_utc, "database_utc": database_utc, "node": self._settings.node}
        await self._open.execute(_SEEN, asked)
        await self._live.apply(self._open, self._node)

    async def ship_next(self, source: ChainedSource, most: int) -> int:
        """Ship the next entries of a journal, at most so many; return how many there were.

        Raises:
            SinkError: another shipper was there, or the database does not take them.
            RunError: the box's records cannot be read.
            psycopg.Error: as it comes.
        """
        place = self.places[source.journal]
        reading = source.read_entries(place, most)
        if reading is None and place.number:
            raise SinkError(
                SinkTrouble.TAKEN_OVER, f"the {source.journal} are gone, of which {place.number} were shipped"
            )
        if reading is None:
            return 0
        if reading.is_fork:
            raise SinkError(
                SinkTrouble.TAKEN_OVER,
                f"the {source.journal} are not those that were shipped up to entry {place.number}: they were replaced",
            )
        if (begins := reading.begins_behind) is not None:
            await self._give_up(source, place, begins)
            return begins.number - place.number
        if not reading.entries:
            return 0
        self._check_chain(source, place, reading.entries)
        try:
            async with self._transaction():
                await self._move(source.journal, place, reading.entries)
                await self._apply(source.journal, reading.entries)
        except _refusals() as exc:
            logger.warning("%s: a batch is shipped entry by entry: %s", source.journal, self._words(exc))
            await self._ship_each(source.journal, place, reading.entries)
        self.places[source.journal] = reading.entries[-1][1]
        return len(reading.entries)

    async def _ship_each(self, journal: JournalName, place: JournalPosition, entries: Entries) -> None:
        """Ship entries one by one; what the database cannot take is noted as lost.

        Raises:
            SinkError: it takes nothing of them, or not a run.
        """
        refused: list[int] = []
        async with self._transaction():
            await self._move(journal, place, entries)
            for one in entries:
                try:
                    async with self._transaction():
                        await self._apply(journal, [one])
                except _refusals() as exc:
                    refused.append(one[0].number)
                    logger.error("%s: %s is lost: %s", journal, name_of(one[0]), self._words(exc))
                    if len(refused) > MOST_REFUSED or kind_of(one[0])[0] in {Kind.RUN, Kind.CAMERA}:
                        words = f"it does not take {name_of(one[0])}: {self._words(exc)}"
                        raise SinkError(SinkTrouble.REFUSED, words) from exc
                    await self._open.execute(_LOST, (self._settings.node, journal, one[0].number, one[0].number))
        self.lost += len(refused)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        """Do all of it or nothing, within another one too; what is taken back is not believed to be there any more."""
        try:
            async with self._open.transaction():
                yield
        except BaseException:
            self._rows.begin_anew()
            raise

    async def _apply(self, journal: JournalName, entries: Entries) -> None:
        if journal is JournalName.RECORDS:
            await self._rows.apply(self._open, self._node, entries)
        else:
            await _APPLY[journal](self._open, self._node, entries)

    async def _move(self, journal: JournalName, place: JournalPosition, entries: Entries) -> None:
        (newest, ends) = entries[-1]
        await self._move_to(journal, place, ends, newest.at_utc, len(entries))
        marks = {position.number: (entry, position) for entry, position in entries if not entry.number % HEAD_EVERY}
        for entry, position in marks.values():
            said = (self._settings.node, journal, position.number, position.digest, entry.at_utc)
            await self._open.execute(_HEAD, said)

    async def _move_to(
        self, journal: JournalName, place: JournalPosition, ends: JournalPosition, at_utc: float, entries: int
    ) -> None:
        asked = {
            "node": self._settings.node,
            "journal": journal,
            "old": place.number,
            "number": ends.number,
            "digest": ends.digest,
            "at_utc": at_utc,
            "entries": entries,
        }
        moved = await self._open.execute(_MOVE, asked)
        if moved.rowcount != 1:
            raise SinkError(
                SinkTrouble.TAKEN_OVER,
                f"another shipper ships the {journal} of node {self._settings.node!r}: it is not at entry"
                f" {place.number} any more; end one of the two",
            )

    async def _give_up(self, source: ChainedSource, place: JournalPosition, begins: JournalPosition) -> None:
        """Take note that the box removed entries before they were shipped."""
        async with self._open.transaction():
            await self._move_to(source.journal, place, begins, 0.0, 0)
            lost = (self._settings.node, source.journal, place.number + 1, begins.number)
            await self._open.execute(_LOST, lost)
        self.places[source.journal] = begins
        self.lost += begins.number - place.number
        logger.error(
            "the %s: entries %d to %d were removed before they were shipped",
            *(source.journal, place.number + 1, begins.number),
        )

    def _check_chain(self, source: ChainedSource, place: JournalPosition, entries: Entries) -> None:
        """Say where the journal is not what was written; it is shipped as it is, as the box shows it."""
        before = place
        for entry, position in entries:
            follows = entry.number == before.number + 1 and before.digest
            if follows and chained(before.digest, entry) != position.digest:
                logger.error("the %s: %s is not what was written", source.journal, name_of(entry))
                return
            before = position

    def _words(self, exc: BaseException) -> str:
        return self._url.without_secret(f"{type(exc).__name__}: {exc}")

    async def close(self) -> None:
        """Close the connection; may be called twice."""
        if self._connection is not None:
            await self._connection.close()
        self._connection = None


def _refusals() -> tuple[type[Exception], ...]:
    """Return what is raised where something in an entry cannot be taken, and not where the database cannot go on."""
    from psycopg import DataError, IntegrityError
    from psycopg.errors import CardinalityViolation

    return DataError, IntegrityError, CardinalityViolation, ValueError, KeyError, TypeError, AttributeError


_Apply = Callable[["AsyncConnection[TupleRow]", ShippingNode, Entries], Awaitable[None]]
_APPLY: dict[JournalName, _Apply] = {JournalName.PARTS: apply_parts, JournalName.REVIEWS: apply_reviews}
