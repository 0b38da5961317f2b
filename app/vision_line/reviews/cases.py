# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases: events that somebody collected for a purpose. A case is what the journal's entries say of it, no more.

Each change is an entry with who made it. An event is named by its run's id and its own, which no other ever has.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, TypedDict, cast

from vision_line.errors import ConfigError, RunError
from vision_line.records.side_journal import SideEntry, append, entries
from vision_line.reviews.reviews_file import reading, writing
from vision_line.words import one_line, printable

#: A case is looked at and handed over by people.
MOST_EVENTS = 500
#: In characters.
LONGEST_NAME, LONGEST_NOTE = 80, 2000


class CaseChange(StrEnum):
    """What an entry says."""

    MADE = "case_made"
    DESCRIBED = "case_described"
    ADDED = "case_events_added"
    REMOVED = "case_events_removed"
    CLOSED = "case_closed"
    REOPENED = "case_reopened"


class EventKey(NamedTuple):
    """What names an event in any record directory."""

    run_id: str
    event_id: str


@dataclass(frozen=True, slots=True)
class CaseEvent:
    """An event of a case, with enough to say what it was when its row has been removed from the records."""

    run_id: str
    event_id: str
    camera: str
    class_name: str
    first_seen_utc: float

    @property
    def key(self) -> EventKey:
        """What names it."""
        return EventKey(self.run_id, self.event_id)


@dataclass(frozen=True, slots=True)
class Case:
    """A case as it is now; `events` are oldest first. `by` made it, `entries` is all that was said of it."""

    number: int
    name: str
    note: str
    by: str
    made_utc: float
    is_open: bool
    events: tuple[CaseEvent, ...]
    entries: tuple[SideEntry, ...]

    @property
    def changed_utc(self) -> float:
        """When it was changed last."""
        return self.entries[-1].at_utc


_EventBody = TypedDict(
    "_EventBody", {"run_id": str, "event_id": str, "camera": str, "class": str, "first_seen_utc": float}
)


class _Description(TypedDict):
    name: str
    note: str


class _CaseBody(TypedDict):
    """What of an entry's body changes a case; each kind has some of it."""

    by: str
    after: _Description
    events: list[_EventBody]


def read_cases(connection: sqlite3.Connection) -> dict[int, Case]:
    """Return all cases by number, the first one first.

    Raises:
        RunError: an entry is none that was ever written.
        sqlite3.Error: as it comes.
    """
    found: dict[int, Case] = {}
    for entry in entries(connection, CaseChange):
        try:
            _apply(found, entry)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise RunError(f"entry {entry.number} of the reviews says nothing of a case: somebody changed it") from exc
    return found


