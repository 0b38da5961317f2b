# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the records have of a lot leaves by the rule by which events are searched: by its parts, else by its time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.desk import desk_over
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords, writing
from tests.fakes.passed_parts import make_part

from vision_line.cli.export import export_table
from vision_line.errors import ConfigError
from vision_line.parts import parts_file
from vision_line.parts.lot_export import export_of_lots
from vision_line.parts.orders import LOT, Asked, enter
from vision_line.parts.part import PartVerdict
from vision_line.parts.part_entries import add_correction, add_part
from vision_line.parts.parts_removal import remove_parts
from vision_line.records.columns import Table
from vision_line.records.query import Selection
from vision_line.records.table_export import ExportSummary, Format

RUN = "run at 0"


def begin(directory: Path, at_s: float, lot: str, lane: str = "*") -> None:
    """Begin a lot so many seconds after the records."""
    with parts_file.writing(directory) as connection:
        order = enter(connection, LOT, lot, Asked("the shift", "desk"), lane)
        connection.execute("UPDATE lots SET begun_utc = ? WHERE number = ?", (BEGAN_UTC + at_s, order.number))


def pass_part(directory: Path, sequence: int, at_s: float, lot: str, *events: str, lane: str = "a") -> None:
    """Enter a part with its events, the last of them found too late."""
    verdict = PartVerdict.REJECT if events else PartVerdict.ACCEPT
    part = make_part(
        sequence, BEGAN_UTC + at_s, lot=lot, run_id=RUN, verdict=verdict, events=events[:1], lane=lane,
        inspections={"cam01": 4},
    )  # fmt: skip
    with parts_file.writing(directory) as connection:
        number = add_part(connection, part)
        if events[1:]:
            add_correction(connection, part, number, PartVerdict.REJECT, events[1:])


@pytest.fixture
def records(tmp_path: Path) -> Iterator[DeskRecords]:
    """Yield records of ten minutes; lots A from 100 s to 200 s, B until 300 s."""
    with writing(tmp_path) as rows:
        rows.run(0, 600, "cam01", "cam02")
        for at_s, lot in ((100, "A"), (200, "B"), (300, "")):
            begin(tmp_path, at_s, lot)
        yield rows


def exported(records: DeskRecords, table: Table, *lots: str, **more: object) -> list[dict[str, object]]:
    """Return the rows of lots as JSON lines have them."""
    output = records.directory / "rows.jsonl"
    written(records, table, *lots, **more)
    return [json.loads(text) for text in output.read_text(encoding="utf-8").splitlines()]


def written(records: DeskRecords, table: Table, *lots: str, **more: object) -> ExportSummary:
    """Return what an export says of itself."""
    selection = Selection(lots=lots, **more)  # type: ignore[arg-type]
    return export_of_lots(records.directory, table, Format.JSONL, selection, records.directory / "rows.jsonl")


def event_ids(records: DeskRecords, *lots: str, **more: object) -> list[object]:
    """Return the ids of the events of lots."""
    return [row["event_id"] for row in exported(records, Table.EVENTS, *lots, **more)]


def test_an_event_goes_with_its_part_and_one_of_no_part_with_its_time(records: DeskRecords) -> None:
    """The last part of A is seen after B began; nothing of a lot is lost between the windows."""
    for at_s in (150, 150, 200.3, 210, 250):
        records.event(1, "cam01", at_s)
    pass_part(records.directory, 1, 149.8, "A", "event 1")
    pass_part(records.directory, 2, 199.9, "A", "event 3")
    pass_part(records.directory, 3, 209.9, "B", "event 4")
    assert event_ids(records, "A") == ["event 1", "event 2", "event 3"]
    assert event_ids(records, "B") == ["event 4", "event 5"]
    assert event_ids(records, "A", "B") == [f"event {n}" for n in range(1, 6)]


def test_what_was_found_of_a_part_too_late_is_of_its_lot(records: DeskRecords) -> None:
    records.event(1, "cam01", 199)
    records.event(1, "cam01", 201)
    pass_part(records.directory, 1, 198.9, "A", "event 1", "event 2")
    assert event_ids(records, "A") == ["event 1", "event 2"]
    assert event_ids(records, "B") == []


def test_an_event_of_two_parts_is_of_both_lots_and_one_of_a_part_without_a_lot_of_none(records: DeskRecords) -> None:
    records.event(1, "cam01", 200)
    records.event(1, "cam01", 250)
    pass_part(records.directory, 1, 199.8, "A", "event 1")
    pass_part(records.directory, 2, 200.1, "B", "event 1")
    pass_part(records.directory, 3, 249.9, "", "event 2")
    assert event_ids(records, "A") == ["event 1"]
    assert event_ids(records, "B") == ["event 1"]


def test_a_lot_that_a_trigger_named_has_its_parts_events_without_an_order(records: DeskRecords) -> None:
    records.event(1, "cam01", 400)
    pass_part(records.directory, 1, 399.9, "C", "event 1")
    assert event_ids(records, "C") == ["event 1"]
    assert exported(records, Table.COVERAGE, "C") == []


def test_an_event_that_went_on_since_yesterday_is_of_the_lot_of_its_part(records: DeskRecords) -> None:
    records.event(1, "cam01", -100_000)
    pass_part(records.directory, 1, 150, "A", "event 1")
    assert event_ids(records, "A") == ["event 1"]


