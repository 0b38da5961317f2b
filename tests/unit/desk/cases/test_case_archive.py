# SPDX-License-Identifier: AGPL-3.0-or-later
"""A case's archive: what it holds is what the rows say, and what it does not hold is named in it."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import sqlite3
import subprocess
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO, StringIO
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import pytest
from tests.fakes.challenge_plans import challenged
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords
from typer.testing import CliRunner

from vision_line.cli.main import cli
from vision_line.desk.cases import case_zip
from vision_line.desk.cases.case_contents import read_contents
from vision_line.desk.cases.event_lookup import events_by_number
from vision_line.desk.cases.record_check import CheckedRecord, checked
from vision_line.desk.cases.zip_stream import CHUNK
from vision_line.errors import RunError
from vision_line.records.schema import open_reader
from vision_line.reviews.answer import Answer, ItemKey, ItemKind, ReviewVerdict
from vision_line.reviews.answer_journal import append_answer
from vision_line.reviews.cases import CaseEvent, Cases
from vision_line.reviews.review_plan import is_for_two
from vision_line.reviews.reviews_file import FILE_NAME, writing

HOLDS = CheckedRecord(True, "entries 1 to 9, head 00", BEGAN_UTC)
NOW_UTC = BEGAN_UTC + 3600
SECRET = "Sup3r-Geheim"  # noqa: S105 - of a made-up camera


def make_case(records: Path, *numbers: int, name: str = "Claim 7") -> int:
    """Make a case of events by their numbers."""
    connection = open_reader(records)
    try:
        return Cases(records).make(name, "the customer's words", events_by_number(connection, numbers), by="rita")
    finally:
        connection.close()


def pieces(records: Path, number: int, record: CheckedRecord = HOLDS, person: str | None = None) -> Iterator[bytes]:
    """Return the archive of a case, as it is sent to a person."""
    case = Cases(records).find(number)
    assert case is not None
    connection = open_reader(records)
    try:
        return case_zip.archive(read_contents(connection, records, case, NOW_UTC, person), record)
    finally:
        connection.close()


def unpacked(records: Path, number: int, record: CheckedRecord = HOLDS, person: str | None = None) -> dict[str, bytes]:
    """Return the files of a case's archive by their path below its one folder."""
    with ZipFile(BytesIO(b"".join(pieces(records, number, record, person)))) as found:
        assert found.testzip() is None
        return {name.removeprefix(f"case-{number}/"): found.read(name) for name in found.namelist()}


def table(data: bytes) -> list[dict[str, str]]:
    """Return a CSV table's rows."""
    return list(csv.DictReader(StringIO(data.decode("utf-8-sig"), newline="")))


@pytest.fixture
def filled(rows: DeskRecords) -> DeskRecords:
    """Return records of three events with images, of which the first has a clip."""
    run = rows.run(0, 600, "cam01", "cam02")
    for at_s, camera in ((30, "cam01"), (40, "cam02"), (50, "cam01")):
        number = rows.event(run, camera, at_s)
        rows.images(number, f"jpeg {number}".encode())
    rows.clip(run, "cam01", 1, b"mp4 of one")
    return rows


