# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `verify` refuses beside changed values: another schema, forged rows, damage, lost images, a rewritten end."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from vision_line.errors import BrokenRecordError, RunError
from vision_line.frames import CoverageMinute
from vision_line.records.entries import CoverageEntry
from vision_line.records.journal import JournalEntry, chained
from vision_line.records.journal_tables import BY_KIND
from vision_line.records.log import SqliteLog
from vision_line.records.removal import prune
from vision_line.records.schema import FILE_NAME, open_writer
from vision_line.records.seal import load_public_key

from .test_journal import NOW, Recorder, broken, verified
from .test_journal_seals import key_files

OpenLog = Callable[..., SqliteLog]


def done(records: Path, *statements: str) -> None:
    """Change the file, its schema too, as somebody else would."""
    with closing(sqlite3.connect(records / FILE_NAME)) as connection:
        for sql in statements:
            connection.execute(sql)
            connection.commit()


def copied(records: Path, table: str, **values: str) -> str:
    """Return the statement that forges a row after the first of `table`, with other `values`."""
    with closing(sqlite3.connect(records / FILE_NAME)) as connection:
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    return f"INSERT INTO {table} SELECT {', '.join(values.get(name, name) for name in names)} FROM {table} LIMIT 1"


#: What somebody may do to the tables themselves, and what of it is named.
OTHER_SCHEMA = {
    "a computed column": (
        (
            "ALTER TABLE events RENAME COLUMN verdict TO verdict0",
            "ALTER TABLE events ADD COLUMN verdict TEXT GENERATED ALWAYS AS ('accept') VIRTUAL",
        ),
        "table events is not as",
    ),
    "a column away": (("ALTER TABLE events DROP COLUMN verdict",), "table events is not as"),
    "a column more": (("ALTER TABLE events ADD COLUMN x BLOB DEFAULT x'00'",), "table events is not as"),
    "a table away": (("DROP TABLE states",), "states.* is missing"),
    "no journal": (("DROP TABLE journal",), "journal.* is missing"),
    "a table more": (("CREATE TABLE x (a)",), "there is a table x"),
    "a view": (
        ("ALTER TABLE removals RENAME TO removals0", "CREATE VIEW removals AS SELECT * FROM removals0"),
        "table removals is missing",
    ),
    "a trigger": (
        ("CREATE TRIGGER t BEFORE INSERT ON events WHEN NEW.verdict = 'reject' BEGIN SELECT RAISE(IGNORE); END",),
        "there is a trigger t",
    ),
    "an index that hides a row": (
        (
            "DROP INDEX events_by_time",
            "CREATE INDEX events_by_time ON events (first_seen_utc) WHERE event_id <> 'e1'",
            "PRAGMA writable_schema = 1",
            "UPDATE sqlite_schema SET sql = 'CREATE INDEX events_by_time ON events (first_seen_utc)'"
            " WHERE name = 'events_by_time'",
        ),
        "damaged: row 2 missing from index events_by_time",
    ),
    "a row that is no text": (("UPDATE events SET class = CAST(x'ff' AS TEXT) WHERE event = 1",), "damaged"),
    "an entry that is no text": (("UPDATE journal SET body = CAST(x'ff' AS TEXT) WHERE number = 3",), "damaged"),
}


@pytest.mark.parametrize("name", OTHER_SCHEMA)
def test_another_schema_and_damage_are_named(written: Path, name: str) -> None:
    """With a sentence, and never a traceback."""
    statements, words = OTHER_SCHEMA[name]
    done(written, *statements)

    with pytest.raises(BrokenRecordError, match=words):
        verified(written)


