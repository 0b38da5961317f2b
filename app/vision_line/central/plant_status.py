# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the database knows of its boxes: how far each has come, when it was there last, how its clock goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vision_line.telemetry.shipping_status import CLOCK_LIMIT_S

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.rows import TupleRow

#: A box that was not there for so long ships nothing, in seconds.
SILENT_S = 60.0

_NODES = """SELECT node, host, directory, version, added_utc, seen_utc, clock_offset_s,
    extract(epoch FROM clock_timestamp())::float8 - seen_utc FROM plant.nodes ORDER BY node"""
_SHIPMENT = "SELECT node, journal, number, at_utc, shipped_utc, entries FROM plant.shipment ORDER BY node, journal"
_LOST = "SELECT node, sum(to_number - from_number + 1)::bigint FROM plant.lost GROUP BY node"


@dataclass(frozen=True, slots=True)
class ShippedJournal:
    """Up to its entry `number`, which was written at `at_utc`, a journal is in the database since `shipped_utc`."""

    number: int
    at_utc: float
    shipped_utc: float
    entries: int


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A box as the database knows it. `lost` counts entries that it removed before they were shipped.

    `silent_s` is since when it was not there, by the database's clock.
    """

    journals: Mapping[str, ShippedJournal] = field(hash=False)
    lost: int
    node: str
    host: str
    directory: str
    version: str
    added_utc: float
    seen_utc: float
    clock_offset_s: float
    silent_s: float

    @property
    def is_clock_off(self) -> bool:
        """Whether its clock is too far from the database's."""
        return abs(self.clock_offset_s) > CLOCK_LIMIT_S

    @property
    def is_silent(self) -> bool:
        """Whether nobody ships its records."""
        return self.silent_s > SILENT_S


def read_status(connection: Connection[TupleRow]) -> list[NodeStatus]:
    """Return every box, by its name.

    Raises:
        psycopg.Error: as it comes.
    """
    journals: dict[str, dict[str, ShippedJournal]] = {}
    for node, journal, *row in connection.execute(_SHIPMENT):
        journals.setdefault(node, {})[journal] = ShippedJournal(*row)
    lost: dict[str, int] = dict(connection.execute(_LOST).fetchall())
    nodes = connection.execute(_NODES).fetchall()
    return [NodeStatus(journals.get(row[0], {}), lost.get(row[0], 0), *row) for row in nodes]
