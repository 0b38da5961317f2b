# SPDX-License-Identifier: AGPL-3.0-or-later
"""Events as people search them: newest first, a page at a time, by the key of the last one (never by counting)."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from vision_line.desk.plain_words import masked
from vision_line.frames import Verdict
from vision_line.parts.lot_rows import LotRows
from vision_line.records.coco import known_classes
from vision_line.records.columns import Table
from vision_line.records.query import Selection, plan_query
from vision_line.records.records import Records, Row
from vision_line.records.row_models import model_of_row
from vision_line.reviews.answer import ItemKey, ItemKind

#: Events of one page.
PAGE_ROWS = 50
#: So many rows are looked through for one page: a filter that fits nothing must not read a file of years at once.
MOST_SCANNED = 150_000

OVERRULED = "overruled"
#: What is asked of an item's key for each filter of reviews; the keys that it is about come as JSON.
REVIEWED = {"reviewed": "IN", "not reviewed": "NOT IN", OVERRULED: "IN"}
#: An item's key, as answers have it.
_KEY = "'event/' || (SELECT run_id FROM runs r WHERE r.run = t.run) || '/' || t.event_id"

#: First only the keys, from the index by time: rows and images are read of those on the page alone.
_KEYS = """SELECT t.event, t.first_seen_utc FROM events t WHERE {where}
    ORDER BY t.first_seen_utc DESC, t.event DESC LIMIT ?"""
_EDGE = """SELECT first_seen_utc, event FROM events WHERE (first_seen_utc, event) < (?, ?)
    ORDER BY first_seen_utc DESC, event DESC LIMIT 1 OFFSET ?"""
_KEYS_AFTER = """SELECT t.event FROM events t WHERE {where} ORDER BY t.first_seen_utc, t.event LIMIT 1"""
_EDGE_AFTER = """SELECT first_seen_utc, event FROM events WHERE (first_seen_utc, event) > (?, ?)
    ORDER BY first_seen_utc, event LIMIT 1 OFFSET ?"""
_NUMBER = "SELECT t.event FROM events t JOIN runs r ON r.run = t.run WHERE r.run_id = ? AND t.event_id = ?"
_ROWS = """SELECT t.event, t.camera, t.station, t.recipe, t.class AS class_name, t.verdict, t.score,
    t.top_score, t.hits, t.ended, t.first_seen_utc, t.last_seen_utc, t.event_id, t.run, t.x1, t.y1, t.x2, t.y2,
    t.width, t.height, t.sequence, (SELECT run_id FROM runs r WHERE r.run = t.run) AS run_id,
    e.path IS NOT NULL AND e.deleted_utc IS NULL AS has_image,
    e.crop_path IS NOT NULL AND e.deleted_utc IS NULL AS has_crop, e.deleted_utc, e.deleted_why, e.missing,
    e.sha256, e.overlay_sha256, e.crop_sha256
    FROM events t LEFT JOIN evidence e ON e.run = t.run AND e.event_id = t.event_id WHERE t.event IN ({places})"""
_CHALLENGED = """SELECT t.event FROM events t WHERE t.event IN ({places})
    AND is_challenge(t.camera, t.first_seen_utc)"""
_BEFORE = """SELECT event FROM events t WHERE t.camera = ? AND (first_seen_utc, event) < (?, ?)
    ORDER BY first_seen_utc DESC, event DESC LIMIT ?"""
_AFTER = """SELECT event FROM events t WHERE t.camera = ? AND (first_seen_utc, event) > (?, ?)
    ORDER BY first_seen_utc, event LIMIT ?"""
_JOURNAL = "SELECT min(number), max(number), count(*) FROM journal WHERE kind = 'event' AND key = ? AND run = ?"
_SETTINGS = """SELECT url, since_utc, settings FROM cameras WHERE run = ? AND name = ? AND since_utc <= ?
    ORDER BY since_utc DESC LIMIT 1"""
_FIRST_SETTINGS = "SELECT url, since_utc, settings FROM cameras WHERE run = ? AND name = ? ORDER BY since_utc LIMIT 1"
#: Of a recipe's model the journal says what ran of it: precision and form are those of the run's own.
_RUN = f"""SELECT run_id, version, model_name, model_sha256, device,
    CASE WHEN is_own THEN precision ELSE '' END AS precision,
    CASE WHEN is_own THEN form END AS form, started_utc FROM (SELECT r.run_id, r.version, r.precision, r.device, r.form,
    r.started_utc, {model_of_row("model_name")} AS model_name, {model_of_row("model_sha256")} AS model_sha256,
    {model_of_row("model_sha256")} = r.model_sha256 AS is_own
    FROM events t JOIN runs r ON r.run = t.run WHERE t.event = ?) one"""  # noqa: S608  names, of this package
_CLIPS = """SELECT c.clip, c.begins_utc, c.ends_utc, c.codec, c.frames, c.note, c.missing, c.deleted_utc, c.deleted_why,
    c.path IS NOT NULL AND c.deleted_utc IS NULL AS is_kept, c.sha256 FROM clips c, json_each(c.events) e
    WHERE c.run = ? AND c.camera = ? AND e.value = ? ORDER BY c.clip"""


@dataclass(frozen=True, slots=True)
class Position:
    """The event after which a page begins: older ones follow."""

    first_seen_utc: float = 9e15
    event: int = 2**62


class ChallengeChoice(StrEnum):
    """Whether events of challenge parts are searched."""

    BOTH = ""
    WITHOUT = "without"
    ONLY = "only"


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What is searched; empty is any. Times as in `Selection`.

    `reviewed` is a filter of `REVIEWED`, `reviewed_keys` the items that it is about; `lot_rows` is what the events of
    `lot` are known by, nothing where nobody began it.
    """

    selection: Selection
    station_names: tuple[str, ...] = ()
    reviewed: str = ""
    reviewed_keys: Collection[str] = ()
    challenges: ChallengeChoice = ChallengeChoice.BOTH
    lot: str = ""
    lot_rows: LotRows = field(default_factory=LotRows)


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event as a page shows it; `event` is its number in the record file. Boxes are pixels of the camera's frame."""

    event: int
    camera: str
    station: str
    recipe: str
    class_name: str
    verdict: Verdict
    score: float
    top_score: float
    hits: int
    ended: bool
    first_seen_utc: float
    last_seen_utc: float
    event_id: str
    run: int
    x1: float
    y1: float
    x2: float
    y2: float
    width: int | None
    height: int | None
    sequence: int
    has_image: bool
    has_crop: bool
    deleted_utc: float | None
    deleted_why: str | None
    missing: str | None
    run_id: str
    sha256: str | None  # of the untouched image, then of the one with boxes, and of the enlarged defect
    overlay_sha256: str | None
    crop_sha256: str | None

    @property
    def key(self) -> str:
        """What reviews call it."""
        return str(ItemKey(ItemKind.EVENT, self.run_id, self.event_id))


