# SPDX-License-Identifier: AGPL-3.0-or-later
"""At which cameras and when a lot was made, for whoever searches what cameras saw."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from vision_line.desk.parts.parts_reader import open_parts
from vision_line.parts.lot_spans import distinct, lot_spans, read_lot_orders
from vision_line.parts.orders import EVERYWHERE

#: Which cameras a lane has its parts say.
_CAMERAS = """SELECT o.key FROM journal j, json_each(j.body, '$.inspections') o
    WHERE j.number = (SELECT number FROM parts WHERE lane = ? ORDER BY sequence DESC LIMIT 1)"""


@dataclass(frozen=True, slots=True)
class LotCameras:
    """A time in which a lot was made, [since, until), and the cameras that saw it; None: all."""

    since_utc: float
    until_utc: float
    cameras: tuple[str, ...] | None

    def condition(self) -> tuple[str, tuple[object, ...]]:
        """Return it as a condition on events `t`, with its parameters."""
        sql, values = "t.first_seen_utc >= ? AND t.first_seen_utc < ?", (self.since_utc, self.until_utc)
        if self.cameras is None:
            return sql, values
        return sql + " AND t.camera IN (SELECT value FROM json_each(?))", (*values, json.dumps(self.cameras))  # noqa: S608  ours


def read_lot_cameras(directory: Path, lot: str) -> tuple[LotCameras, ...]:
    """Return the times of a lot; none where nobody began it.

    Raises:
        RunError: the parts cannot be read.
    """
    with open_parts(directory) as connection:
        if connection is None:
            return ()
        spans = [span for span in distinct(lot_spans(read_lot_orders(connection))) if span.lot == lot]
        return tuple(
            LotCameras(
                span.since_utc, 9e15 if span.until_utc is None else span.until_utc, _cameras(connection, span.lane)
            )
            for span in spans
        )


def _cameras(connection: sqlite3.Connection, lane: str) -> tuple[str, ...] | None:
    return None if lane == EVERYWHERE else tuple(name for (name,) in connection.execute(_CAMERAS, (lane,)))
