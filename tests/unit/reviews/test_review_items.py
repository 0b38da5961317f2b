# SPDX-License-Identifier: AGPL-3.0-or-later
"""What there is to review in records: what has ended, with its image or why there is none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords, writing

from vision_line.records.schema import open_reader
from vision_line.reviews.answer import ItemKey, ItemKind
from vision_line.reviews.review_items import ReviewItem, find_item, newest_items, row_items, rows_between


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[DeskRecords]:
    """Yield records without a row."""
    with writing(tmp_path) as found:
        yield found


@pytest.fixture
def reader(rows: DeskRecords) -> Iterator[sqlite3.Connection]:
    """Yield a connection as the desk has it."""
    with closing(open_reader(rows.directory)) as found:
        yield found


def by_kind(reader: sqlite3.Connection, since_s: float = 0, until_s: float = 1e6) -> dict[ItemKind, list[ReviewItem]]:
    """Return the items; each is in its row what it is in the queue."""
    found: dict[ItemKind, list[ReviewItem]] = {kind: [] for kind in ItemKind}
    rows = list(rows_between(reader, BEGAN_UTC + since_s, BEGAN_UTC + until_s))
    items = list(row_items(reader, [(row.kind, row.number) for row in rows]))
    assert [(item.candidate, item.lacks) for item in items] == [(row.candidate, row.lacks) for row in rows]
    for item in items:
        found[item.key.kind].append(item)
    return found


def test_each_kind_with_its_boxes_and_what_it_was_kept_with(rows: DeskRecords, reader: sqlite3.Connection) -> None:
    run = rows.run(0, 600, "cam/1")
    rows.images(rows.event(run, "cam/1", 10), b"event")
    rows.near_miss(run, "cam/1", 20, b"near miss")
    rows.audit(run, "cam/1", 30, b"audit", detections='[{"class": "short", "score": 0.7, "box": [1, 2, 3, 4]}]')
    found = by_kind(reader)
    ((event,), (near_miss,), (audit,)) = found.values()
    assert (event.verdict, event.class_name, event.probability, event.lacks) == ("reject", "open", 1.0, "")
    assert (event.thresholds.warn, event.thresholds.reject) == (None, 0.5)
    assert event.candidate.margin == pytest.approx(0.4)  # of the highest score, 0.9
    assert (near_miss.probability, near_miss.candidate.margin) == (0.5, None)
    assert (audit.probability, [box.class_name for box in audit.boxes]) == (0.01, ["short"])
    assert [(box.x1, box.y2) for box in event.boxes] == [(1.0, 40.0)]
    assert event.classes == ["open", "short"]
    assert str(audit.key) == "audit/run at 0/cam/1/101"
    for item in (event, near_miss, audit):
        assert find_item(reader, item.key) == item


def test_what_goes_on_is_not_up_for_review_yet(rows: DeskRecords, reader: sqlite3.Connection) -> None:
    """Its verdict may still rise; what a killed run left open has ended with it."""
    run = rows.run(0, None, "cam")
    event = rows.event(run, "cam", 10)
    rows.connection.execute("UPDATE events SET ended = 0")
    assert not by_kind(reader)[ItemKind.EVENT]
    assert find_item(reader, ItemKey(ItemKind.EVENT, "run at 0", "event 1")) is None
    rows.connection.execute("UPDATE runs SET ended_utc = 1")
    assert [item.number for item in by_kind(reader)[ItemKind.EVENT]] == [event]


def test_what_has_no_image_says_why(rows: DeskRecords, reader: sqlite3.Connection) -> None:
    """But for near misses that were not drawn: nobody wanted their image, and the list alone has them."""
    run = rows.run(0, 600, "cam")
    rows.event(run, "cam", 10)
    rows.near_miss(run, "cam", 20)
    rows.audit(run, "cam", 30)
    rows.audit(run, "cam", 40, b"gone", deleted_utc=BEGAN_UTC)
    lacking = {kind: [item.lacks for item in items] for kind, items in by_kind(reader).items()}
    assert lacking == {
        ItemKind.EVENT: ["none was kept"],
        ItemKind.NEAR_MISS: [],
        ItemKind.AUDIT: ["the disk was full", "the image was removed"],
    }
    assert [item.lacks for item in newest_items(reader, ItemKind.NEAR_MISS, (9e15, 9), 5)] == ["not drawn"]


def test_only_what_was_seen_in_the_time(rows: DeskRecords, reader: sqlite3.Connection) -> None:
    run = rows.run(0, 600, "cam")
    for at_s in (10, 20, 30):
        rows.audit(run, "cam", at_s, b"audit")
    assert [item.seen_utc - BEGAN_UTC for item in by_kind(reader, 20, 30)[ItemKind.AUDIT]] == [20]


@pytest.mark.parametrize("own", ["cam", "cam/x", "cam/-1", "/101", "cam/99999999999999999999", "cam/²"])
def test_no_audit_of_this_name(rows: DeskRecords, reader: sqlite3.Connection, own: str) -> None:
    rows.audit(rows.run(0, 600, "cam"), "cam", 10, b"audit")
    assert find_item(reader, ItemKey(ItemKind.AUDIT, "run at 0", own)) is None


def test_thresholds_are_those_of_the_moment(rows: DeskRecords, reader: sqlite3.Connection) -> None:
    run = rows.run(0, 600, "cam")
    settings = '{"reject_threshold": 0.8}'
    rows.insert(
        "cameras", run=run, name="cam", station="", recipe="", url="", since_utc=BEGAN_UTC + 100, settings=settings
    )
    for at_s in (50, 150):
        rows.event(run, "cam", at_s)
    assert [item.thresholds.reject for item in by_kind(reader)[ItemKind.EVENT]] == [0.5, 0.8]
