# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run says between its entries: up to when it accounts for its cameras, and the minutes under way."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from vision_line.central.numbers import offset_of
from vision_line.records.schema import FILE_NAME, open_reader
from vision_line.shipping.row_fold import clean
from vision_line.shipping.shipping_node import ShippingNode

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

_ALIVE = "SELECT run, alive_utc, alive_boot_s FROM runs WHERE alive_utc IS NOT NULL"
_MINUTES = "SELECT * FROM coverage WHERE provisional AND run > (SELECT max(run) FROM runs) - 2"
_SET_ALIVE = "UPDATE records.runs SET alive_utc = %s, alive_boot_s = %s WHERE run = %s"
_MONTH = "SELECT plant.ensure_month('coverage', %s)"
_KEY = ("run", "camera", "minute_utc", "clock")
_DAY_S = 86_400


class LiveRows:
    """Brings what has changed since it was asked last."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._alive: dict[int, tuple[float, float | None]] = {}
        self._minutes = ""
        self._days: set[int] = set()

    def begin_anew(self) -> None:
        """Bring everything again."""
        self._alive.clear()
        self._days.clear()
        self._minutes = ""

    async def apply(self, connection: AsyncConnection[TupleRow], node: ShippingNode) -> None:
        """Bring it; a run that is not in the database yet comes with its entry.

        Raises:
            RunError: the box's records cannot be read.
            psycopg.Error: as it comes.
        """
        if not (self._directory / FILE_NAME).is_file():
            return
        with closing(open_reader(self._directory)) as box:
            alive = {run: (alive_utc, boot_s) for run, alive_utc, boot_s in box.execute(_ALIVE)}
            minutes = [dict(row) for row in box.execute(_MINUTES)]
        offset = offset_of(node.number)
        for run, said in alive.items():
            if self._alive.get(run) != said:
                done = await connection.execute(_SET_ALIVE, (*said, run + offset))
                if done.rowcount:
                    self._alive[run] = said
        text = clean(json.dumps(minutes, ensure_ascii=False))
        if minutes and text != self._minutes:
            for day in {int(row["minute_utc"] // _DAY_S) for row in minutes} - self._days:
                await connection.execute(_MONTH, (float(day * _DAY_S),))
                self._days.add(day)
            await connection.execute(_upsert(list(minutes[0])).encode(), {"offset": offset, "rows": text})
            self._minutes = text


def _upsert(columns: list[str]) -> str:
    """Return the statement for minutes under way: one that is over stays as its entry said."""
    own = [column for column in columns if column not in {"minute", "run"}]
    changed = ", ".join(f"{column} = excluded.{column}" for column in own if column not in _KEY)
    return (
        f"INSERT INTO records.coverage (run, {', '.join(own)}, entry)"  # noqa: S608  names, of the box's own table
        f" SELECT r.run, {', '.join(f'x.{column}' for column in own)}, 0"
        " FROM json_populate_recordset(NULL::records.coverage, %(rows)s::json) x"
        " JOIN records.runs r ON r.run = x.run + %(offset)s"
        f" ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {changed} WHERE coverage.entry = 0"
    )
