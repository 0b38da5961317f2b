# SPDX-License-Identifier: AGPL-3.0-or-later
"""Exports: whole, typed, filtered, safe to open, and possible while the line runs."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from vision_line.cli.export import export_table
from vision_line.config.models import RecordSettings
from vision_line.errors import ConfigError, RunError
from vision_line.frames import CoverageMinute, DefectEvent, EventPhase, NotInspected, Verdict
from vision_line.records import coco as coco_export
from vision_line.records.columns import COLUMNS, ColumnType, Table
from vision_line.records.entries import CameraRecord, RunRecord
from vision_line.records.log import SqliteLog
from vision_line.records.query import OF_PARTS, Selection
from vision_line.records.schema import open_reader
from vision_line.records.table_export import Format, export

OpenLog = Callable[..., SqliteLog]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text("utf-8").splitlines()]


@pytest.fixture
def recorded(open_log: OpenLog, line: Any, records: Path) -> Path:
    """Records of a short run: two events, one of them in two frames, and a ledger."""
    log = open_log()
    for sequence, event_id, verdict in ((1, "e1", Verdict.REJECT), (5, "e2", Verdict.WARN)):
        seen = line.inspection(sequence, 2, data=line.frame_data(), arrived_utc=1_700_000_000.25 + sequence)
        log.write_inspection(seen, [line.event(seen, event_id, verdict=verdict)])
    log.write_coverage(
        [CoverageMinute("cam01", 1_700_000_040, 300, 300, 290)],
        [NotInspected("i1", "cam01", "capacity", 1.0, 1_700_000_000.0, 5.0, 1_700_000_004.0)],
    )
    log.close()
    return records


def test_csv_comes_back_as_it_was(recorded: Path, tmp_path: Path) -> None:
    """A byte order mark, the documented columns, and times in UTC with the monotonic clock beside them."""
    output = tmp_path / "events.csv"
    summary = export(recorded, Table.EVENTS, Format.CSV, Selection(), output)

    assert output.read_bytes().startswith(b"\xef\xbb\xbfevent_id,")
    rows = read_csv(output)
    assert summary.rows == len(rows) == 2
    assert list(rows[0]) == [column.name for column in COLUMNS[Table.EVENTS]]
    assert rows[0]["first_seen_utc"] == "2023-11-14T22:13:21.250000Z"
    assert float(rows[0]["first_seen_s"]) > 0
    assert (rows[0]["verdict"], rows[1]["verdict"]) == ("reject", "warn")
    assert rows[0]["ended"] == "false"
    assert (recorded / rows[0]["evidence"]).is_file()


def test_a_cell_is_no_formula(open_log: OpenLog, line: Any, records: Path, tmp_path: Path) -> None:
    """Text that a spreadsheet would run is written as text; programs find it unchanged in JSON lines."""
    log = open_log(evidence=False)
    seen = line.inspection(1)
    log.write_inspection(seen, [line.event(seen, "=HYPERLINK(1)")])
    log.close()
    export(records, Table.EVENTS, Format.CSV, Selection(), tmp_path / "e.csv")
    export(records, Table.EVENTS, Format.JSONL, Selection(), tmp_path / "e.jsonl")

    assert read_csv(tmp_path / "e.csv")[0]["event_id"] == "'=HYPERLINK(1)"
    assert read_jsonl(tmp_path / "e.jsonl")[0]["event_id"] == "=HYPERLINK(1)"


def test_parquet_is_typed(recorded: Path, tmp_path: Path) -> None:
    """Times are UTC timestamps, scores floats, counts integers, names dictionaries, flags booleans."""
    export(recorded, Table.EVENTS, Format.PARQUET, Selection(), tmp_path / "e.parquet")
    table = pq.read_table(tmp_path / "e.parquet")

    assert table.schema.names == [column.name for column in COLUMNS[Table.EVENTS]]
    assert table.schema.field("first_seen_utc").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("score").type == pa.float64()
    assert table.schema.field("hits").type == pa.int64()
    assert table.schema.field("ended").type == pa.bool_()
    assert table.schema.field("camera").type == pa.dictionary(pa.int32(), pa.string())
    assert table.column("first_seen_utc")[0].as_py() == datetime(2023, 11, 14, 22, 13, 21, 250_000, UTC)
    assert table.column("evidence_deleted_utc").to_pylist() == [None, None]


def test_parquet_without_pyarrow_says_what_to_install(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what to install, and nothing is left behind."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "out").mkdir()

    with pytest.raises(ConfigError, match=r"needs pyarrow: run pip install '\.\[parquet\]'"):
        export(recorded, Table.EVENTS, Format.PARQUET, Selection(), tmp_path / "out" / "e.parquet")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("table", [table for table in Table if table not in OF_PARTS])
@pytest.mark.parametrize("file_format", [Format.CSV, Format.JSONL, Format.PARQUET])
def test_every_table_has_every_format(recorded: Path, tmp_path: Path, table: Table, file_format: Format) -> None:
    """All tables are exported with their documented columns, empty ones too."""
    output = tmp_path / "out"
    summary = export(recorded, table, file_format, Selection(), output)

    names = [column.name for column in COLUMNS[table]]
    if file_format is Format.CSV:
        assert output.read_text("utf-8-sig").splitlines()[0].split(",") == names
    elif file_format is Format.PARQUET:
        assert pq.read_table(output).schema.names == names
    elif summary.rows:
        assert list(read_jsonl(output)[0]) == names


def test_csv_with_semicolons_has_the_same_figures(recorded: Path, tmp_path: Path) -> None:
    """To the last digit; no cell of the other file is changed but by its decimal point."""
    for file_format in (Format.CSV, Format.CSV_SEMICOLON):
        export(recorded, Table.EVENTS, file_format, Selection(), tmp_path / file_format)
    plain = list(csv.reader((tmp_path / "csv").read_text("utf-8-sig").splitlines()))
    other = list(csv.reader((tmp_path / "csv-semicolon").read_text("utf-8-sig").splitlines(), delimiter=";"))
    real = [column.kind is ColumnType.REAL for column in COLUMNS[Table.EVENTS]]
    assert len(plain) > 1
    assert any("," in cell for row in other[1:] for cell, is_real in zip(row, real, strict=True) if is_real)
    for row, same in zip(plain[1:], other[1:], strict=True):
        assert row == [cell.replace(",", ".") if is_real else cell for cell, is_real in zip(same, real, strict=True)]


def test_coco_loads_with_its_images(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pycocotools reads it; images lie beside it, have the size it says, and all boxes of their frame."""
    output = tmp_path / "set" / "evidence.json"
    output.parent.mkdir()
    selection = Selection(verdicts=(Verdict.WARN,))
    summary = export(recorded, Table.EVENTS, Format.COCO, selection, output)
    coco = COCO(str(output))

    assert capsys.readouterr().out
    assert (summary.images, summary.rows, summary.images_missing) == (1, 2, 0)
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == ["open", "short"]
    (image,) = coco.loadImgs(coco.getImgIds())
    pixels = cv2.imread(str(output.parent / image["file_name"]))
    assert pixels is not None
    assert pixels.shape[:2] == (image["height"], image["width"]) == (96, 160)
    boxes = coco.loadAnns(coco.getAnnIds(imgIds=image["id"], catIds=coco.getCatIds(["short"])))
    assert [box["bbox"] for box in boxes] == [[0, 10, 16, 20], [20, 10, 16, 20]]
    assert [box["event_id"] for box in boxes] == ["e2", None]


