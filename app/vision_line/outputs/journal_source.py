# SPDX-License-Identifier: AGPL-3.0-or-later
"""The journal of the records, as outputs follow it; and how the line is by it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from vision_line.outputs.chained_source import ChainedSource
from vision_line.outputs.contents import notification_of
from vision_line.outputs.cursor import JournalName, JournalPosition
from vision_line.outputs.notification import Notification, id_of
from vision_line.outputs.record_facts import RecordFacts
from vision_line.records.journal import JournalEntry, Kind
from vision_line.records.journal_removal import read_anchor
from vision_line.records.schema import FILE_NAME, open_reader

#: Of a file that grows for weeks its end is read: more of its pages need not be held.
_CACHE_KIB = 256

_ALIVE = "SELECT alive_utc FROM runs ORDER BY run DESC LIMIT 1"


class JournalSource(ChainedSource):
    """What a run recorded."""

    journal = JournalName.RECORDS
    _behind = (
        "SELECT number, run, kind, key, at_utc, body, digest FROM journal WHERE number > ? ORDER BY number LIMIT ?"
    )
    _changing = frozenset({Kind.EVIDENCE})  # an image has its event's verdict, which may rise

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / FILE_NAME)
        self._facts: RecordFacts | None = None

    def alive_utc(self) -> float | None:
        """Return up to when the newest run accounts for its cameras, None where it never did.

        Raises:
            RunError: the file cannot be read.
        """
        with self._reading() as connection:
            row = None if connection is None else connection.execute(_ALIVE).fetchone()
            return None if row is None else row[0]

    def line_state(self) -> tuple[list[Notification], list[Notification]]:
        """Return each camera's newest state, and the intervals that are open.

        Raises:
            RunError: the file cannot be read.
        """
        with self._reading() as connection:
            if connection is None or self._facts is None:
                return [], []
            states, intervals = self._facts.entries_now(self._facts.newest_run())
            return [self._said(entry) for entry in states], [self._said(entry) for entry in intervals]

    def _opened(self, path: Path) -> sqlite3.Connection:
        connection = open_reader(path.parent)
        connection.row_factory = None
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._facts = RecordFacts(connection)
        return connection

    def _translated(self, entry: JournalEntry) -> Notification:
        assert self._facts is not None  # noqa: S101  there is a connection
        body = json.loads(entry.body)
        return notification_of(entry, body, self._facts.run(entry), self._facts.event(entry, body))

    def _id_of(self, entry: JournalEntry) -> str:
        return id_of(None, entry)

    def _first(self, connection: sqlite3.Connection, number: int) -> JournalPosition:
        """Return the position before the oldest entry; its digest is known where the removal's entry says it."""
        try:
            anchor = read_anchor(connection)
        except (ValueError, KeyError, TypeError):  # somebody changed it: `verify` says so
            return JournalPosition(number - 1, b"")
        return JournalPosition(number - 1, anchor.digest if anchor.through == number - 1 else b"")
