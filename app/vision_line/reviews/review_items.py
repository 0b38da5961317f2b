# SPDX-License-Identifier: AGPL-3.0-or-later
"""What there is to review in the records: events that have ended, near misses and audits that were drawn."""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, NotRequired, TypedDict

from vision_line.frames import Outline
from vision_line.quality import ReviewCandidate
from vision_line.records.records import Records
from vision_line.records.review.candidate_frames import NOT_DRAWN
from vision_line.reviews.answer import ItemKey, ItemKind
from vision_line.reviews.review_plan import ClassThresholds, stratum_of

_IMAGE = "{0}.path IS NOT NULL AND {0}.deleted_utc IS NULL AS has_image, {0}.deleted_utc IS NOT NULL AS is_removed"
_OWN = "r.run_id, t.run, r.classes, t.camera, t.station, t.width, t.height"
#: The SHA-256 of the untouched image, which is a row of its own for events.
_HASHES = {ItemKind.EVENT: "e.sha256", ItemKind.NEAR_MISS: "t.sha256", ItemKind.AUDIT: "t.sha256"}
_BOX = """json_array(json_object('class', t.class, 'score', t.score, 'box', json_array(t.x1, t.y1, t.x2, t.y2),
    'outline', json(t.outline))) AS boxes"""
_FROM = {
    ItemKind.EVENT: """FROM events t JOIN runs r USING (run)
        LEFT JOIN evidence e ON e.run = t.run AND e.event_id = t.event_id""",
    ItemKind.NEAR_MISS: "FROM near_misses t JOIN runs r USING (run)",
    ItemKind.AUDIT: "FROM audits t JOIN runs r USING (run)",
}
#: What the queue needs of each row; there may be 100 000 of them.
_LEAN = {
    ItemKind.EVENT: f"""t.event AS number, t.run, t.event_id AS id, t.camera, t.verdict, t.class AS class_name,
        t.top_score, t.first_seen_utc AS seen_utc, {_IMAGE.format("e")},
        coalesce(e.missing, 'none was kept') AS missing""",
    ItemKind.NEAR_MISS: f"""t.near_miss AS number, t.run, t.near_miss_id AS id, t.camera, '' AS verdict,
        t.class AS class_name, t.score AS top_score, t.first_seen_utc AS seen_utc, {_IMAGE.format("t")},
        coalesce(t.missing, '') AS missing""",
    ItemKind.AUDIT: f"""t.audit AS number, t.run, t.camera || '/' || t.sequence AS id, t.camera, '' AS verdict,
        '' AS class_name, NULL AS top_score, t.arrived_utc AS seen_utc, {_IMAGE.format("t")},
        coalesce(t.missing, '') AS missing""",
}
#: And what a page shows beside it; boxes are JSON lists of objects with class, score, box and outline.
_MORE = {
    ItemKind.EVENT: f"'event' AS kind, {_OWN}, t.score, 1.0 AS probability, {_BOX}",
    ItemKind.NEAR_MISS: f"'near_miss' AS kind, {_OWN}, t.score, t.probability, {_BOX}",
    ItemKind.AUDIT: f"'audit' AS kind, {_OWN}, NULL AS score, t.probability, t.detections AS boxes",
}
_SOURCES = {kind: f"SELECT {_LEAN[kind]}, {_MORE[kind]}, {_HASHES[kind]} AS sha256 {_FROM[kind]}" for kind in ItemKind}
#: Which rows can be reviewed: what goes on may still change, and of a near miss that was not drawn nothing is lacking.
_REVIEWABLE = {
    ItemKind.EVENT: "(t.ended OR r.ended_utc IS NOT NULL)",
    ItemKind.NEAR_MISS: f"coalesce(t.missing, '') <> '{NOT_DRAWN}'",
    ItemKind.AUDIT: "1",
}
_TIMES = {
    ItemKind.EVENT: "t.first_seen_utc",
    ItemKind.NEAR_MISS: "t.first_seen_utc",
    ItemKind.AUDIT: "t.arrived_utc",
}
_NUMBERS = {ItemKind.EVENT: "t.event", ItemKind.NEAR_MISS: "t.near_miss", ItemKind.AUDIT: "t.audit"}
#: Why an item of a challenge part is not up for review: it is no product, and people know what it shows.
OF_CHALLENGE = "of a challenge part"
#: Says of a camera's moment whether it is left out of production.
IsLeftOut = Callable[[str, float], bool]
_SETTINGS = "SELECT run, name, since_utc, settings FROM cameras ORDER BY run, name, since_utc"