def test_it_holds_what_the_rows_say(filled: DeskRecords) -> None:
    """Images and clips by their own hash, the rows as CSV and JSON, and the sums of all."""
    found = unpacked(filled.directory, make_case(filled.directory, 3, 1))
    first, second = "events/0001-cam01-20261128T200030Z", "events/0002-cam01-20261128T200050Z"
    assert found[f"{first}/image.jpg"] == b"jpeg 1"
    assert found[f"{first}/overlay.jpg"] == b"jpeg 1 overlay"
    assert found[f"{second}/crop.jpg"] == b"jpeg 3 crop"
    assert found["clips/0001-cam01-20261128T200000Z.mp4"] == b"mp4 of one"
    events = table(found["rows/events.csv"])
    assert [event["event_id"] for event in events] == ["event 1", "event 3"]
    assert events[0]["evidence_sha256"] == hashlib.sha256(found[f"{first}/image.jpg"]).hexdigest()
    assert [event["event_id"] for event in json.loads(found["rows/events.json"])] == ["event 1", "event 3"]
    assert [clip["sha256"] for clip in table(found["rows/clips.csv"])] == [hashlib.sha256(b"mp4 of one").hexdigest()]
    assert len(table(found["rows/runs.csv"])) == 1
    assert [camera["camera"] for camera in table(found["rows/cameras.csv"])] == ["cam01"]
    settings = json.loads(found["rows/settings.json"])
    assert [one["settings"]["reject_threshold"] for one in settings] == [0.5, 0.5]
    assert {one["state"] for one in table(found["rows/files.csv"])} == {"whole"}
    case = json.loads(found["rows/case.json"])
    assert (case["name"], case["made_by"], [one["what"] for one in case["entries"]]) == (
        "Claim 7",
        "rita",
        ["case_made"],
    )
    sums = dict(line.split("  ")[::-1] for line in found["SHA256SUMS"].decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in found.items() if name != "SHA256SUMS"}
    assert b"Nothing is missing" in found["README.txt"]


def test_events_of_challenge_parts_are_marked(filled: DeskRecords) -> None:
    challenged(filled.directory, "cam01", BEGAN_UTC + 45, BEGAN_UTC + 55)
    found = unpacked(filled.directory, make_case(filled.directory, 1, 3))
    assert [one["challenge_part"] for one in json.loads(found["rows/case.json"])["events"]] == [False, True]
    assert found["index.html"].decode().count("◇ challenge part") == 1
    assert b"no products: 1 of them" in found["README.txt"]


def test_the_journal_is_named(filled: DeskRecords) -> None:
    """The head of the record, that of the reviews, and where each event is."""
    found = json.loads(unpacked(filled.directory, make_case(filled.directory, 1))["rows/journal.json"])
    number, digest = filled.connection.execute("SELECT number, digest FROM journal ORDER BY number DESC").fetchone()
    assert found["record_head"] == {"entry": number, "sha256": digest.hex()}
    assert len(found["reviews_head"]["sha256"]) == 64
    assert found["record_checked"]["holds"] is True


def test_reviews_of_its_events_are_in_it(filled: DeskRecords) -> None:
    """What counts of each person, on the first page too; of other events nothing."""
    number = make_case(filled.directory, 1)
    case = Cases(filled.directory).find(number)
    assert case is not None
    (event,) = case.events
    with writing(filled.directory) as connection:
        for event_id, verdict in ((event.event_id, ReviewVerdict.OVERRULED), ("event 2", ReviewVerdict.CONFIRMED)):
            item = ItemKey(ItemKind.EVENT, event.run_id, event_id)
            append_answer(connection, Answer(item=item, person="rosa", verdict=verdict, note="a shadow <b>"))
    found = unpacked(filled.directory, number)
    (review,) = json.loads(found["rows/reviews.json"])
    assert (review["event_id"], review["by"], review["verdict"]) == ("event 1", "rosa", "overruled")
    assert "<b>overruled</b> by rosa" in found["index.html"].decode()
    assert "a shadow &lt;b&gt;" in found["index.html"].decode()