@pytest.mark.parametrize(("file_format", "counted"), [(Format.COCO, "2 boxes, 1 images"), (Format.CSV, "1 rows")])
def test_the_command_says_what_it_counts(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file_format: Format, counted: str
) -> None:
    """COCO counts the boxes of its images, a table its rows."""
    output = tmp_path / "out"
    export_table(recorded, Table.EVENTS, file_format, Selection(verdicts=(Verdict.WARN,)), output)

    assert f"{output}: {counted}\n" in capsys.readouterr().out


def test_coco_holds_a_shared_image_once(
    open_log: OpenLog, line: Any, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two events of one frame give one image; images deleted since are left out."""
    log = open_log()
    seen = line.inspection(1, 2, data=line.frame_data())
    log.write_inspection(seen, [line.event(seen, "e1"), line.event(seen, "e2")])
    gone = line.inspection(2, 1, data=line.frame_data())
    log.write_inspection(gone, [line.event(gone, "e3")])
    log.close()
    for path in (records / "evidence").rglob("1-e3-2.jpg"):
        path.unlink()
    summary = export(records, Table.EVENTS, Format.COCO, Selection(), tmp_path / "c.json")
    coco = COCO(str(tmp_path / "c.json"))

    assert capsys.readouterr().out
    assert len(coco.getImgIds()) == 1
    assert len(coco.getAnnIds()) == 2
    assert summary.images_missing == 1


def test_coco_has_the_box_of_an_event_that_was_too_faint_for_a_detection(
    open_log: OpenLog, line: Any, records: Path, tmp_path: Path
) -> None:
    """A score below the threshold keeps an event going; its image would be exported as one of a good board."""
    log = open_log()
    seen = line.inspection(1, 1, data=line.frame_data())
    event = replace(line.event(seen, "e1"), score=0.4, xyxy=(50.0, 40.0, 80.0, 60.0))
    log.write_inspection(seen, [event])
    log.close()
    export(records, Table.EVENTS, Format.COCO, Selection(), tmp_path / "c.json")
    coco = json.loads((tmp_path / "c.json").read_text("utf-8"))

    boxes = {annotation["event_id"]: annotation["bbox"] for annotation in coco["annotations"]}
    assert boxes["e1"] == [50.0, 40.0, 30.0, 20.0]
    assert len(coco["annotations"]) == 2


def test_coco_distinguishes_frames_of_the_same_number(
    open_log: OpenLog, line: Any, records: Path, tmp_path: Path
) -> None:
    """Numbers of earlier versions began anew when a camera was altered: each image has the boxes of its own frame."""
    log = open_log()
    for found, event_id, arrived_utc in ((1, "before", 1_700_000_000.0), (3, "after", 1_700_000_060.0)):
        seen = line.inspection(100, found, data=line.frame_data(), arrived_utc=arrived_utc)
        log.write_inspection(seen, [line.event(seen, event_id)])
    log.close()
    export(records, Table.EVENTS, Format.COCO, Selection(), tmp_path / "c.json")
    coco = json.loads((tmp_path / "c.json").read_text("utf-8"))

    boxes = Counter(annotation["image_id"] for annotation in coco["annotations"])
    assert {image["event_id"]: boxes[image["id"]] for image in coco["images"]} == {"before": 1, "after": 3}


def remove_detections(records: Path, until_utc: float) -> None:
    """Remove those that arrived up to then, as retention does."""
    with closing(sqlite3.connect(records / "records.sqlite")) as connection, connection:
        gone = connection.execute("DELETE FROM detections WHERE arrived_utc <= ?", (until_utc,)).rowcount
        columns = "removed_from, rows, from_utc, to_utc, why, at_utc"
        connection.execute(
            f"INSERT INTO removals ({columns}) VALUES ('detections', ?, 0.0, ?, 'max_mb', 0.0)", (gone, until_utc)
        )


def test_coco_has_no_image_whose_detections_were_removed(
    open_log: OpenLog, line: Any, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would be exported as one of a board with fewer defects, or none: it is left out and counted, once."""
    log = open_log()
    for sequence in range(3):
        seen = line.inspection(sequence, 3, data=line.frame_data(), arrived_utc=1_700_000_000.0 + sequence)
        log.write_inspection(seen, [line.event(seen, f"e{sequence}"), line.event(seen, f"f{sequence}")])
    log.close()
    remove_detections(records, 1_700_000_001.0)
    output = tmp_path / "c.json"
    export_table(records, Table.EVENTS, Format.COCO, Selection(), output)
    coco = json.loads(output.read_text("utf-8"))

    assert [image["event_id"] for image in coco["images"]] == ["e2"]
    assert len(coco["annotations"]) == 3
    said = capsys.readouterr()
    assert f"{output}: 3 boxes, 1 images\n" in said.out
    assert "2 images were left out: what else was found there was removed from the records\n" in said.err


def test_coco_has_no_image_whose_detections_go_meanwhile(recorded: Path, tmp_path: Path) -> None:
    """A running line removes them between two images."""

    def on_progress(done: int, _total: int) -> None:
        if done == 1:
            remove_detections(recorded, 1_700_000_005.25)

    summary = export(recorded, Table.EVENTS, Format.COCO, Selection(), tmp_path / "c.json", on_progress)
    coco = json.loads((tmp_path / "c.json").read_text("utf-8"))

    assert ([image["event_id"] for image in coco["images"]], len(coco["annotations"])) == (["e1"], 2)
    assert (summary.images, summary.images_left_out, summary.images_missing) == (1, 1, 0)


def test_the_settings_in_force_are_exported(open_log: OpenLog, records: Path, tmp_path: Path) -> None:
    """A row for each change of a camera, by which an event is traced to what it was judged by."""
    log = open_log(evidence=False)
    log.write_cameras([CameraRecord("cam01", "press 5", "B", "rtsp://***@camera/1", '{"min_hits":5}')])
    log.close()
    export(records, Table.CAMERAS, Format.JSONL, Selection(cameras=("cam01",)), tmp_path / "c.jsonl")
    rows = read_jsonl(tmp_path / "c.jsonl")

    assert [(row["station"], row["settings"]) for row in rows] == [("press 4", ""), ("press 5", '{"min_hits":5}')]
    assert rows[0]["since_utc"] < rows[1]["since_utc"]


def test_coco_reads_images_in_chunks(
    open_log: OpenLog, line: Any, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, few are read at once; each is in the set once, or counted as deleted meanwhile."""
    monkeypatch.setattr(coco_export, "CHUNK_IMAGES", 2)
    log = open_log()
    for sequence in range(7):
        seen = line.inspection(sequence, data=line.frame_data(), arrived_utc=1_700_000_000.0)
        log.write_inspection(seen, [line.event(seen, f"e{sequence}")])
    log.close()
    reported: list[tuple[int, int]] = []

    def on_progress(done: int, total: int) -> None:
        reported.append((done, total))
        if done == 4:  # a running line makes room between two reads
            with closing(sqlite3.connect(records / "records.sqlite")) as connection, connection:
                connection.execute("UPDATE evidence SET deleted_utc = 1 WHERE event_id = 'e6'")

    summary = export(records, Table.EVENTS, Format.COCO, Selection(), tmp_path / "c.json", on_progress)
    images = json.loads((tmp_path / "c.json").read_text("utf-8"))["images"]

    assert [image["event_id"] for image in images] == [f"e{number}" for number in range(6)]
    assert (summary.images, summary.images_missing) == (6, 1)
    assert reported == [(done, 7) for done in range(1, 7)]


def test_an_export_of_a_running_line_is_whole(open_log: OpenLog, line: Any, records: Path, tmp_path: Path) -> None:
    """While the line writes, each export has every row committed before it began, once, in order."""
    log = open_log(evidence=False)
    stop = threading.Event()

    def run() -> None:
        sequence = 0
        while not stop.wait(0.002):
            seen = line.inspection(sequence)
            log.write_inspection(seen, [])
            sequence += 1

    writer = threading.Thread(target=run)
    writer.start()
    try:
        counts = [0]
        while len(counts) < 8:
            committed = log.status().committed - 1  # the cameras are a record too
            export(records, Table.DETECTIONS, Format.JSONL, Selection(), tmp_path / "d.jsonl")
            found = [row["sequence"] for row in read_jsonl(tmp_path / "d.jsonl")]
            assert found == list(range(len(found)))
            assert len(found) >= max(committed, counts[-1])
            counts.append(len(found))
    finally:
        stop.set()
        writer.join()
    log.close()

    assert export(records, Table.DETECTIONS, Format.JSONL, Selection(), tmp_path / "d.jsonl").rows >= counts[-1]


def test_chunks_lose_and_repeat_nothing(open_log: OpenLog, line: Any, records: Path, tmp_path: Path) -> None:
    """More rows than a chunk, all of one moment, come out once each; progress ends at the total."""
    log = open_log(evidence=False)
    seen = line.inspection(1, 12_345)
    log.write_inspection(seen, [])
    log.close()
    reported: list[tuple[int, int]] = []
    export(
        *(records, Table.DETECTIONS, Format.JSONL, Selection(), tmp_path / "d.jsonl"),
        progress=lambda done, total: reported.append((done, total)),
    )

    assert len({row["x1"] for row in read_jsonl(tmp_path / "d.jsonl")}) == 12_345
    assert reported == [(5000, 12_345), (10_000, 12_345), (12_345, 12_345)]


def test_an_interval_is_wanted_if_any_part_of_it_is(recorded: Path, tmp_path: Path) -> None:
    """Whether a time was inspected can be asked for a part of the gap."""

    def count(since: float, until: float) -> int:
        chosen = Selection(since_utc=since, until_utc=until)
        return export(recorded, Table.NOT_INSPECTED, Format.CSV, chosen, tmp_path / "n.csv").rows

    assert count(1_700_000_001.0, 1_700_000_002.0) == 1
    assert count(1_700_000_004.5, 1_700_000_009.0) == 0
    assert count(1_699_999_000.0, 1_700_000_000.0) == 0


@pytest.mark.parametrize(
    ("table", "file_format", "selection", "message"),
    [
        (Table.COVERAGE, Format.CSV, Selection(classes=("open",)), "--class does not apply to table coverage"),
        (
            Table.RUNS,
            Format.CSV,
            Selection(cameras=("c",), verdicts=(Verdict.WARN,)),
            "--camera does not apply to table runs\n--v",
        ),
        (Table.DETECTIONS, Format.COCO, Selection(), "coco exports events"),
        (Table.EVENTS, Format.CSV, Selection(since_utc=5.0, until_utc=5.0), "--since: no moment is at or after it"),
    ],
)
def test_what_does_not_apply_is_refused(
    recorded: Path, tmp_path: Path, table: Table, file_format: Format, selection: Selection, message: str
) -> None:
    """A filter or format that a table does not have is an error, all of them at once, not an empty file."""
    with pytest.raises(ConfigError, match=message):
        export(recorded, table, file_format, selection, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("exists", "said"),
    [
        (False, r"there is no folder .*nothing: run it where the line ran, or name the folder with --record"),
        (True, r"--record .*nothing: expected .* found no records\.sqlite in it"),
    ],
    ids=["missing", "empty"],
)
def test_no_records_are_a_wrong_option(tmp_path: Path, exists: bool, said: str) -> None:
    """A --record without records is named as the option it is, and nothing is made."""
    directory = tmp_path / "nothing"
    if exists:
        directory.mkdir()
    with pytest.raises(ConfigError, match=said):
        export(directory, Table.EVENTS, Format.CSV, Selection(), tmp_path / "out" / "e.csv")
    assert list(tmp_path.iterdir()) == ([directory] if exists else [])


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(cameras=("cam1",)), "--camera cam1: not in these records, expected one of cam01"),
        (Selection(classes=("shrot",)), "--class shrot: not in these records, expected one of open, short"),
        (Selection(cameras=("cam1",), classes=("shrot",)), "--camera cam1: .*\n--class shrot: "),
    ],
)
def test_names_that_no_run_knew_are_refused(recorded: Path, tmp_path: Path, selection: Selection, message: str) -> None:
    """A misspelt camera or class is not an empty table; what there is is said."""
    with pytest.raises(ConfigError, match=message):
        export(recorded, Table.EVENTS, Format.CSV, selection, tmp_path / "out" / "e.csv")
    assert not (tmp_path / "out").exists()


def test_a_folder_is_no_output(recorded: Path, tmp_path: Path) -> None:
    """It is refused, and nothing is left beside it."""
    output = tmp_path / "e.csv"
    output.mkdir()

    with pytest.raises(ConfigError, match=r"e\.csv: is a folder"):
        export(recorded, Table.EVENTS, Format.CSV, Selection(), output)
    assert output.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.csv", "records"]


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["cam01", "cam02"]), st.sampled_from([0, 1]), st.sampled_from(Verdict), st.integers(0, 20)
    ),
    max_size=25,
)
SELECTIONS = st.builds(
    Selection,
    since_utc=st.none() | st.integers(0, 20).map(float),
    until_utc=st.none() | st.integers(0, 20).map(float),
    cameras=st.lists(st.sampled_from(["cam01", "cam02", "cam03"]), max_size=3, unique=True).map(tuple),
    classes=st.lists(st.sampled_from(["open", "short"]), max_size=2, unique=True).map(tuple),
    verdicts=st.lists(st.sampled_from(Verdict), max_size=3, unique=True).map(tuple),
).filter(lambda selection: not selection.is_empty)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS, st.lists(SELECTIONS, min_size=1, max_size=8))
def test_filters_choose_what_they_say(
    tmp_path_factory: pytest.TempPathFactory,
    line: Any,
    made: list[tuple[str, int, Verdict, int]],
    selections: list[Selection],
) -> None:
    """Events and their detections come out exactly if camera, class, verdict and time fit."""
    records = tmp_path_factory.mktemp("filters")
    cameras = tuple(CameraRecord(name, "", "", "") for name in ("cam01", "cam02", "cam03"))
    run = RunRecord("0", 0.0, "", "", "", "", "", "", cameras)
    with closing(SqliteLog(records, run, RecordSettings(evidence=False, min_free_mb=1), ["open", "short"])) as log:
        for number, (camera, class_id, verdict, at_utc) in enumerate(made):
            write_event(log, line, number, camera, class_id, verdict, float(at_utc))

    for selection in selections:
        wanted = [f"e{number}" for number, values in sorted(enumerate(made), key=by_time) if fits(selection, values)]
        assert list(event_ids(records, Table.EVENTS, selection)) == wanted
        assert list(event_ids(records, Table.DETECTIONS, selection)) == wanted


def by_time(item: tuple[int, tuple[str, int, Verdict, int]]) -> tuple[int, int]:
    return item[1][3], item[0]


def fits(selection: Selection, values: tuple[str, int, Verdict, int]) -> bool:
    camera, class_id, verdict, at_utc = values
    return (
        (selection.since_utc is None or at_utc >= selection.since_utc)
        and (selection.until_utc is None or at_utc < selection.until_utc)
        and (not selection.cameras or camera in selection.cameras)
        and (not selection.classes or ("open", "short")[class_id] in selection.classes)
        and (not selection.verdicts or verdict in selection.verdicts)
    )


def write_event(
    log: SqliteLog, line: Any, number: int, camera: str, class_id: int, verdict: Verdict, at_utc: float
) -> None:
    seen = line.inspection(number, camera=camera, arrived_utc=at_utc)
    seen = replace(seen, detections=replace(seen.detections, class_id=seen.detections.class_id * 0 + class_id))
    name = ("open", "short")[class_id]
    event = DefectEvent(
        *(f"e{number}", EventPhase.NEW, camera, class_id, name, verdict, 0.9, 0.9, (0.0, 10.0, 16.0, 30.0), number, 1),
        *(0.0, at_utc, 0.0, at_utc),
    )
    log.write_inspection(seen, [event])


def event_ids(records: Path, table: Table, selection: Selection) -> Iterator[str]:
    output = records / "out.jsonl"
    export(records, table, Format.JSONL, selection, output)
    return (row["event_id"] for row in read_jsonl(output))


def alter(records: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(records / "records.sqlite")) as connection, connection:
        connection.execute(sql, values)


def test_an_image_that_is_not_the_recorded_one_is_left_out(recorded: Path, tmp_path: Path) -> None:
    """The others are exported, and it is named: a set to train on must not hold what the camera did not see."""
    (path, _) = evidence_paths_of(recorded)
    (recorded / path).write_bytes(b"another")
    summary = export(recorded, Table.EVENTS, Format.COCO, Selection(), tmp_path / "set.json")

    assert summary.images == 1
    assert [path in sentence and "SHA-256 differs" in sentence for sentence in summary.strange] == [True]
    assert len(json.loads((tmp_path / "set.json").read_text())["images"]) == 1


@pytest.mark.parametrize("how", ["absolute", "dots", "other folder", "link", "linked folder", "gone and nul"])
def test_a_path_of_a_row_leads_nowhere_else(recorded: Path, tmp_path: Path, how: str) -> None:
    """A forged record file gets nothing exported from outside its evidence folder, with the right hash neither."""
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"secret")
    inside = recorded / "evidence" / "secret.jpg"
    if how == "link":
        inside.symlink_to(secret)
    if how == "linked folder":
        (recorded / "evidence" / "out").symlink_to(tmp_path)
    path = {
        "absolute": str(secret),
        "dots": "evidence/../../secret.jpg",
        "other folder": "records.sqlite",
        "link": "evidence/secret.jpg",
        "linked folder": "evidence/out/secret.jpg",
        "gone and nul": "evidence/\0",
    }[how]
    sql = "UPDATE evidence SET path = CAST(? AS TEXT), sha256 = ? WHERE event_id = 'e1'"
    alter(recorded, sql, path, hashlib.sha256(b"secret").hexdigest())
    summary = export(recorded, Table.EVENTS, Format.COCO, Selection(), tmp_path / "set.json")

    assert summary.images == 1
    assert ["leads out of the evidence folder" in sentence for sentence in summary.strange] == [True]
    assert all(b"secret" not in file.read_bytes() for file in (tmp_path / "set_images").iterdir())


def test_an_image_that_is_no_file_is_not_waited_for(recorded: Path, tmp_path: Path) -> None:
    """A pipe in its place would never end."""
    (path, _) = evidence_paths_of(recorded)
    (recorded / path).unlink()
    os.mkfifo(recorded / path)
    summary = export(recorded, Table.EVENTS, Format.COCO, Selection(), tmp_path / "set.json")

    assert (summary.images, ["is no file" in sentence for sentence in summary.strange]) == (1, [True])


def test_an_export_writes_over_no_other_file(recorded: Path, tmp_path: Path) -> None:
    """What a forged run id names is no folder, and a link in the way of an image is replaced, not followed."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (path, _) = evidence_paths_of(recorded)
    folder = tmp_path / "set_images"
    folder.mkdir()
    (folder / f"..%2F..%2Fx%2F-{Path(path).name}").symlink_to(victim)
    alter(recorded, "UPDATE runs SET run_id = '../../x/'")
    export(recorded, Table.EVENTS, Format.COCO, Selection(), tmp_path / "set.json")

    assert victim.read_text() == "mine"
    assert sorted(file.is_symlink() for file in folder.iterdir()) == [False, False]


@pytest.mark.parametrize("sql", ["UPDATE events SET first_seen_utc = 9e99", "UPDATE runs SET classes = '{'"])
def test_damaged_records_are_one_sentence(recorded: Path, tmp_path: Path, sql: str) -> None:
    """What no program of ours wrote is said to be so, and nothing half is left."""
    alter(recorded, sql)
    with pytest.raises(RunError, match="the records are damaged"):
        export(recorded, Table.EVENTS, Format.CSV, Selection(), tmp_path / "e.csv")
    assert not (tmp_path / "e.csv").exists()


def evidence_paths_of(records: Path) -> list[str]:
    with closing(open_reader(records)) as connection:
        return [path for (path,) in connection.execute("SELECT path FROM evidence ORDER BY evidence")]


def test_a_reader_sees_no_half_schema(recorded: Path) -> None:
    """The export's connection cannot write."""
    with closing(open_reader(recorded)) as connection, pytest.raises(Exception, match="readonly"):
        connection.execute("DELETE FROM runs")