@dataclass(frozen=True, slots=True)
class LineBox:
    """What the line found in the image: class, score, edges in its pixels; `outline` are corners within them."""

    class_name: str
    score: float
    x1: float
    y1: float
    x2: float
    y2: float
    outline: Outline | None = None


@dataclass(frozen=True)
class ReviewItem:
    """An item with what a reviewer needs; `number` is its row's. `lacks` says why there is no image, "" where it is.

    `sha256` is that of the image.
    """

    key: ItemKey
    number: int
    camera: str
    station: str
    seen_utc: float
    class_name: str
    verdict: str
    score: float | None
    top_score: float | None
    thresholds: ClassThresholds
    probability: float
    width: int
    height: int
    lacks: str
    sha256: str | None
    boxes_text: str
    classes_text: str

    @property
    def candidate(self) -> ReviewCandidate:
        """The item as the queue takes it."""
        return _candidate(str(self.key), self.key.kind, self.verdict, self.top_score, self.thresholds)

    @cached_property
    def boxes(self) -> list[LineBox]:
        """What the line found: of an event or near miss one box, of an audit any number."""
        return [_line_box(one) for one in json.loads(self.boxes_text)]

    @cached_property
    def classes(self) -> list[str]:
        """The classes of the model that ran, in its order."""
        return [str(name) for name in json.loads(self.classes_text)]


_FoundBox = TypedDict(
    "_FoundBox", {"class": str, "score": float, "box": list[float], "outline": NotRequired[list[float] | None]}
)


def _line_box(found: _FoundBox) -> LineBox:
    corners = found.get("outline")
    outline = None if corners is None else tuple(corners)
    x1, y1, x2, y2 = found["box"]
    return LineBox(found["class"], found["score"], x1=x1, y1=y1, x2=x2, y2=y2, outline=outline)


class ReviewRow(NamedTuple):
    """An item as the queue needs it: which row it is, and why it cannot be reviewed, "" where it can."""

    kind: ItemKind
    number: int
    candidate: ReviewCandidate
    lacks: str


class SettingsInForce:
    """The settings of all cameras, by run and time."""

    def __init__(self, connection: Records) -> None:
        self._since: dict[tuple[int, str], list[float]] = {}
        self._settings: dict[tuple[int, str], list[str]] = {}
        self._known: dict[tuple[str, str], ClassThresholds] = {}
        for run, name, since_utc, settings in connection.execute(_SETTINGS):
            self._since.setdefault((run, name), []).append(since_utc)
            self._settings.setdefault((run, name), []).append(settings)

    def thresholds(self, run: int, camera: str, class_name: str, at_utc: float) -> ClassThresholds:
        """Return a class's thresholds on a camera as they were at a moment; before the first ones, those."""
        texts = self._settings.get((run, camera), ["{}"])
        text = texts[max(0, bisect_right(self._since.get((run, camera), [0.0]), at_utc) - 1)]
        if (text, class_name) not in self._known:
            self._known[text, class_name] = ClassThresholds.of(text, class_name)
        return self._known[text, class_name]


def nothing_left_out(_camera: str, _utc: float) -> bool:
    """Say that every moment is production."""
    return False


def rows_between(
    connection: Records, since_utc: float, until_utc: float, is_left_out: IsLeftOut = nothing_left_out
) -> Iterator[ReviewRow]:
    """Yield everything of [since_utc, until_utc) that could be reviewed, also what lacks its image.

    What `is_left_out` says of is a challenge part's, and lacks for that reason what it takes.

    Raises:
        sqlite3.Error, ValueError: as they come; rows that vision-line did not write.
    """
    settings = SettingsInForce(connection)
    run_ids = dict(map(tuple, connection.execute("SELECT run, run_id FROM runs")))
    for kind, columns in _LEAN.items():
        sql = f"SELECT {columns} {_FROM[kind]} WHERE {_REVIEWABLE[kind]}"
        chosen = f"{sql} AND {_TIMES[kind]} >= ? AND {_TIMES[kind]} < ?"
        for row in connection.execute(chosen, (since_utc, until_utc)).fetchall():
            number, run, own, camera, verdict, class_name, top_score, seen_utc, *image = row
            thresholds = settings.thresholds(run, camera, class_name, seen_utc)
            candidate = _candidate(f"{kind}/{run_ids[run]}/{own}", kind, verdict, top_score, thresholds)
            lacks = OF_CHALLENGE if is_left_out(camera, seen_utc) else _lacks(*image)
            yield ReviewRow(kind, number, candidate, lacks)