def test_other_filters_narrow_it(records: DeskRecords) -> None:
    records.event(1, "cam01", 150)
    records.event(1, "cam02", 160)
    assert event_ids(records, "A", cameras=("cam02",)) == ["event 2"]
    assert event_ids(records, "A", until_utc=BEGAN_UTC + 155) == ["event 1"]


def test_minutes_and_gaps_are_those_that_reach_into_its_time(records: DeskRecords) -> None:
    for at_s in (0, 60, 180, 240):
        records.minute(1, "cam01", at_s, 50)
    for since_s, until_s in ((50, 100), (90, 101), (199, 250), (200, 260), (290, None)):
        records.gap(1, "cam01", "camera:STALE", since_s, until_s)
    assert [row["minute_utc"] for row in exported(records, Table.COVERAGE, "A")] == [
        "2026-11-28T20:01:00.000000Z",
        "2026-11-28T20:03:00.000000Z",
    ]
    starts = [str(row["started_utc"])[11:19] for row in exported(records, Table.NOT_INSPECTED, "A")]
    assert starts == ["20:01:30", "20:03:19"]
    assert len(exported(records, Table.NOT_INSPECTED, "B")) == 3


def test_near_misses_and_audits_are_of_the_lot_that_was_made_then(records: DeskRecords) -> None:
    for at_s in (50, 150, 250):
        records.near_miss(1, "cam01", at_s)
        records.audit(1, "cam01", at_s)
    assert [len(exported(records, table, "A")) for table in (Table.NEAR_MISSES, Table.AUDITS)] == [1, 1]


def test_of_a_lanes_lot_its_cameras_count_also_behind_parts_that_nobody_saw(records: DeskRecords) -> None:
    """Such a part has no cameras: without those of the part before, the whole lot would be without a row."""
    begin(records.directory, 400, "D", "a")
    pass_part(records.directory, 1, 401, "D")
    unseen = make_part(2, BEGAN_UTC + 402, inspections={}, verdict=PartVerdict.NOT_INSPECTED, lot="D")
    with parts_file.writing(records.directory) as connection:
        add_part(connection, unseen)
    for camera in ("cam01", "cam02"):
        records.event(1, camera, 450)
        records.gap(1, camera, "camera:STALE", 450, 460)
    assert event_ids(records, "D") == ["event 1"]
    assert [row["camera"] for row in exported(records, Table.NOT_INSPECTED, "D")] == ["cam01"]


def test_the_desk_finds_the_same_events(records: DeskRecords) -> None:
    for at_s in (99, 100, 150, 199.9, 200.3, 250, 299.9, 300):
        records.event(1, "cam01", at_s)
    pass_part(records.directory, 1, 199.9, "A", "event 5")
    pass_part(records.directory, 2, 299.9, "B", "event 8")
    with desk_over(records.directory) as desk:
        desk.sign_in()
        for lot in ("A", "B"):
            found = desk.client.get("/api/v1/events", params={"lot": lot}).json()["events"]
            assert [one["event_id"] for one in reversed(found)] == event_ids(records, lot) != []


def test_coco_has_the_images_of_the_lot(records: DeskRecords) -> None:
    for at_s in (50, 150):
        records.images(records.event(1, "cam01", at_s), b"jpeg", exact=True)
    output = records.directory / "boxes.json"
    export_of_lots(records.directory, Table.EVENTS, Format.COCO, Selection(lots=("A",)), output)
    (image,) = json.loads(output.read_text(encoding="utf-8"))["images"]
    assert image["event_id"] == "event 2"


def test_an_unknown_lot_and_a_table_without_lots_are_refused(records: DeskRecords, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nobody began a lot 'Z'"):
        exported(records, Table.EVENTS, "A", "Z")
    with pytest.raises(ConfigError, match="--lot does not apply to table detections"):
        exported(records, Table.DETECTIONS, "A")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with writing(elsewhere) as rows, pytest.raises(ConfigError, match=r"no parts\.sqlite"):
        exported(rows, Table.EVENTS, "A")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no records"):
        export_of_lots(tmp_path / "empty", Table.EVENTS, Format.CSV, Selection(lots=("A",)), tmp_path / "x.csv")


def test_removed_rows_and_parts_of_its_time_are_said(records: DeskRecords) -> None:
    """Where nothing says any more of which part an event was, it counts by its time."""
    moments = {"at_utc": BEGAN_UTC, "from_utc": BEGAN_UTC + 90, "to_utc": BEGAN_UTC + 110}
    records.insert("removals", removed_from="events", rows=3, why="keep_days", **moments)
    records.event(1, "cam01", 200.3)
    pass_part(records.directory, 1, 199.9, "A", "event 1")
    with parts_file.writing(records.directory) as connection:
        (last,) = connection.execute("SELECT max(number) FROM journal").fetchone()
        remove_parts(connection, last, "keep_days")
    (rows, parts) = written(records, Table.EVENTS, "A").removed
    assert "3 rows of events were removed" in rows
    assert "1 part removed for age" in parts
    assert written(records, Table.EVENTS, "B").rows == 1
    (said,) = written(records, Table.EVENTS, "A", since_utc=BEGAN_UTC + 150).removed
    assert said == parts


def test_the_command_takes_it(records: DeskRecords, capsys: pytest.CaptureFixture[str]) -> None:
    records.event(1, "cam01", 150)
    output = records.directory.parent / "of-lot.csv"
    export_table(records.directory, Table.EVENTS, Format.CSV, Selection(lots=("A",)), output)
    assert "1 rows" in capsys.readouterr().out