@dataclass(frozen=True, slots=True)
class EventsPage:
    """Events, newest first. `next` is where the next page begins, None at the end.

    `searched_until_utc`: fewer were found than a page holds, because the search stopped there; it goes on with `next`.
    """

    events: Sequence[FoundEvent]
    next: Position | None
    searched_until_utc: float | None = None


@dataclass(frozen=True, slots=True)
class EventClip:
    """A clip that shows an event, or why there is none."""

    clip: int
    begins_utc: float | None
    ends_utc: float | None
    codec: str
    frames: int
    note: str
    missing: str | None
    deleted_utc: float | None
    deleted_why: str | None
    is_kept: bool
    sha256: str | None


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """What was set of a camera, without passwords, and since when; None and nothing where that is not recorded."""

    since_utc: float | None
    values: dict[str, object]


@dataclass(frozen=True, slots=True)
class EventDetail:
    """All that is known of an event: its place in the journal, what was set, what is around it in time."""

    event: FoundEvent
    first_entry: int | None
    last_entry: int | None
    entries: int
    run: dict[str, object]
    settings_since_utc: float | None
    settings: dict[str, object]
    clips: Sequence[EventClip]
    earlier: Sequence[FoundEvent]  # of the same camera, newest first
    later: Sequence[FoundEvent]  # oldest first


@dataclass(frozen=True, slots=True)
class FilterChoices:
    """What there is to choose from."""

    cameras: Sequence[str]
    station_names: Sequence[str]
    classes: Sequence[str]
    verdicts: Sequence[Verdict]


