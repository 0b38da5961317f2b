# SPDX-License-Identifier: AGPL-3.0-or-later
"""The journal of the parts, as outputs follow it; and which lots and recipes count now."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from vision_line.outputs.chained_source import ChainedSource
from vision_line.outputs.cursor import BEGINNING, JournalName, JournalPosition
from vision_line.outputs.notification import Notification
from vision_line.outputs.part_contents import part_id_of, part_notification
from vision_line.parts.parts_file import FILE_NAME, PARTS_FILE
from vision_line.records.journal import JournalEntry
from vision_line.records.side_removal import read_anchor

#: The newest order of each kind and lane; its condition is that of the file's index, which is short.
_ORDERS = """SELECT number, 0, kind, key, at_utc, body FROM journal WHERE number IN (
        SELECT max(number) FROM journal INDEXED BY orders WHERE kind IN ('lot', 'recipe') GROUP BY kind, key)
    ORDER BY number"""


class PartsSource(ChainedSource):
    """What was decided of parts, and which lots and recipes were asked for."""

    journal = JournalName.PARTS
    _behind = "SELECT number, 0, kind, key, at_utc, body, digest FROM journal WHERE number > ? ORDER BY number LIMIT ?"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / FILE_NAME)

    def orders(self) -> list[Notification]:
        """Return the newest lot and the newest recipe of each lane, the oldest of them first.

        Raises:
            RunError: the file cannot be read.
        """
        with self._reading() as connection:
            rows = [] if connection is None else connection.execute(_ORDERS).fetchall()
            return [self._said(JournalEntry(*row)) for row in rows]

    def _beginning(self, connection: sqlite3.Connection) -> JournalPosition:
        """Return the position before the oldest entry behind which none is gone: orders before it stay."""
        try:
            anchor = read_anchor(connection)
        except (ValueError, KeyError, TypeError):  # somebody changed it: `verify` says so
            return super()._beginning(connection)
        return JournalPosition(anchor.through, anchor.digest) if anchor.entry else BEGINNING

    def _opened(self, path: Path) -> sqlite3.Connection | None:
        return PARTS_FILE.reader(path.parent)

    def _translated(self, entry: JournalEntry) -> Notification:
        return part_notification(entry)

    def _id_of(self, entry: JournalEntry) -> str:
        return part_id_of(entry)