class Cases:
    """The cases of a record directory; from any thread. Each call reads or writes the file as it is now.

    Every method raises RunError where `reviews.sqlite` cannot be read, or written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def all(self) -> list[Case]:
        """Return all cases, the newest first."""
        with reading(self._directory) as connection:
            return [] if connection is None else list(read_cases(connection).values())[::-1]

    def find(self, number: int) -> Case | None:
        """Return the case of this number."""
        with reading(self._directory) as connection:
            return None if connection is None else read_cases(connection).get(number)

    def make(self, name: str, note: str, events: Iterable[CaseEvent], by: str) -> int:
        """Make a case, and return its number.

        Raises:
            ConfigError: it has no name, or too many events.
        """
        named, wanted = _described(name, note), _bounded(_distinct(events))
        with writing(self._directory) as connection:
            number = max(read_cases(connection), default=0) + 1
            body = {"by": by, "before": None, "after": named, "events": [_event_body(event) for event in wanted]}
            append(connection, CaseChange.MADE, str(number), body)
            return number

    def describe(self, number: int, name: str, note: str, by: str) -> None:
        """Give a case another name and note.

        Raises:
            ConfigError: there is no such case, it is closed, or has no name.
        """
        named = _described(name, note)
        with writing(self._directory) as connection:
            case = _open_case(connection, number)
            before = {"name": case.name, "note": case.note}
            if named != before:
                append(connection, CaseChange.DESCRIBED, str(number), {"by": by, "before": before, "after": named})

    def add(self, number: int, events: Iterable[CaseEvent], by: str) -> int:
        """Add events, and return how many were not in it.

        Raises:
            ConfigError: there is no such case, it is closed, or has too many events then.
        """
        with writing(self._directory) as connection:
            case = _open_case(connection, number)
            known = {event.key for event in case.events}
            new = [event for event in _distinct(events) if event.key not in known]
            _bounded([*case.events, *new])
            if new:
                body = {"by": by, "events": [_event_body(event) for event in new]}
                append(connection, CaseChange.ADDED, str(number), body)
            return len(new)

    def remove(self, number: int, keys: Iterable[EventKey], by: str) -> int:
        """Take events out, and return how many; they stay in the records.

        Raises:
            ConfigError: there is no such case, or it is closed.
        """
        with writing(self._directory) as connection:
            case = _open_case(connection, number)
            wanted = set(keys)
            gone = [event for event in case.events if event.key in wanted]
            if gone:
                body = {"by": by, "events": [_event_body(event) for event in gone]}
                append(connection, CaseChange.REMOVED, str(number), body)
            return len(gone)

    def close(self, number: int, by: str) -> None:
        """Close a case: nothing is added or removed any more.

        Raises:
            ConfigError: there is no such case, or it is closed.
        """
        with writing(self._directory) as connection:
            _open_case(connection, number)
            append(connection, CaseChange.CLOSED, str(number), {"by": by, "before": "open", "after": "closed"})

    def reopen(self, number: int, by: str) -> None:
        """Open a closed case again.

        Raises:
            ConfigError: there is no such case, or it is open.
        """
        with writing(self._directory) as connection:
            if _expected(connection, number).is_open:
                raise ConfigError(f"case {number} is open")
            append(connection, CaseChange.REOPENED, str(number), {"by": by, "before": "closed", "after": "open"})


def _apply(cases: dict[int, Case], entry: SideEntry) -> None:
    """Do to `cases` what the entry says."""
    number, said = int(entry.key), cast(_CaseBody, entry.body)
    if entry.kind == CaseChange.MADE:
        after = said["after"]
        events = _sorted(_event(one) for one in said["events"])
        cases[number] = Case(
            number=number,
            name=after["name"],
            note=after["note"],
            by=said["by"],
            made_utc=entry.at_utc,
            is_open=True,
            events=events,
            entries=(entry,),
        )
        return
    before = cases[number]
    now = replace(before, entries=(*before.entries, entry))
    match entry.kind:
        case CaseChange.DESCRIBED:
            now = replace(now, name=said["after"]["name"], note=said["after"]["note"])
        case CaseChange.ADDED:
            now = replace(now, events=_sorted([*now.events, *(_event(one) for one in said["events"])]))
        case CaseChange.REMOVED:
            gone = {_event(one).key for one in said["events"]}
            now = replace(now, events=tuple(event for event in now.events if event.key not in gone))
        case CaseChange.CLOSED | CaseChange.REOPENED:
            now = replace(now, is_open=entry.kind == CaseChange.REOPENED)
    cases[number] = now


def _sorted(events: Iterable[CaseEvent]) -> tuple[CaseEvent, ...]:
    return tuple(sorted(events, key=lambda event: (event.first_seen_utc, event.run_id, event.event_id)))


def _event(body: _EventBody) -> CaseEvent:
    return CaseEvent(
        run_id=str(body["run_id"]),
        event_id=str(body["event_id"]),
        camera=str(body["camera"]),
        class_name=str(body["class"]),
        first_seen_utc=float(body["first_seen_utc"]),
    )


def _event_body(event: CaseEvent) -> _EventBody:
    return {
        "run_id": event.run_id,
        "event_id": event.event_id,
        "camera": event.camera,
        "class": event.class_name,
        "first_seen_utc": event.first_seen_utc,
    }


def _described(name: str, note: str) -> _Description:
    name, note = one_line(name.strip()), printable(note.replace("\r\n", "\n").strip())
    if not 0 < len(name) <= LONGEST_NAME:
        raise ConfigError(f"expected a name of the case of 1 to {LONGEST_NAME} characters")
    if len(note) > LONGEST_NOTE:
        raise ConfigError(f"expected a note of at most {LONGEST_NOTE} characters")
    return {"name": name, "note": note}


def _distinct(events: Iterable[CaseEvent]) -> list[CaseEvent]:
    return list({event.key: event for event in events}.values())


def _bounded(events: Sequence[CaseEvent]) -> Sequence[CaseEvent]:
    if len(events) > MOST_EVENTS:
        raise ConfigError(f"a case has at most {MOST_EVENTS} events, and this would be {len(events)}: select fewer")
    return events


def _expected(connection: sqlite3.Connection, number: int) -> Case:
    case = read_cases(connection).get(number)
    if case is None:
        raise ConfigError(f"there is no case {number}")
    return case


def _open_case(connection: sqlite3.Connection, number: int) -> Case:
    case = _expected(connection, number)
    if not case.is_open:
        raise ConfigError(f"case {number} is closed: reopen it first")
    return case