def find_events(
    connection: Records,
    wanted: EventFilter,
    after: Position,
    rows: int = PAGE_ROWS,
) -> EventsPage:
    """Return a page of events behind `after`.

    Raises:
        ConfigError: no moment is wanted.
        Error: the database's, as it comes.
    """
    conditions, parameters = _conditions(wanted)
    conditions.append("(t.first_seen_utc, t.event) < (?, ?)")
    parameters += after.first_seen_utc, after.event
    edge = connection.execute(_EDGE, (*_begin(wanted, after), MOST_SCANNED)).fetchone() if _narrows(wanted) else None
    if edge is not None:
        conditions.append("(t.first_seen_utc, t.event) >= (?, ?)")
        parameters += edge
    found = connection.execute(_KEYS.format(where=" AND ".join(conditions)), (*parameters, rows)).fetchall()
    events = read_events(connection, [row["event"] for row in found])
    if len(found) == rows:
        return EventsPage(events, Position(found[-1]["first_seen_utc"], found[-1]["event"]))
    since_utc = wanted.selection.since_utc
    if edge is None or (since_utc is not None and edge["first_seen_utc"] < since_utc):
        return EventsPage(events, None)
    return EventsPage(events, Position(edge["first_seen_utc"], edge["event"]), edge["first_seen_utc"])


def _begin(wanted: EventFilter, after: Position) -> tuple[float, int]:
    """Return the key before which rows are looked through: what is newer than all that is wanted does not count."""
    begins = [(after.first_seen_utc, after.event)]
    if wanted.selection.until_utc is not None:
        begins.append((wanted.selection.until_utc, 0))
    if wanted.lot:
        begins.append((wanted.lot_rows.condition(Table.EVENTS).until_utc, Position().event))
    return min(begins)


def read_beside(
    connection: Records, wanted: EventFilter, event: FoundEvent
) -> tuple[FoundEvent | None, FoundEvent | None]:
    """Return the events before and after one in time among those that a search finds.

    None: there is none, or none near enough: beyond so many rows as a page looks through nothing is searched.

    Raises:
        ConfigError: no moment is wanted.
        Error: the database's, as it comes.
    """
    place = (event.first_seen_utc, event.event)
    earlier = find_events(connection, wanted, Position(*place), rows=1).events
    conditions, parameters = _conditions(wanted)
    conditions.append("(t.first_seen_utc, t.event) > (?, ?)")
    parameters += place
    edge = connection.execute(_EDGE_AFTER, (*place, MOST_SCANNED)).fetchone()
    if edge is not None:
        conditions.append("(t.first_seen_utc, t.event) <= (?, ?)")
        parameters += edge
    keys = connection.execute(_KEYS_AFTER.format(where=" AND ".join(conditions)), parameters).fetchall()
    later = read_events(connection, [key["event"] for key in keys])
    return next(iter(earlier), None), next(iter(later), None)


def find_number(connection: Records, run_id: str, event_id: str) -> int | None:
    """Return the number of an event by what names it for ever, None where it is not in these records.

    Raises:
        Error: the database's, as it comes.
    """
    row = connection.execute(_NUMBER, (run_id, event_id)).fetchone()
    return None if row is None else int(row["event"])


def _conditions(wanted: EventFilter) -> tuple[list[str], list[object]]:
    """Return what holds for all wanted events, with its parameters."""
    query = plan_query(Table.EVENTS, wanted.selection)
    conditions, parameters = [query.where], [*query.parameters]
    if wanted.station_names:
        conditions.append(f"t.station IN ({', '.join('?' * len(wanted.station_names))})")
        parameters += wanted.station_names
    if wanted.reviewed:
        conditions.append(f"{_KEY} {REVIEWED[wanted.reviewed]} (SELECT value FROM json_each(?))")  # noqa: S608  names, of this file
        parameters.append(json.dumps(list(wanted.reviewed_keys)))
    if wanted.challenges is ChallengeChoice.WITHOUT:
        conditions.append("NOT is_challenge(t.camera, t.first_seen_utc)")
    elif wanted.challenges is ChallengeChoice.ONLY:
        conditions.append("is_challenge(t.camera, t.first_seen_utc)")
    if wanted.lot:
        of_lot = wanted.lot_rows.condition(Table.EVENTS)
        conditions.append(of_lot.sql)
        parameters += of_lot.parameters
    return conditions, parameters


