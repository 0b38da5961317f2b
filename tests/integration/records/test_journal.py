# SPDX-License-Identifier: AGPL-3.0-or-later
"""The journal: it says what the tables hold, through kills and removals, and whatever is changed in it is named."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vision_line.desk.inspected.doubted_time import read_doubts
from vision_line.desk.local_time import ChosenTime
from vision_line.errors import BrokenRecordError
from vision_line.frames import CameraState, ClockStep, CoverageMinute, EventPhase, NotInspected, StateChange
from vision_line.records import journal, journal_removal, journal_writer, retention
from vision_line.records.configuration_journal import enter_configuration, in_force
from vision_line.records.corrected_time import read_timeline
from vision_line.records.entries import (
    CameraLabels,
    CameraRecord,
    CamerasEntry,
    ClipEntry,
    ClockStepsEntry,
    ConfigurationEntry,
    CoverageEntry,
    Entry,
    EvidenceEntry,
    FileDeletedEntry,
    RunRecord,
    StatesEntry,
    inspected_entry,
)
from vision_line.records.evidence_files import reconcile
from vision_line.records.journal import OF_ITS_RUN, Kind
from vision_line.records.journal_check import Expected
from vision_line.records.lives import EndCause, end_run, inherit, life_now
from vision_line.records.log import SqliteLog
from vision_line.records.removal import prune
from vision_line.records.retention import DAY_S, SHELVES, Why, remove_batch
from vision_line.records.rows import INSERT_RUN, RowMaker, run_row
from vision_line.records.schema import FILE_NAME, RecordConnection, open_reader, open_writer, transaction
from vision_line.records.verification import Verified, verify

from .conftest import Line

NOW = time.time()
OpenLog = Callable[..., SqliteLog]


def verified(records: Path, head: str | None = None, key: str | None = None, *, images: bool = False) -> Verified:
    return verify(records, Expected(head, key), lambda done, total: None, images=images)


def broken(records: Path) -> str:
    """Return what does not fit, "" where all does."""
    try:
        verified(records)
    except BrokenRecordError as exc:
        return str(exc)
    return ""


def head_of(records: Path) -> str:
    return verified(records).journal.head.digest.hex()


def changed(records: Path, *statements: str) -> None:
    """Change the file as somebody else would, with a program of their own."""
    with closing(sqlite3.connect(records / FILE_NAME)) as connection, connection:
        for sql in statements:
            assert connection.execute(sql).rowcount


def test_the_journal_says_what_the_tables_hold(written: Path, open_log: OpenLog) -> None:
    """After a run, while the next one writes, and after it: one chain."""
    first = verified(written, images=True)
    log = open_log()
    log.write_states([StateChange("cam01", CameraState.RUNNING, 1.0, NOW)])
    verified(written, first.journal.head.digest.hex(), images=True)
    log.close()
    second = verified(written, first.journal.head.digest.hex())

    assert first.images is not None
    assert (first.images.images, first.images.unsettled, first.images.lost) == (6, 0, 0)
    assert first.journal.first == second.journal.first == 1
    assert first.journal.head.number < second.journal.head.number
    assert (first.journal.before, first.journal.under_way) == ({}, 0)


def test_what_may_be_wrong_is_an_entry_of_its_own(records: Path, open_log: OpenLog) -> None:
    """Also of a run that ends with it: what is accepted is committed."""
    log = open_log()
    log.write_doubt(1000.0, 1600.0, "cpu: it computes wrongly now")
    log.close(EndCause.FAILED)
    verified(records)
    with closing(open_reader(records)) as connection:
        found = connection.execute("SELECT run, key, body FROM journal WHERE kind = 'doubt'").fetchall()
    ((run, key, body),) = found
    assert (run, key) == (1, "engine")
    assert json.loads(body) == {"since_utc": 1000.0, "until_utc": 1600.0, "why": "cpu: it computes wrongly now"}


def test_anybody_can_check_the_chain(written: Path) -> None:
    """As docs/records.md describes it, without a line of ours."""
    digest = bytes(32)
    kinds = []
    with closing(sqlite3.connect(written / FILE_NAME)) as connection:
        for *head, body, found in connection.execute("SELECT * FROM journal ORDER BY number"):
            text = json.dumps(head, ensure_ascii=False, separators=(",", ":")) + "\n" + body
            digest = sha256(digest + text.encode()).digest()
            assert digest == found
            kinds.append(head[2])

    assert digest.hex() == head_of(written)
    assert kinds[0] == "begin"
    assert {"run", "camera", "state", "event", "minute", "interval", "evidence", "detections", "clock_step"} <= {*kinds}


#: What somebody may do to the records, and how the first entry is named that does not fit.
TAMPERED = {
    "a score": ("UPDATE detections SET score = 0.1 WHERE detection = 2", r"\(detections .*their digest"),
    "a detection away": ("DELETE FROM detections WHERE detection = 3", r"\(detections .*detection 3 is missing"),
    "a detection more": (
        "INSERT INTO detections SELECT 99, " + ", ".join(journal.DETECTION_COLUMNS[1:]) + " FROM detections"
        " WHERE detection = 1",
        "row 99 has no entry",
    ),
    "a verdict": ("UPDATE events SET verdict = 'accept' WHERE event_id = 'e1'", r"\(event e1, .*is another one"),
    "an event away": ("DELETE FROM events WHERE event_id = 'e1'", r"\(event e1, .*is missing from table events"),
    "a minute": ("UPDATE coverage SET inspected = inspected + 1 WHERE minute = 2", r"\(minute cam01/.*is another one"),
    "an interval away": ("DELETE FROM not_inspected", r"\(interval i0, .*is missing from table not_inspected"),
    "a cause": ("UPDATE not_inspected SET cause = 'off'", r"\(interval i0, .*is another one"),
    "an interval more": (
        "INSERT INTO not_inspected SELECT 77, run, camera, station, recipe, 'x', cause, 1, 1, 2, 2 FROM not_inspected",
        "row x has no entry",
    ),
    "a state": ("UPDATE states SET state = 'LOST'", r"\(state cam01/1, .*is another one"),
    "a camera": ("UPDATE cameras SET settings = '{}'", r"\(camera cam01/.*is another one"),
    "a model": ("UPDATE runs SET model_sha256 = ''", r"\(run .*is another one"),
    "a clock step": ("UPDATE clock_steps SET to_utc = 1", r"\(clock_step 1, .*is another one"),
    "an image's digest": ("UPDATE evidence SET sha256 = '' WHERE event_id = 'e0'", r"\(evidence e0, .*is another one"),
    "a body": ("UPDATE journal SET body = replace(body, '0.9', '0.8') WHERE key = 'e1'", r"\(event e1, .*was changed"),
    "a digest": ("UPDATE journal SET digest = zeroblob(32) WHERE number = 5", r"^entry 5 .*was changed"),
    "a time": ("UPDATE journal SET at_utc = at_utc + 1 WHERE number = 5", r"^entry 5 .*was changed"),
    "an entry away": ("DELETE FROM journal WHERE number = 5", r"^entry 6 .*expected entry 5"),
    "the beginning away": ("DELETE FROM journal WHERE number < 5", "does not say where it begins"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_changed_is_named(written: Path, name: str) -> None:
    """The first entry that does not fit, or the row that has none."""
    sql, words = TAMPERED[name]
    changed(written, sql)

    with pytest.raises(BrokenRecordError, match=words):
        verified(written)


def test_the_command_names_it_and_has_its_exit_code(written: Path) -> None:
    """5 for what does not hold, 2 for a head that is none, 0 and the head where all holds; 4 where nothing is."""

    def command(*options: str) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "-m", "vision_line", "verify", *options]
        return subprocess.run(call, text=True, capture_output=True, check=False, timeout=60)

    whole = command(str(written), "--pictures")
    assert (whole.returncode, whole.stdout.splitlines()[-1]) == (0, f"head {head_of(written)}")
    assert "images: 6 hold" in whole.stdout
    assert command(str(written), "--head", "5f0c").returncode == 2
    assert command(str(written / "nowhere")).returncode == 4
    changed(written, "UPDATE events SET verdict = 'accept' WHERE event_id = 'e1'")
    broken = command(str(written))
    assert broken.returncode == 5
    assert "(event e1, " in broken.stderr


def test_a_deleted_end_is_found_by_a_head_that_was_kept(written: Path) -> None:
    """Also where the rows of those entries went with them; without a kept head nothing tells."""
    head = head_of(written)
    verified(written, head)
    changed(
        written,
        "DELETE FROM journal WHERE number = (SELECT max(number) FROM journal)",
        "UPDATE runs SET ended_utc = NULL, end_cause = NULL",
    )

    with pytest.raises(BrokenRecordError, match=f"has the digest {head}"):
        verified(written, head)


def test_images_are_what_was_recorded(written: Path) -> None:
    """One byte, and one image that is gone."""
    image = min(written.rglob("*.overlay.jpg"))
    data = image.read_bytes()
    image.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    verified(written)
    with pytest.raises(BrokenRecordError, match=rf"evidence e\d: .*{image.name}.*SHA-256 differs"):
        verified(written, images=True)
    image.unlink()
    with pytest.raises(BrokenRecordError, match=r"evidence e\d: an image of .* is missing"):
        verified(written, images=True)


def test_a_lost_image_differs_from_one_that_was_removed(written: Path, open_log: OpenLog) -> None:
    """The start after a kill notes the one as lost; what is pruned says so."""
    for image in written.rglob("*-0*.jpg"):
        image.unlink()
    changed(written, "UPDATE runs SET end_cause = NULL, ended_utc = NULL")  # as a kill leaves it
    open_log().close()
    with closing(open_writer(written / FILE_NAME)):
        pass
    prune(written, 1, 0, NOW + 9 * DAY_S, dry_run=False)
    found = verified(written, images=True)

    assert found.images is not None
    assert (found.images.images, found.images.lost) == (0, 1)
    with closing(open_reader(written)) as connection:
        assert [*map(tuple, connection.execute("SELECT deleted_why FROM evidence ORDER BY 1"))] == [
            ("lost",),
            ("prune",),
        ]


def test_a_file_without_a_journal_gets_one(records: Path, open_log: OpenLog, caplog: pytest.LogCaptureFixture) -> None:
    """Its rows are from before; those that change, and what comes, are covered."""
    records.mkdir()
    with closing(sqlite3.connect(records / FILE_NAME)) as connection:
        connection.executescript((Path(__file__).parent / "old_files" / "schema2.sql").read_text())
    caplog.set_level("INFO")
    log = open_log()
    log.write_states([StateChange("cam01", CameraState.RUNNING, 1.0, NOW)])
    log.close()
    found = verified(records).journal
    assert "journal begins at 20" in caplog.text

    assert found.began_utc == pytest.approx(time.time(), abs=60)
    assert found.before
    assert "runs" not in found.before
    changed(records, "UPDATE runs SET host = 'elsewhere' WHERE run = 1")
    with pytest.raises(BrokenRecordError, match=r"\(run .*is another one"):
        verified(records)


class Recorder:
    """Writes as a run does, by its own parts but without threads and waiting, so that a kill is a closed connection."""

    def __init__(self, records: Path) -> None:
        records.mkdir()
        self.records = records
        self.line = Line()
        self.utc = NOW
        self.count = 0
        self.start()

    def start(self) -> None:
        self.connection: RecordConnection = open_writer(self.records / FILE_NAME)
        reconcile(self.connection, self.records, self.utc)
        with transaction(self.connection):
            inherit(self.connection, 0.0, life_now(self.utc))
            run = RunRecord("0", self.utc, "", "m", "", "int8", "cpu", "h")
            row = run_row(run, ["open", "short"], evidence=True)
            self.run = self.connection.execute(INSERT_RUN, row).lastrowid or 0
        self.maker = RowMaker(self.run, ["open", "short"], [])
        self.late: CoverageMinute | None = None
        self.clock = 0  # how often it was set in this run, as the ledger numbers its minutes
        self.write([CamerasEntry((CameraRecord("cam01", "", "", "", f'{{"n":{self.run}}}'),), self.utc)])

    def write(self, group: list[Entry]) -> None:
        with transaction(self.connection):
            for entry in group:
                for sql, rows in self.maker.statements(entry):
                    self.connection.executemany(sql, rows)

    def kill(self) -> None:
        """In the middle of a transaction, and start again."""
        self.connection.execute("BEGIN IMMEDIATE")
        for sql, rows in self.maker.statements(self.detections(2)):
            self.connection.executemany(sql, rows)
        self.connection.close()
        self.start()

    def end(self) -> None:
        with transaction(self.connection):
            end_run(self.connection, self.run, self.utc, EndCause.STOPPED)
        self.connection.close()

    def restart(self) -> None:
        self.end()
        self.start()

    def detections(self, found: int) -> Entry:
        self.count += 1
        return inspected_entry(self.line.inspection(self.count, found, arrived_utc=self.utc), [])

    def several(self) -> None:
        self.write([self.detections(3), self.detections(1)])

    def event(self) -> None:
        self.count += 1
        seen = self.line.inspection(self.count, 1, arrived_utc=self.utc)
        name = f"e{self.count}"
        data = f"image {name}".encode()
        path = f"evidence/{name}.jpg"
        (self.records / "evidence").mkdir(exist_ok=True)
        (self.records / path).write_bytes(data)
        image = EvidenceEntry(name, self.utc, path, sha256=sha256(data).hexdigest(), size=len(data))
        self.write([inspected_entry(seen, [self.line.event(seen, name)]), image])
        self.write([inspected_entry(seen, [self.line.event(seen, name, EventPhase.END)])])

    def clip(self) -> None:
        self.count += 1
        name = f"c{self.count}"
        data = f"clip {name}".encode()
        path = f"clips/2026-01-31/cam01/{self.run}-{name}.mp4"
        (self.records / path).parent.mkdir(parents=True, exist_ok=True)
        (self.records / path).write_bytes(data)
        times = (self.utc, 1.0, self.utc + 5.0, 6.0)
        entry = ClipEntry(name, "cam01", (f"e{self.count}",), CameraLabels(), self.utc, *times, "h264", 9)
        self.write([replace(entry, path=path, sha256=sha256(data).hexdigest(), size=len(data))])

    def removed_clip(self) -> None:
        sql = "SELECT run, clip_id, path FROM clips WHERE path IS NOT NULL AND deleted_utc IS NULL"
        for run, name, path in self.connection.execute(f"{sql} ORDER BY clip LIMIT 1").fetchall():
            (self.records / path).unlink()
            self.write([FileDeletedEntry("clips", run, (name,), self.utc, "clips_max_mb")])

    def removed_image(self) -> None:
        sql = "SELECT run, event_id, path FROM evidence WHERE path IS NOT NULL AND deleted_utc IS NULL"
        for run, name, path in self.connection.execute(f"{sql} ORDER BY evidence LIMIT 1").fetchall():
            (self.records / path).unlink()
            self.write([FileDeletedEntry("evidence", run, (name,), self.utc, "evidence_max_mb")])

    def minutes(self) -> None:
        """One that goes on, and is then over; the one after it goes on for longer."""
        minute = int(self.utc // 60 * 60)
        if self.late is not None:
            self.write([CoverageEntry((replace(self.late, provisional=False),), ())])
        self.late = CoverageMinute("cam01", minute + 60, 1, 1, 1, clock=self.clock, provisional=True)
        for is_over in (False, True):
            own = CoverageMinute("cam01", minute, 5, 5, 5 + is_over, clock=self.clock, provisional=not is_over)
            rows = (own, self.late) if is_over else (own,)
            gaps = tuple(
                NotInspected(
                    f"i{self.count}-{n}", "cam01", "log", 1.0, self.utc, 2.0, self.utc + 1, withdrawn=withdrawn
                )
                for n, withdrawn in ((0, False), (1, is_over))
            )
            self.write([CoverageEntry(rows, gaps)])
        self.count += 1

    def state(self) -> None:
        self.write([StatesEntry((StateChange("cam01", CameraState.RUNNING, 1.0, self.utc),))])

    def clock_step(self) -> None:
        self.count += 1
        self.write([ClockStepsEntry((ClockStep(self.count, 1.0, self.utc, self.utc - 1800),))])
        self.utc -= 1800
        self.clock += 1

    def configure(self) -> None:
        """Settings that change with every run, and a probability that every run says for itself."""
        said = {
            "section/shifts": {"count": self.count // 2},
            f"{OF_ITS_RUN}cam01": {"probability": self.run / 100, "since_sequence": 0},
        }
        self.count += 1
        with transaction(self.connection):
            enter_configuration(
                self.connection, self.connection.journal, ConfigurationEntry("start", said, None, {}), self.run
            )

    def later(self) -> None:
        self.utc += DAY_S / 2

    def remove(self, *, by_size: bool = False) -> None:
        cutoff_utc, most = (float("-inf"), 1) if by_size else (self.utc - DAY_S, 0)
        before = self.in_force()
        for _ in range(5):
            with transaction(self.connection):
                timeline = read_timeline(self.connection, self.utc)
                remove_batch(self.connection, timeline, cutoff_utc, most, self.utc, shelves=SHELVES, why=Why.PRUNE)
        assert self.in_force() == before

    def in_force(self) -> dict[str, object]:
        """Return what is configured, but for what each run has its own of."""
        return {key: said for key, said in in_force(self.connection).items() if not key.startswith(OF_ITS_RUN)}

    def remove_by_size(self) -> None:
        self.remove(by_size=True)


STEPS = [
    *(
        Recorder.kill,
        Recorder.restart,
        Recorder.configure,
        Recorder.several,
        Recorder.event,
        Recorder.removed_image,
        Recorder.clip,
        Recorder.removed_clip,
        Recorder.minutes,
    ),
    *(Recorder.state, Recorder.clock_step, Recorder.later, Recorder.remove, Recorder.remove_by_size),
]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups, batches and windows so small that a few rows fill several."""
    monkeypatch.setattr(journal_writer, "GROUP_ROWS", 3)
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    monkeypatch.setattr(journal_removal, "SPARED_S", 0.0)