def test_an_answer_that_waits_for_a_blind_second_is_its_author_s_alone(
    filled: DeskRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reviewer who puts the event in a case learns nothing; a minute after the second answer it is in it."""
    named = {n: f"event {n}" for n in range(4, 100)}
    last = next(n for n, own in named.items() if is_for_two(f"event/run at 0/{own}"))
    for at_s in range(4, last + 1):
        filled.event(1, "cam01", at_s)
    number = make_case(filled.directory, last)
    item = ItemKey(ItemKind.EVENT, "run at 0", named[last])

    def said(person: str, verdict: ReviewVerdict) -> None:
        with writing(filled.directory) as connection:
            append_answer(connection, Answer(item=item, person=person, verdict=verdict))

    said("rosa", ReviewVerdict.OVERRULED)
    for person, sees in (("vera", False), ("rosa", True), (None, True)):
        found = unpacked(filled.directory, number, person=person)
        assert len(json.loads(found["rows/reviews.json"])) == sees
        assert ("overruled" in found["index.html"].decode()) is sees
    said("vera", ReviewVerdict.CONFIRMED)
    assert not json.loads(unpacked(filled.directory, number, person="otto")["rows/reviews.json"])
    now_utc = time.time()
    monkeypatch.setattr(time, "time", lambda: now_utc + 61.0)
    assert len(json.loads(unpacked(filled.directory, number, person="otto")["rows/reviews.json"])) == 2


def test_reviews_that_somebody_changed_are_found_out(filled: DeskRecords) -> None:
    make_case(filled.directory, 1)
    assert checked(filled.directory, lambda _done, _total: None).holds
    with closing(sqlite3.connect(filled.directory / FILE_NAME)) as connection:
        connection.execute("INSERT INTO journal VALUES (2, 'case_closed', '1', 0.0, '{}', x'00')")
        connection.commit()
    found = checked(filled.directory, lambda _done, _total: None)
    assert found.holds is False
    assert "entry 2 is not what was written" in found.said


def test_sha256sum_checks_it(filled: DeskRecords, tmp_path: Path) -> None:
    into = tmp_path / "unpacked"
    with ZipFile(BytesIO(b"".join(pieces(filled.directory, make_case(filled.directory, 1, 2, 3))))) as found:
        found.extractall(into)
    said = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=into / "case-1", check=True, capture_output=True, text=True
    ).stdout
    assert said.count(": OK") == 9 + 1 + 8 + 5 + 2


def test_the_same_case_is_the_same_archive(filled: DeskRecords) -> None:
    """Names, order, and bytes, but for when it is made."""
    number = make_case(filled.directory, 2, 1, 3)
    assert b"".join(pieces(filled.directory, number)) == b"".join(pieces(filled.directory, number))


def test_a_file_that_is_not_there_is_named(filled: DeskRecords) -> None:
    """Removed by the rules, gone, another one, never kept, behind a link: each is named."""
    run = filled.connection.execute("SELECT run FROM runs").fetchone()[0]
    directory = filled.directory
    without = filled.event(run, "cam02", 60)
    evidence = directory / "evidence/2026-11-28/cam"
    (evidence / "1.jpg").unlink()
    (evidence / "1.overlay.jpg").write_bytes(b"another")
    (evidence / "1.crop.jpg").unlink()
    (evidence / "1.crop.jpg").symlink_to("/etc/passwd")
    (directory / "clips/2026-11-28/cam01/1.mp4").write_bytes(b"another clip")
    filled.connection.execute(
        "UPDATE evidence SET deleted_utc = ?, deleted_why = 'prune' WHERE evidence = 2", (BEGAN_UTC,)
    )
    found = unpacked(directory, make_case(directory, 1, 2, without))
    states = {(one["what"], one["recorded_as"]): (one["state"], one["file"]) for one in table(found["rows/files.csv"])}
    base = "evidence/2026-11-28/cam/"
    assert states["untouched image", f"{base}1.jpg"] == ("gone", "")
    assert states["image with boxes", f"{base}1.overlay.jpg"] == ("changed", "")
    assert states["enlarged defect", f"{base}1.crop.jpg"] == ("changed", "")
    assert states["untouched image", f"{base}2.jpg"] == ("removed", "")
    assert states["clip", "clips/2026-11-28/cam01/1.mp4"] == ("changed", "")
    assert states["untouched image", ""] == ("never kept", "")
    assert not [name for name in found if name.endswith((".jpg", ".mp4"))]
    readme, index = found["README.txt"].decode(), found["index.html"].decode()
    for said in ("it is not there", "SHA-256 is", "prune", "leads"):
        assert said in readme
        assert said in index
    assert readme.count("\r\n- events/") == 9
    assert b"root:" not in b"".join(found.values())


def test_an_event_whose_row_was_removed_is_named(filled: DeskRecords) -> None:
    """The case still says what it was."""
    number = make_case(filled.directory, 1, 2)
    filled.connection.execute("DELETE FROM evidence WHERE event_id = 'event 2'")
    filled.connection.execute("DELETE FROM events WHERE event = 2")
    found = unpacked(filled.directory, number)
    assert [one["row"] for one in json.loads(found["rows/case.json"])["events"]] == [
        "in the records",
        "removed from the records",
    ]
    assert "event event 2 of cam02: removed from the records" in found["README.txt"].decode()
    assert len(table(found["rows/events.csv"])) == 1


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (HOLDS, "was what was written"),
        (CheckedRecord(False, "entry 3 is another one", BEGAN_UTC), "THE RECORD IS NOT WHAT WAS WRITTEN"),
        (CheckedRecord(None, "a package is missing", BEGAN_UTC), "NOT CHECKED"),
    ],
)
def test_the_first_page_says_whether_the_record_holds(filled: DeskRecords, record: CheckedRecord, says: str) -> None:
    found = unpacked(filled.directory, make_case(filled.directory, 1), record)
    for name in ("README.txt", "index.html"):
        text = found[name].decode()
        assert says in text
        assert record.said in text
    assert ("✔" in found["index.html"].decode()) is (record.holds is True)


def test_a_record_that_somebody_changed_is_found_out(filled: DeskRecords) -> None:
    """By the check that the archive's first page quotes."""
    assert checked(filled.directory, lambda _done, _total: None).holds
    filled.connection.execute("UPDATE events SET score = 0.1 WHERE event = 1")
    assert checked(filled.directory, lambda _done, _total: None).holds is False


WINDOWS = re.compile(r"[A-Za-z0-9._-]+")
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
HOSTILE = [
    '..\\..\\x:y*?"<>|',
    "../../etc",
    "CON",
    "nul.txt",
    "a" * 300,
    "\x00\x1b[2J",
    "ä\u202e漢字",
    " . ",
    "-rf",
    "=1+1",
]


@pytest.mark.parametrize("camera", HOSTILE)
def test_names_are_taken_by_windows(rows: DeskRecords, camera: str) -> None:
    """Whatever a camera is called; and the tables run nothing."""
    run = rows.run(0, 100, camera)
    number = rows.event(run, camera, 1, class_name="<script>alert(1)</script>")
    rows.images(number, b"jpeg")
    Cases(rows.directory).make("../<b>&\"'", "x", [], by="<i>rita</i>")
    found = unpacked(rows.directory, make_case(rows.directory, number, name="<script>x</script>"))
    for name in found:
        assert len(name) < 120
        for part in name.split("/"):
            assert WINDOWS.fullmatch(part)
            assert not RESERVED.match(part)
            assert not part.endswith((".", " "))
    assert "<script>" not in found["index.html"].decode()
    assert table(found["rows/events.csv"])[0]["camera"][:1] != "="


def test_two_names_are_never_one_on_windows(rows: DeskRecords) -> None:
    """Where large and small letters are the same."""
    run = rows.run(0, 100, "cam", "CAM", "c/a/m", "c:a:m")
    numbers = [rows.event(run, camera, 1) for camera in ("cam", "CAM", "c/a/m", "c:a:m")]
    for number in numbers:
        rows.images(number, b"jpeg")
    names = list(unpacked(rows.directory, make_case(rows.directory, *numbers)))
    assert len({name.lower() for name in names}) == len(names)


def test_no_camera_secret_is_in_it(rows: DeskRecords) -> None:
    run = rows.run(0, 100)
    rows.camera(run, "cam01", 0, f"rtsp://admin:{SECRET}@10.0.0.1/live?password={SECRET}")
    found = unpacked(rows.directory, make_case(rows.directory, rows.event(run, "cam01", 1)))
    assert SECRET.encode() not in b"".join(found.values())


def test_an_older_version_recorded_no_hash(filled: DeskRecords) -> None:
    """The file is in it, and is said to be unproved."""
    filled.connection.execute("UPDATE evidence SET overlay_sha256 = NULL")
    found = unpacked(filled.directory, make_case(filled.directory, 1))
    assert [one["state"] for one in table(found["rows/files.csv"])] == [
        "whole",
        "no hash was recorded",
        "whole",
        "whole",
    ]


def test_memory_does_not_grow_with_clips(rows: DeskRecords) -> None:
    """Of 64 MB of clips hardly more than one piece is held."""
    run = rows.run(0, 600, "cam01")
    for at_s in range(16):
        rows.clip(run, "cam01", rows.event(run, "cam01", at_s), bytes([at_s]) * (4 << 20))
    archive = pieces(rows.directory, make_case(rows.directory, *range(1, 17)))
    tracemalloc.start()
    try:
        size = sum(map(len, archive))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 64 << 20
    assert peak < 12 * CHUNK


def test_a_file_that_changes_while_it_is_copied_ends_the_archive(filled: DeskRecords) -> None:
    """It is not whole then, and does not look so."""
    path = filled.directory / "clips/2026-11-28/cam01/1.mp4"
    large = b"x" * (2 * CHUNK)
    path.write_bytes(large)
    filled.connection.execute("UPDATE clips SET sha256 = ?", (hashlib.sha256(large).hexdigest(),))
    archive = pieces(filled.directory, make_case(filled.directory, 1))
    sent = bytearray()
    while b".mp4" not in sent:
        sent += next(archive)
    path.write_bytes(b"y" * (2 * CHUNK))
    with pytest.raises(RunError, match="was changed while it was copied"):
        sent.extend(b"".join(archive))
    with pytest.raises(BadZipFile):
        ZipFile(BytesIO(sent))


def test_the_command_lists_and_exports(filled: DeskRecords, tmp_path: Path) -> None:
    """Also a record that does not hold: then the exit code is 5, and the archive is there."""
    records = filled.directory
    make_case(records, 1, name="Claim 7")
    make_case(records, 2, 3, name="second\x1b[2J")
    Cases(records).close(2, by="anna")
    runner = CliRunner()
    listed = runner.invoke(cli, ["case", "list", "--record", str(records)])
    assert listed.output.splitlines() == ["1\topen\t1\trita\tClaim 7", "2\tclosed\t2\trita\tsecond\\x1b[2J"]
    output = tmp_path / "out.zip"
    export = ["case", "export", "1", "--record", str(records), "-o", str(output)]
    assert runner.invoke(cli, export).exit_code == 0
    with ZipFile(output) as found:
        assert "was what was written when it was checked" in found.read("case-1/README.txt").decode()
    filled.connection.execute("UPDATE events SET score = 0.1 WHERE event = 1")
    assert runner.invoke(cli, export).exit_code == 5
    with ZipFile(output) as found:
        assert "THE RECORD IS NOT WHAT WAS WRITTEN" in found.read("case-1/README.txt").decode()
        assert found.read("case-1/events/0001-cam01-20261128T200030Z/image.jpg") == b"jpeg 1"


def test_the_command_writes_over_nothing_that_is_kept(filled: DeskRecords) -> None:
    records = filled.directory
    make_case(records, 1)
    for name in ("reviews.sqlite", "records.sqlite"):
        refused = CliRunner().invoke(cli, ["case", "export", "1", "--record", str(records), "-o", str(records / name)])
        assert refused.exit_code == 2
        assert "would replace" in refused.output
    absent = CliRunner().invoke(cli, ["case", "export", "9", "--record", str(records)])
    assert absent.exit_code == 2
    assert "there is no case 9" in absent.output


def test_a_case_that_lost_all_its_events_is_still_handed_over(records: Path) -> None:
    Cases(records).make("empty", "", [CaseEvent("run", "event 1", "cam01", "open", BEGAN_UTC)], by="rita")
    found = unpacked(records, 1)
    assert "NOT IN THIS ARCHIVE" in found["README.txt"].decode()
    assert table(found["rows/events.csv"]) == []
