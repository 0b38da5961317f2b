# SPDX-License-Identifier: AGPL-3.0-or-later
"""The events of a case in the record file: from the numbers that pages have to what a case keeps, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from vision_line.desk.found.found_events import EventFilter, Position, find_events
from vision_line.errors import ConfigError
from vision_line.records.records import Records
from vision_line.reviews.cases import MOST_EVENTS, CaseEvent, EventKey

_BY_NUMBER = """SELECT r.run_id, t.event_id, t.camera, t.class, t.first_seen_utc
    FROM json_each(?) j JOIN events t ON t.event = j.value JOIN runs r ON r.run = t.run ORDER BY j.key"""
_BY_KEY = """SELECT r.run_id, t.event_id, t.event FROM json_each(?) j
    JOIN runs r ON r.run_id = json_extract(j.value, '$[0]')
    JOIN events t ON t.run = r.run AND t.event_id = json_extract(j.value, '$[1]')"""


def events_by_number(connection: Records, numbers: Sequence[int]) -> list[CaseEvent]:
    """Return events by their numbers in the record file.

    Raises:
        ConfigError: one is not there.
        Error: the database's, as it comes.
    """
    found = [CaseEvent(*row) for row in connection.execute(_BY_NUMBER, (json.dumps(numbers),)).fetchall()]
    if len(found) != len(numbers):
        raise ConfigError("an event that was selected is not in these records any more: load the page again")
    return found


def numbers_by_key(connection: Records, keys: Iterable[EventKey]) -> dict[EventKey, int]:
    """Return the numbers of those events that are in the record file.

    Raises:
        Error: the database's, as it comes.
    """
    rows = connection.execute(_BY_KEY, (json.dumps(list(keys)),)).fetchall()
    return {EventKey(run_id, event_id): number for run_id, event_id, number in rows}


def events_of_filter(connection: Records, wanted: EventFilter) -> list[CaseEvent]:
    """Return all events that a filter finds.

    Raises:
        ConfigError: it finds none, or more than a case has; or no moment is wanted.
        Error: the database's, as it comes, also where the search takes too long.
    """
    numbers: list[int] = []
    after: Position | None = Position()
    while after is not None and len(numbers) <= MOST_EVENTS:
        page = find_events(connection, wanted, after, rows=MOST_EVENTS + 1)
        numbers += [event.event for event in page.events]
        after = page.next
    if not numbers:
        raise ConfigError("the filter finds no event")
    if len(numbers) > MOST_EVENTS:
        raise ConfigError(f"the filter finds more than the {MOST_EVENTS} events that a case has: choose less time")
    return events_by_number(connection, numbers)