def test_a_run_says_that_the_schema_is_another(
    written: Path, open_log: OpenLog, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on: what it records is not less for it."""
    done(written, "CREATE TABLE x (a)")
    open_log().close()

    assert "there is a table x, which vision-line does not make" in caplog.text


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The command takes it as an argument, and not as an option."""
    with pytest.raises(RunError, match=r"there is no folder .*gone: run it where .* name the folder of the records$"):
        verified(tmp_path / "gone")


def test_damage_has_the_exit_code_of_what_does_not_hold(written: Path) -> None:
    """5, as any other change."""
    done(written, "DROP TABLE states")
    call = [sys.executable, "-m", "vision_line", "verify", str(written)]
    ended = subprocess.run(call, text=True, capture_output=True, check=False, timeout=60)

    assert ended.returncode == 5
    assert "states" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("events", {"event": "-1", "event_id": "'forged'"}),
        ("not_inspected", {"interval": "0", "interval_id": "'forged'"}),
        ("detections", {"detection": "-1"}),
        ("clock_steps", {"step": "-1", "clock": "77"}),
        ("runs", {"run": "0", "run_id": "'forged'"}),
    ],
)
def test_no_row_is_from_before_by_its_number_alone(written: Path, table: str, values: dict[str, str]) -> None:
    """Rows are numbered from 1."""
    done(written, copied(written, table, **values))

    with pytest.raises(BrokenRecordError, match="has no entry in the journal"):
        verified(written)


def test_an_entry_says_nothing_that_its_row_lacks(written: Path) -> None:
    """A column that an entry has is in the table."""
    with closing(open_writer(written / FILE_NAME)) as connection:
        columns = BY_KIND["clock_step"].columns(connection)
    append(written, "clock_step", "1", lambda body: {**body, "more": 1}, like=("clock_step", "1"))

    assert "more" not in columns
    assert "(clock_step 1, " in broken(written)


def append(
    records: Path, kind: str, key: str, change: Callable[[dict[str, object]], object], *, like: tuple[str, str]
) -> None:
    """Append an entry that is chained as it should be, with what another one says changed."""
    with closing(sqlite3.connect(records / FILE_NAME)) as connection, connection:
        number, digest = connection.execute("SELECT number, digest FROM journal ORDER BY 1 DESC").fetchone()
        sql = "SELECT run, body FROM journal WHERE (kind, key) = (?, ?) ORDER BY number DESC"
        run, body = connection.execute(sql, like).fetchone()
        text = json.dumps(change(json.loads(body)), sort_keys=True, separators=(",", ":"))
        entry = JournalEntry(number + 1, run, kind, key, time.time(), text)
        connection.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)", (*entry, chained(digest, entry)))


def accepted(body: dict[str, object]) -> dict[str, object]:
    return {**body, "verdict": "accept"}


@pytest.mark.parametrize(("kind", "key"), [("event", "e1"), ("carried", "event/e1")])
def test_what_is_appended_without_the_key_is_refused(
    open_log: OpenLog, written: Path, tmp_path: Path, kind: str, key: str
) -> None:
    """An ended run's last entry is a seal; only what `prune` enters may be behind it."""
    private, public = key_files(tmp_path)
    open_log(signing_key=str(private)).close()
    signer = load_public_key(public)
    assert verified(written, key=signer).journal.seals.behind == 0
    append(written, kind, key, accepted, like=("event", "e1"))
    done(written, "UPDATE events SET verdict = 'accept' WHERE event_id = 'e1'")

    with pytest.raises(BrokenRecordError, match=r"behind the last one|is still there"):
        verified(written, key=signer)


def test_the_digest_that_a_removal_names_is_no_head(written: Path) -> None:
    """What stood before the oldest entry is only said, by an entry that anybody could write."""
    head = verified(written).journal.head
    with closing(sqlite3.connect(written / FILE_NAME)) as connection, connection:
        (began,) = connection.execute("SELECT body FROM journal WHERE number = 1").fetchone()
        for table in ("events", "evidence", "coverage", "not_inspected", "states", "clock_steps", "detections"):
            connection.execute(f"DELETE FROM {table}")
        connection.execute("DELETE FROM cameras")
        connection.execute("DELETE FROM runs")
        connection.execute("DELETE FROM journal")
        body = {"through": head.number, "digest": head.digest.hex(), **json.loads(began)}
        entry = JournalEntry(head.number + 1, 0, "removal", "journal", NOW, json.dumps(body))
        connection.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)", (*entry, chained(head.digest, entry)))
    verified(written)

    with pytest.raises(BrokenRecordError, match=r"no entry from .* has the digest"):
        verified(written, head.digest.hex())


