# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lots and recipes: who asked for which, through which door, from when on. The newest of a lane counts.

Whoever asks enters a wish; the lanes and the run follow it. So a wish outlives whoever is to fulfil it, and stands in
the journal whatever becomes of it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from vision_line.errors import ConfigError, RunError
from vision_line.parts.parts_file import FILE_NAME, reading, writing
from vision_line.records.side_journal import SideEntry, append

LOT, RECIPE = "lot", "recipe"
#: Stands for every lane and camera.
EVERYWHERE = "*"
#: Asked for each part: by the index, however many parts there are. It needs the words of the index's condition.
_IN_FORCE = """SELECT number, kind, key, at_utc, body FROM journal INDEXED BY orders
    WHERE kind IN ('lot', 'recipe') AND kind = ? AND key IN (?, ?) ORDER BY number DESC LIMIT 1"""
_AFTER = """SELECT number, kind, key, at_utc, body FROM journal INDEXED BY orders
    WHERE kind IN ('lot', 'recipe') AND kind = ? AND key IN (?, ?) AND number > ? ORDER BY number"""
_NEWEST = "SELECT max(number) FROM journal INDEXED BY orders WHERE kind IN ('lot', 'recipe') AND kind = ?"
_NEWEST_OF_EACH = f"""SELECT number, kind, key, at_utc, body FROM journal WHERE number IN (
    {_NEWEST} GROUP BY key, CASE WHEN json_valid(body) THEN json_extract(body, '$.' || kind) ELSE number END)
    ORDER BY number DESC"""  # noqa: S608  ours
#: What comes from outside is data: printable, and no longer than this.
MAX_ID = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked: a user's or client's name, and the door (`command`, `desk`, `mqtt`, `opcua`, `modbus`)."""

    by: str
    door: str


@dataclass(frozen=True, slots=True)
class Order:
    """A wish: `value` is a lot or a recipe's name, "" none, for a lane or everywhere."""

    number: int
    kind: str
    lane: str
    value: str
    asked: Asked
    at_utc: float


def checked_id(text: str, what: str) -> str:
    """Return an id from outside as it is kept.

    Raises:
        ConfigError: it is too long, or has characters that cannot be printed.
    """
    if len(text) > MAX_ID or not text.isprintable():
        raise ConfigError(f"{what}: expected at most {MAX_ID} printable characters, found {ascii(text)[:100]}")
    return text.strip()


def ask_lot(directory: Path, lot: str, asked: Asked, lane: str = EVERYWHERE) -> Order:
    """Begin a lot, "" none, at a lane or everywhere, from now on.

    Raises:
        ConfigError: it is no id.
        RunError: it cannot be written.
    """
    value = checked_id(lot, "lot")
    with writing(directory) as connection:
        return enter(connection, LOT, value, asked, lane)


def ask_recipe(directory: Path, recipe: str, asked: Asked, lane: str = EVERYWHERE) -> Order:
    """Ask for a recipe, "" for the settings without one, at a lane or everywhere.

    Raises:
        ConfigError: it is no id.
        RunError: it cannot be written.
    """
    value = checked_id(recipe, "recipe")
    with writing(directory) as connection:
        return enter(connection, RECIPE, value, asked, lane)


def enter(connection: sqlite3.Connection, kind: str, value: str, asked: Asked, lane: str) -> Order:
    """Enter a wish of `kind` within the caller's transaction."""
    at_utc = round(time.time(), 3)
    number = append(connection, kind, lane, {kind: value, **asdict(asked), "at_utc": at_utc})
    if kind == LOT:
        row = (number, lane, value, at_utc)
        connection.execute("INSERT INTO lots (number, lane, lot, begun_utc) VALUES (?, ?, ?, ?)", row)
    return Order(number, kind, lane, value, asked, at_utc)


def in_force(connection: sqlite3.Connection, kind: str, lane: str = EVERYWHERE) -> Order | None:
    """Return the newest wish of `kind` for a lane, which one for everywhere is too; None: there was none.

    Raises:
        RunError: it is not what was written.
    """
    row = connection.execute(_IN_FORCE, (kind, lane, EVERYWHERE)).fetchone()
    return None if row is None else _read(row)


def orders_after(connection: sqlite3.Connection, kind: str, lane: str, number: int) -> list[Order]:
    """Return the wishes of `kind` for a lane that came behind a number, the oldest first.

    Raises:
        RunError: one is not what was written, and none came after it.
    """
    rows = connection.execute(_AFTER, (kind, lane, EVERYWHERE, number)).fetchall()
    return [*_that_can_count(rows[::-1])][::-1]


def newest_number(connection: sqlite3.Connection, kind: str) -> int:
    """Return the number of the newest wish of `kind`, 0: there was none."""
    (number,) = connection.execute(_NEWEST, (kind,)).fetchone()
    return number or 0


def newest_of_each(connection: sqlite3.Connection, kind: str) -> list[Order]:
    """Return of each lane and value the newest wish, the newest first: of however many, all that can count.

    Raises:
        RunError: one is not what was written, and none came after it.
    """
    return [*_that_can_count(connection.execute(_NEWEST_OF_EACH, (kind,)))]


def order_in_force(directory: Path, kind: str, lane: str = EVERYWHERE) -> Order | None:
    """As `in_force`, of a record directory.

    Raises:
        RunError: the file cannot be read.
    """
    with reading(directory) as connection:
        return None if connection is None else in_force(connection, kind, lane)


def _that_can_count(newest_first: Iterable[sqlite3.Row]) -> Iterator[Order]:
    """Yield the wishes; one that is not what was written is passed over where a later one counts instead of it."""
    lanes = set[str]()
    for row in newest_first:
        try:
            order = _read(row)
        except RunError:
            if lanes.isdisjoint({str(row[2]), EVERYWHERE}):
                raise
            continue
        lanes.add(order.lane)
        yield order


def _read(row: sqlite3.Row) -> Order:
    """Return a wish.

    Raises:
        RunError: it is not what was written. Nobody knows then what is wished; whoever follows wishes says so.
    """
    number, kind, key, at_utc, body = row
    try:
        return _order(SideEntry(number, kind, key, at_utc, json.loads(body)))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise RunError(
            f"{FILE_NAME}: entry {number}, the {kind} that was asked for, is not what was written"
            " (vision-line verify): ask for one again"
        ) from exc


def _order(entry: SideEntry) -> Order:
    body = entry.body
    asked = Asked(str(body["by"]), str(body["door"]))
    return Order(entry.number, entry.kind, entry.key, str(body[entry.kind]), asked, float(str(body["at_utc"])))