def recorded(folder: Path, steps: Sequence[Callable[[Recorder], None]]) -> Path:
    recorder = Recorder(folder / "records")
    for step in steps:
        step(recorder)
    recorder.end()
    return recorder.records


ANY_STEPS = st.lists(st.sampled_from(STEPS), max_size=40)
QUICK = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.mark.usefixtures("small")
@given(steps=ANY_STEPS)
@QUICK
def test_whatever_happens_it_holds(steps: Sequence[Callable[[Recorder], None]]) -> None:
    """Writing, kills, restarts, removals and steps of the clock in any order."""
    with tempfile.TemporaryDirectory() as folder:
        verified(recorded(Path(folder), steps), images=True)


#: Columns that no entry covers, as docs/records.md says.
UNCOVERED = {"runs": {"alive_utc", "alive_boot_s"}}
COVERED = ("runs", "cameras", "events", "coverage", "not_inspected", "states", "evidence", "removals", "detections")


def flip(records: Path, choice: random.Random) -> str:
    """Change one value somewhere, as little as possible; return what."""
    with closing(sqlite3.connect(records / FILE_NAME)) as connection, connection:
        filled = [t for t in (*COVERED, "journal") if connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0]]
        table = choice.choice(filled)
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        column = choice.choice([name for name in names if name not in UNCOVERED.get(table, ())])
        rows = connection.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
        rowid, value = choice.choice(rows)
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (flipped(value, choice), rowid))
    return f"{table}.{column} of row {rowid}: {value!r}"