def test_images_that_nothing_removed_are_missing_at_every_later_check(written: Path, open_log: OpenLog) -> None:
    """A start that notes them does not make it right, where no run died."""
    for image in written.rglob("*-0*.jpg"):
        image.unlink()
    open_log().close()

    with pytest.raises(BrokenRecordError, match=r"evidence e\d: a start found its images missing"):
        verified(written, images=True)


def test_images_that_a_prune_removed_before_it_failed_are_explained(written: Path, open_log: OpenLog) -> None:
    """What could not be removed is still there, what was is marked: nothing is lost."""
    with closing(sqlite3.connect(written / FILE_NAME)) as connection:
        (path,) = connection.execute("SELECT path FROM evidence ORDER BY evidence DESC").fetchone()
    image = written / path
    data = image.read_bytes()
    image.unlink()
    image.mkdir()  # which cannot be removed as a file
    with pytest.raises(RunError, match="cannot be removed"):
        prune(written, 1, 0, NOW + 9 * 86_400, dry_run=False)
    image.rmdir()
    image.write_bytes(data)
    open_log().close()
    found = verified(written, images=True).images

    assert found is not None
    assert (found.images, found.lost) == (3, 0)


def test_a_kill_explains_a_few_images_and_not_all(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as a run removes before a row says so."""
    monkeypatch.setattr("vision_line.records.verification.REMOVED_AT_ONCE", 1)
    monkeypatch.setattr("vision_line.records.verification.REMOVAL_S", 0.0)
    with closing(open_writer(written / FILE_NAME)) as connection:
        connection.execute("BEGIN")
        connection.execute("UPDATE runs SET ended_utc = NULL, end_cause = NULL")
        connection.journal.flush(connection)
        connection.execute("COMMIT")
    first, second = sorted(written.rglob("*.jpg"))[:3], sorted(written.rglob("*.jpg"))[3:]
    for image in first:
        image.unlink()
    found = verified(written, images=True).images
    for image in second:
        image.unlink()

    assert found is not None
    assert found.unsettled == 1
    with pytest.raises(BrokenRecordError, match="is missing, and was not removed"):
        verified(written, images=True)


def test_of_the_minutes_only_the_newest_is_under_way(tmp_path: Path) -> None:
    """Of each camera and clock: more cannot be said to be not over."""
    recorder = Recorder(tmp_path / "records")
    minute = int(NOW // 60 * 60)
    recorder.write([CoverageEntry((CoverageMinute("cam01", minute, 5, 5, 5, provisional=True),), ())])
    assert verified(recorder.records).journal.under_way == 1
    recorder.connection.close()
    done(recorder.records, copied(recorder.records, "coverage", minute="NULL", minute_utc="minute_utc - 3600"))

    assert f"row cam01/{minute - 3600}/0 is over, and has no entry" in broken(recorder.records)


def test_records_that_cannot_be_written_are_verified(written: Path) -> None:
    """A run that ended leaves one file: an archive of it needs no place for another beside it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        archive = shutil.copytree(written, Path(folder) / "archive")
        for path in (*archive.rglob("*"), archive):
            path.chmod(0o555 if path.is_dir() else 0o444)
        user = os.geteuid()
        if not user:
            os.seteuid(65_534)
        try:
            assert verified(archive, images=True).images is not None
        finally:
            os.seteuid(user)
            for path in (archive, *archive.rglob("*")):
                path.chmod(0o755)
