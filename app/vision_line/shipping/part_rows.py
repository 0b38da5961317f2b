# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes what the journals of parts and reviews say into their schemas, within the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vision_line.central.numbers import offset_of
from vision_line.outputs.cursor import JournalPosition
from vision_line.parts.orders import LOT
from vision_line.parts.part_entries import CORRECTION, PART, PART_COLUMNS, corrected_row, part_row
from vision_line.records.journal import JournalEntry
from vision_line.records.side_journal import SideEntry
from vision_line.reviews.account_entries import AccountChange
from vision_line.reviews.answer_journal import AnswerChange, fold
from vision_line.shipping.row_fold import clean, clean_text
from vision_line.shipping.shipping_node import ShippingNode

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

_ENTRIES = """INSERT INTO {schema}.journal (number, node, kind, key, at_utc, body, digest)
    SELECT u.number, %s, u.kind, u.key, u.at_utc, u.body, u.digest
    FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::float8[], %s::text[], %s::bytea[])
        u(number, kind, key, at_utc, body, digest) ON CONFLICT DO NOTHING"""
_PART = (
    f"INSERT INTO parts.parts (node, {', '.join(PART_COLUMNS)}) VALUES (%s{', %s' * len(PART_COLUMNS)})"  # noqa: S608  ours
    " ON CONFLICT DO NOTHING"
)
_EVENTS = """INSERT INTO parts.part_events (number, run_id, event_id)
    SELECT number, run_id, unnest(%s::text[]) FROM parts.parts WHERE number = %s ON CONFLICT DO NOTHING"""
_CORRECTED = """UPDATE parts.parts SET corrected = %s, verdict = coalesce(%s::text, verdict),
    cause = coalesce(%s::text, cause) WHERE number = %s"""
_LOT = "INSERT INTO parts.lots (number, node, lane, lot, begun_utc) VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
_ANSWER = "INSERT INTO reviews.answers (node, {names}) VALUES (%s{values}) ON CONFLICT DO NOTHING"
_WITHDRAWN = "UPDATE reviews.answers SET withdrawn = %s WHERE number = %s"

Entries = Sequence[tuple[JournalEntry, JournalPosition]]
Rows = list[tuple[object, ...]]


async def apply_parts(connection: AsyncConnection[TupleRow], node: ShippingNode, entries: Entries) -> None:
    """Write what entries of the parts' journal say.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: one is none that was ever written.
        psycopg.Error: as it comes.
    """
    offset = offset_of(node.number)
    await _enter(connection, "parts", node, entries)
    parts: Rows = []
    corrections: Rows = []
    events: Rows = []
    lots: Rows = []
    for entry, _ in entries:
        number = entry.number + offset
        if entry.kind not in {PART, CORRECTION, LOT}:
            continue
        body = json.loads(clean(entry.body))
        if entry.kind == PART:
            parts.append((node.name, *part_row(number, body)))
            events.append((body["events"], number))
        elif entry.kind == CORRECTION:
            part = int(body["part"]) + offset
            corrections.append(corrected_row(number, {**body, "part": part}))
            events.append((body["events"], part))
        else:
            lots.append((number, node.name, clean_text(entry.key), body[LOT], body["at_utc"]))
    # The parts first: whatever else refers to one comes behind it.
    for sql, rows in ((_PART, parts), (_CORRECTED, corrections), (_EVENTS, events), (_LOT, lots)):
        await _write(connection, sql, rows)


async def apply_reviews(connection: AsyncConnection[TupleRow], node: ShippingNode, entries: Entries) -> None:
    """Write what entries of the reviews' journal say.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: one is none that was ever written.
        psycopg.Error: as it comes.
    """
    offset = offset_of(node.number)
    await _enter(connection, "reviews", node, entries)
    names: Sequence[str] = ()
    answers: Rows = []
    withdrawn: Rows = []
    for entry, _ in entries:
        if entry.kind == AnswerChange.GIVEN:
            said = SideEntry(entry.number, entry.kind, entry.key, entry.at_utc, json.loads(clean(entry.body)))
            for row in fold([said]).values():
                names = tuple(row)
                answers.append((node.name, *{**row, "number": entry.number + offset}.values()))
        elif entry.kind == AnswerChange.WITHDRAWN:
            answer = int(json.loads(entry.body)["answer"]) + offset
            withdrawn.append((entry.number + offset, answer))
    await _write(connection, _ANSWER.format(names=", ".join(names), values=", %s" * len(names)), answers)
    await _write(connection, _WITHDRAWN, withdrawn)


async def _write(connection: AsyncConnection[TupleRow], sql: str, rows: Rows) -> None:
    """Send a statement for each row, and wait once: an answer may come late over a slow network."""
    if rows:
        await connection.cursor().executemany(sql.encode(), rows)


async def _enter(connection: AsyncConnection[TupleRow], schema: str, node: ShippingNode, entries: Entries) -> None:
    """Write the entries themselves; of those about accounts not the body."""
    offset = offset_of(node.number)
    accounts = frozenset(AccountChange)
    columns = zip(
        *(
            (
                *(entry.number + offset, entry.kind, clean_text(entry.key), entry.at_utc),
                *("" if entry.kind in accounts else clean_text(entry.body), position.digest),
            )
            for entry, position in entries
        ),
        strict=True,
    )
    await connection.execute(_ENTRIES.format(schema=schema).encode(), (node.name, *map(list, columns)))