def flipped(value: Any, choice: random.Random) -> Any:
    match value:
        case None:
            return "x"
        case int() | float():
            return value + 1000
        case bytes():
            place = choice.randrange(len(value))
            return value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
    place = choice.randrange(len(value) + 1)
    return value[:place] + "~" + value[place + 1 :]


@pytest.mark.usefixtures("small")
@given(steps=ANY_STEPS, seed=st.integers(0, 2**32))
@QUICK
def test_one_changed_value_is_found(steps: list[Callable[[Recorder], None]], seed: int) -> None:
    """In any row of any table, and in any entry."""
    with tempfile.TemporaryDirectory() as folder:
        records = recorded(Path(folder), [Recorder.event, Recorder.several, *steps, Recorder.minutes])
        whole = Path(folder) / "whole"
        shutil.copytree(records, whole)
        for change in range(5):
            try:
                what = flip(records, random.Random(seed + change))
            except sqlite3.IntegrityError:
                continue  # a type or a key that the table itself refuses
            assert broken(records), f"not found: {what}"
            shutil.rmtree(records)
            shutil.copytree(whole, records)


@pytest.mark.usefixtures("small")
def test_removed_rows_take_their_entries_with_them() -> None:
    """The journal does not grow for ever, keeps what still holds, and says where it begins."""
    with tempfile.TemporaryDirectory() as folder:
        days: list[Callable[[Recorder], None]] = [
            Recorder.event,
            Recorder.several,
            Recorder.minutes,
            Recorder.state,
            Recorder.later,
            Recorder.remove,
        ]
        records = recorded(Path(folder), days * 20)
        found = verified(records, images=True).journal
        with closing(open_reader(records)) as connection:
            entries, rows = (
                connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("journal", "events")
            )

        assert rows == 20  # their images are kept
        assert found.first > 200
        assert entries < 200  # of 360
        assert found.began_utc < found.since_utc
        changed(records, "DELETE FROM journal WHERE number = (SELECT min(number) FROM journal)")
        with pytest.raises(BrokenRecordError, match=f"expected entry {found.first} before it"):
            verified(records)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("by_size", [False, True])
