# SPDX-License-Identifier: AGPL-3.0-or-later
"""At which cameras and when a lot was made, for whoever asks what cameras saw of it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from vision_line.parts.lot_spans import distinct, lot_spans, read_lot_orders
from vision_line.parts.orders import EVERYWHERE
from vision_line.records.records import Records

#: Which cameras a lane's parts were inspected by: the newest part before a moment says so. A part that passed while
#: nobody listened has none.
_CAMERAS = """SELECT o.key FROM journal j, json_each(j.body, '$.inspections') o WHERE j.number = (
    SELECT p.number FROM parts p JOIN journal q ON q.number = p.number
    WHERE p.triggered_utc < ? AND p.lane || '' = ? AND json_extract(q.body, '$.inspections') <> '{}'
    ORDER BY p.triggered_utc DESC LIMIT 1)"""
#: Later than any moment of records.
_NO_END = 9e15


@dataclass(frozen=True, slots=True)
class LotCameras:
    """A time in which a lot was made, [since, until), and the cameras that saw it; None: all."""

    since_utc: float
    until_utc: float
    cameras: tuple[str, ...] | None

    def condition(self, begins: str, ends: str = "") -> tuple[str, tuple[object, ...]]:
        """Return it as a condition on rows `t`, with its parameters.

        `begins` and `ends` are SQL for from when to when a row is; a row without `ends` is of the moment `begins`.
        """
        is_after = f"{ends} > ?" if ends else f"{begins} >= ?"
        sql, values = f"{begins} < ? AND {is_after}", (self.until_utc, self.since_utc)
        if self.cameras is None:
            return sql, values
        return sql + " AND t.camera IN (SELECT value FROM json_each(?))", (*values, json.dumps(self.cameras))  # noqa: S608  ours


def read_lot_cameras(connection: Records, lot: str) -> tuple[LotCameras, ...]:
    """Return the times of a lot; none where nobody began it.

    Raises:
        Error: the database's, as it comes.
    """
    spans = [span for span in distinct(lot_spans(read_lot_orders(connection))) if span.lot == lot]
    ends = [_NO_END if span.until_utc is None else span.until_utc for span in spans]
    return tuple(
        LotCameras(span.since_utc, until_utc, _cameras(connection, span.lane, until_utc))
        for span, until_utc in zip(spans, ends, strict=True)
    )


def lane_cameras(connection: Records, lane: str, before_utc: float = _NO_END) -> tuple[str, ...]:
    """Return the cameras that a lane's parts were inspected by, before a moment or newest.

    Raises:
        Error: the database's, as it comes.
    """
    return tuple(name for (name,) in connection.execute(_CAMERAS, (before_utc, lane)))


def _cameras(connection: Records, lane: str, until_utc: float) -> tuple[str, ...] | None:
    return None if lane == EVERYWHERE else lane_cameras(connection, lane, until_utc) or lane_cameras(connection, lane)