def _candidate(
    key: str, kind: ItemKind, verdict: str, top_score: float | None, thresholds: ClassThresholds
) -> ReviewCandidate:
    """Return an item as the queue takes it; only events have a margin: nothing else ever had a verdict."""
    margin = thresholds.margin(top_score) if kind is ItemKind.EVENT and top_score is not None else None
    return ReviewCandidate(key, stratum_of(kind, verdict), margin)


def _lacks(has_image: int, is_removed: int, missing: str) -> str:
    return "" if has_image else "the image was removed" if is_removed else missing


def find_item(connection: Records, key: ItemKey) -> ReviewItem | None:
    """Return an item by its key; None: there is none, or it has not ended.

    Raises:
        sqlite3.Error, ValueError: as they come.
    """
    return next(find_items(connection, [key]), None)


def find_items(connection: Records, keys: Iterable[ItemKey]) -> Iterator[ReviewItem]:
    """Yield the items of keys, without those that are gone or have not ended; raises as `find_item` does."""
    settings = SettingsInForce(connection)
    for key in keys:
        own: Sequence[object] = (key.id,)
        chosen = f"t.{key.kind}_id = ?"
        if key.kind is ItemKind.AUDIT:
            camera, _, sequence = key.id.rpartition("/")
            if not (sequence.isascii() and sequence.isdecimal() and int(sequence) < 2**63):
                continue
            own, chosen = (camera, int(sequence)), "t.camera = ? AND t.sequence = ?"
        sql = f"""{_SOURCES[key.kind]} WHERE {_REVIEWABLE[key.kind]} AND {chosen}
            AND t.run = (SELECT run FROM runs WHERE run_id = ?)"""  # noqa: S608  the same
        row = connection.execute(sql, (*own, key.run_id)).fetchone()
        if row is not None:
            yield _item(row, settings)


def row_items(connection: Records, rows: Iterable[tuple[ItemKind, int]]) -> Iterator[ReviewItem]:
    """Yield what is in rows by their numbers, also of what never came to review; without those that are gone.

    Raises:
        sqlite3.Error, ValueError: as they come.
    """
    settings = SettingsInForce(connection)
    for kind, number in rows:
        row = connection.execute(f"{_SOURCES[kind]} WHERE {_NUMBERS[kind]} = ?", (number,)).fetchone()
        if row is not None:
            yield _item(row, settings)


def newest_items(connection: Records, kind: ItemKind, before: tuple[float, int], most: int) -> list[ReviewItem]:
    """Return rows before a time and number, the newest first, also those of which no image was kept.

    Raises:
        sqlite3.Error, ValueError: as they come.
    """
    order = f"{_TIMES[kind]}, {_NUMBERS[kind]}"
    sql = f"{_SOURCES[kind]} WHERE ({order}) < (?, ?) ORDER BY {_TIMES[kind]} DESC, {_NUMBERS[kind]} DESC LIMIT ?"
    settings = SettingsInForce(connection)
    return [_item(row, settings) for row in connection.execute(sql, (*before, most)).fetchall()]


def _item(row: sqlite3.Row, settings: SettingsInForce) -> ReviewItem:
    return ReviewItem(
        key=ItemKey(ItemKind(row["kind"]), row["run_id"], row["id"]),
        number=row["number"],
        camera=row["camera"],
        station=row["station"],
        seen_utc=row["seen_utc"],
        class_name=row["class_name"],
        verdict=row["verdict"],
        score=row["score"],
        top_score=row["top_score"],
        thresholds=settings.thresholds(row["run"], row["camera"], row["class_name"], row["seen_utc"]),
        probability=row["probability"],
        width=row["width"] or 0,
        height=row["height"] or 0,
        lacks=_lacks(row["has_image"], row["is_removed"], row["missing"]),
        sha256=row["sha256"],
        boxes_text=row["boxes"],
        classes_text=row["classes"],
    )