def test_what_may_be_wrong_is_said_as_long_as_there_are_records(by_size: bool) -> None:
    """Detections go long before the minutes that say that all was inspected, and parts stay for longer still."""
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(Path(folder) / "records")
        recorder.several()
        with transaction(recorder.connection):
            doubted = {"since_utc": recorder.utc, "until_utc": recorder.utc + 60, "why": "it computes wrongly now"}
            recorder.connection.journal.append(Kind.DOUBT, "engine", doubted, recorder.run)
        while recorder.connection.execute("SELECT 1 FROM journal WHERE kind = 'doubt'").fetchone():
            for step in (Recorder.several, Recorder.minutes, Recorder.later, Recorder.later):
                step(recorder)
            recorder.remove(by_size=by_size)
        recorder.end()

        with closing(open_reader(recorder.records)) as connection:
            sql = "SELECT body FROM journal WHERE kind = 'carried' AND key = 'doubt/engine'"
            assert [json.loads(body) for (body,) in connection.execute(sql)] == [doubted]
            assert [one.why for one in read_doubts(connection, ChosenTime(0.0, 9e9))] == [doubted["why"]]
        verified(recorder.records, images=True)


@pytest.mark.usefixtures("small")
def test_what_an_older_run_configured_is_not_in_force_again() -> None:
    """Of settings the newest entry stays, whichever run made it; of probabilities the newest of each run."""
    days: list[Callable[[Recorder], None]] = [Recorder.configure, Recorder.configure, Recorder.event, Recorder.several]
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(Path(folder) / "records")
        for step in [*days, Recorder.restart] * 3:
            step(recorder)
            recorder.later()
        set_last = recorder.in_force()
        while recorder.connection.execute("SELECT 1 FROM journal WHERE kind = 'configuration'").fetchone():
            for step in (Recorder.several, Recorder.later, Recorder.later, Recorder.later, Recorder.remove):
                step(recorder)
        assert recorder.in_force() == set_last
        recorder.end()

        with closing(open_reader(recorder.records)) as connection:
            sql = "SELECT key, run FROM journal WHERE kind = 'carried' AND key LIKE 'configuration/%' ORDER BY key, run"
            carried = [tuple(row) for row in connection.execute(sql)]
        audits = [(f"configuration/{OF_ITS_RUN}cam01", run) for run in (1, 2, 3)]
        assert carried == [*audits, ("configuration/section/shifts", 3)]
        verified(recorder.records, images=True)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE journal SET body = replace(body, 'x1', 'y1') WHERE kind = 'event'", r"\(event e1, .*was changed"),
        ("UPDATE journal SET body = 'no JSON' WHERE kind = 'begin'", "does not say where it begins"),
    ],
)
def test_a_beginning_that_was_changed_is_not_removed(sql: str, words: str) -> None:
    """What does not hold stays, to be found; and recording goes on."""
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(Path(folder) / "records")
        for step in (Recorder.event, Recorder.several, Recorder.minutes):
            step(recorder)
        changed(recorder.records, sql)
        for _ in range(6):
            recorder.later()
            recorder.remove()
        recorder.end()
        with pytest.raises(BrokenRecordError, match=words):
            verified(recorder.records)
