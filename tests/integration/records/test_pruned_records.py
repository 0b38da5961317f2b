# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line prune` and the journal's end: it seals what it enters, and a kill in its middle loses nothing."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.integration.records.conftest import Line
from tests.integration.records.test_journal_seals import key_files

from vision_line.errors import BrokenRecordError, ConfigError, RunError
from vision_line.frames import CoverageMinute
from vision_line.records.journal import Kind
from vision_line.records.journal_check import Expected
from vision_line.records.log import SqliteLog
from vision_line.records.removal import prune
from vision_line.records.schema import FILE_NAME, RecordConnection, open_writer, transaction
from vision_line.records.seal import load_public_key
from vision_line.records.verification import Verified, verify

OpenLog = Callable[..., SqliteLog]
CHILD = Path(__file__).with_name("pruning_child.py")
EVENTS = 8
HOUR_S, DAY_S = 3600, 86_400


@pytest.fixture
def signed(open_log: OpenLog, records: Path, line: Line, tmp_path: Path) -> Path:
    """Records of a run that ended, signed: events of hours ago with their images, and of now."""
    private, _ = key_files(tmp_path)
    now_utc = time.time()
    log = open_log(signing_key=str(private))
    for number in range(EVENTS):
        seen = line.inspection(number, 2, data=line.frame_data(), arrived_utc=now_utc - 5 * HOUR_S + number)
        log.write_inspection(seen, [line.event(seen, f"e{number}")])
    log.write_coverage([CoverageMinute("cam01", int(now_utc // 60) * 60 - ago_s, 9, 9, 9) for ago_s in (18_000, 0)], [])
    log.close()
    return records


def private_key(records: Path) -> Path:
    return records.parent / "seal.pem"


def holds(records: Path) -> Verified:
    """Check everything, with the public key."""
    key = load_public_key(records.parent / "seal.pub.pem")
    return verify(records, Expected(public_key=key), lambda _done, _total: None, images=True)


def pruned(records: Path, *, key: bool = True) -> None:
    later_utc = time.time() + 9 * DAY_S
    prune(records, 1, 0, later_utc, dry_run=False, signing_key=private_key(records) if key else None)


def images(records: Path) -> list[Path]:
    return sorted(records.rglob("*.jpg"))


def kept(records: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return what is left in the tables, without the times at which something was done."""
    queries = {
        "detections": "SELECT detection FROM detections",
        "events": "SELECT event_id FROM events",
        "evidence": "SELECT event_id, deleted_utc IS NULL, deleted_why FROM evidence",
        "removals": "SELECT removed_from, rows, why FROM removals ORDER BY 1",
    }
    with closing(sqlite3.connect(records / FILE_NAME)) as connection:
        return {name: connection.execute(sql).fetchall() for name, sql in queries.items()}


def killed(records: Path, step: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHILD), str(records), str(private_key(records)), str(step)]
    return subprocess.run(command, text=True, capture_output=True, check=False)


def test_a_kill_at_any_moment_of_a_prune_loses_nothing(signed: Path, tmp_path: Path) -> None:
    """The records hold with their images and the key; another prune ends what this one began, and so does a run."""
    assert len(images(signed)) == 3 * EVENTS
    whole = shutil.copytree(signed, tmp_path / "whole")
    done = killed(whole, 0)
    assert done.returncode == 0, done.stderr
    expected, steps = kept(whole), int(done.stdout)
    assert expected["events"] == []
    assert images(whole) == []

    drawn = random.Random(5)
    for step in sorted(drawn.sample(range(1, steps), 16)):
        left = shutil.copytree(signed, tmp_path / "left", dirs_exist_ok=False)
        assert killed(left, step).returncode == -9
        found = holds(left).images
        assert found is not None
        assert (found.lost, found.unsettled) == (0, 0)
        pruned(left)
        assert (kept(left), images(left)) == (expected, [])
        holds(left)
        shutil.rmtree(left)


def test_a_start_removes_the_files_that_a_killed_prune_left(signed: Path, open_log: OpenLog) -> None:
    """Their rows say that they are gone; nothing else is touched."""
    first, *others = images(signed)
    content = first.read_bytes()
    pruned_images = "UPDATE evidence SET deleted_utc = 1, deleted_why = 'prune' WHERE instr(?, path)"
    with closing(open_writer(signed / FILE_NAME)) as connection, transaction(connection):
        connection.execute(pruned_images, (str(first).replace(".crop", ""),))
    open_log(signing_key=str(private_key(signed))).close()

    assert content
    assert images(signed) == others[2:]
    assert holds(signed).images


def test_a_prune_seals_what_it_enters(signed: Path) -> None:
    """So nothing is behind the last seal; what only looks like a prune is behind it, and named."""
    pruned(signed)
    assert holds(signed).journal.seals.behind == 0
    with closing(open_writer(signed / FILE_NAME)) as connection, transaction(connection):
        forged_trim(connection)

    with pytest.raises(BrokenRecordError, match=r"\(removal journal, .*behind the last one"):
        holds(signed)
    with pytest.raises(RunError, match="behind the journal's last seal though every run has ended"):
        pruned(signed)


def forged_trim(connection: RecordConnection) -> None:
    """Take the beginning away, and say so as a prune would."""
    number, digest = connection.execute("SELECT number, digest FROM journal ORDER BY number LIMIT 1").fetchone()
    said = {"removed_from": "journal", "through": number, "digest": digest.hex(), "rows": 1, "before": {}}
    connection.journal.append(Kind.REMOVAL, "journal", {**said, "began_utc": 1.0, "why": "prune"})
    connection.execute("DELETE FROM journal WHERE number <= ?", (number,))


def test_signed_records_are_pruned_with_their_key_alone(signed: Path, tmp_path: Path) -> None:
    """An unsigned end is what a forger would leave; what would be removed is said without a key."""
    before = (signed / FILE_NAME).read_bytes()
    with pytest.raises(ConfigError, match=r"last seal is signed.*none was given"):
        pruned(signed, key=False)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(ConfigError, match="is another one"):
        prune(signed, 1, 0, time.time(), dry_run=False, signing_key=key_files(other)[0])

    assert prune(signed, 1, 0, time.time() + 9 * DAY_S, dry_run=True).images == EVENTS
    assert (signed / FILE_NAME).read_bytes() == before
    assert len(images(signed)) == 3 * EVENTS


def test_a_run_that_signs_says_what_it_signs_over(
    signed: Path, open_log: OpenLog, caplog: pytest.LogCaptureFixture
) -> None:
    """It inspects all the same; a run that was killed leaves such an end too, and is no reason."""
    with closing(open_writer(signed / FILE_NAME)) as connection, transaction(connection):
        connection.execute("UPDATE events SET verdict = 'accept'")
    open_log(signing_key=str(private_key(signed))).close()

    assert "wrote behind the journal's last signed seal" in caplog.text
    caplog.clear()
    with closing(sqlite3.connect(signed / FILE_NAME)) as other, other:
        other.execute("UPDATE runs SET ended_utc = NULL")
    open_log(signing_key=str(private_key(signed))).close()
    assert "behind the journal's" not in caplog.text