def _narrows(wanted: EventFilter) -> bool:
    """Whether rows are left out by something that no index knows."""
    chosen = wanted.selection
    by_row = chosen.cameras or chosen.classes or chosen.verdicts or wanted.station_names
    return bool(by_row or wanted.reviewed or wanted.challenges or wanted.lot)


def read_events(connection: Records, numbers: Sequence[int]) -> list[FoundEvent]:
    """Return events in the order of their numbers."""
    if not numbers:
        return []
    rows = connection.execute(_ROWS.format(places=", ".join("?" * len(numbers))), numbers).fetchall()
    found = {row["event"]: _event(row) for row in rows}
    return [found[number] for number in numbers if number in found]


def challenged_events(connection: Records, numbers: Sequence[int]) -> set[int]:
    """Return which of these events are of challenge parts.

    Raises:
        Error: the database's, as it comes.
    """
    if not numbers:
        return set()
    sql = _CHALLENGED.format(places=", ".join("?" * len(numbers)))
    return {number for (number,) in connection.execute(sql, numbers)}


def _event(row: Row) -> FoundEvent:
    flags = {name: bool(row[name]) for name in ("ended", "has_image", "has_crop")}
    return FoundEvent(**{**dict(row), **flags, "verdict": Verdict(row["verdict"])})


def read_event(connection: Records, number: int, around: int = 4) -> EventDetail | None:
    """Return an event by its number in the record file, with `around` events on each side; None: there is none.

    Raises:
        Error: the database's, as it comes.
    """
    found = read_events(connection, [number])
    if not found:
        return None
    event = found[0]
    place = (event.camera, event.first_seen_utc, event.event, around)
    earlier, later = (
        read_events(connection, [key for (key,) in connection.execute(sql, place).fetchall()])
        for sql in (_BEFORE, _AFTER)
    )
    first_entry, last_entry, entries = read_entries(connection, event)
    settings = read_settings(connection, event)
    clips = connection.execute(_CLIPS, (event.run, event.camera, event.event_id)).fetchall()
    return EventDetail(
        event=event,
        first_entry=first_entry,
        last_entry=last_entry,
        entries=entries,
        run=dict(connection.execute(_RUN, (number,)).fetchone()),
        settings_since_utc=settings.since_utc,
        settings=settings.values,
        clips=[EventClip(**{**dict(clip), "is_kept": bool(clip["is_kept"])}) for clip in clips],
        earlier=earlier,
        later=later,
    )


def read_settings(connection: Records, event: FoundEvent) -> CameraSettings:
    """Return what was set of the event's camera when it was first seen.

    Raises:
        Error: the database's, as it comes.
    """
    row = connection.execute(_SETTINGS, (event.run, event.camera, event.first_seen_utc)).fetchone()
    row = row or connection.execute(_FIRST_SETTINGS, (event.run, event.camera)).fetchone()
    if row is None:
        return CameraSettings(None, {})
    return CameraSettings(row["since_utc"], {"url": masked(row["url"]), **_settings(row["settings"])})


def read_entries(connection: Records, event: FoundEvent) -> tuple[int | None, int | None, int]:
    """Return the first and last entry of an event in the journal, and how many there are.

    Raises:
        Error: the database's, as it comes.
    """
    first, last, count = connection.execute(_JOURNAL, (event.event_id, event.run)).fetchone()
    return first, last, count


def _settings(text: str) -> dict[str, object]:
    """Return a camera's settings; files of the first version have none."""
    found = json.loads(text or "{}")
    return {name: masked(value) for name, value in found.items()} if isinstance(found, dict) else {}


def read_choices(connection: Records) -> FilterChoices:
    """Return what the runs had.

    Raises:
        RunError: a run's classes are none.
        Error: the database's, as it comes.
    """
    rows = connection.execute("SELECT DISTINCT name, station FROM cameras ORDER BY name, station").fetchall()
    return FilterChoices(
        cameras=list(dict.fromkeys(name for name, _ in rows)),
        station_names=sorted({station for _, station in rows if station}),
        classes=list(known_classes(connection)),
        verdicts=list(Verdict),
    )
