# SPDX-License-Identifier: AGPL-3.0-or-later
"""Evidence: a clean and a marked picture of every new event, whole before its row, within its disk space."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vision_line.config.models import RecordSettings
from vision_line.errors import RunError
from vision_line.frames import EventPhase, Frame
from vision_line.records.entries import RunRecord
from vision_line.records.evidence import QUEUE_EVENTS
from vision_line.records.kept import evidence_paths
from vision_line.records.log import SqliteLog
from vision_line.records.picture import Image
from vision_line.records.schema import open_reader

OpenLog = Callable[..., SqliteLog]
WaitUntil = Callable[[Callable[[], bool]], None]


def evidence_of(records: Path) -> list[dict[str, Any]]:
    with closing(open_reader(records)) as connection:
        return [dict(row) for row in connection.execute("SELECT * FROM evidence ORDER BY evidence")]


def noise(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (300, 400, 3), np.uint8)


def write_events(log: SqliteLog, line: Any, count: int, first: int = 0) -> None:
    for sequence in range(first, first + count):
        seen = line.inspection(sequence, picture=noise(sequence), size_wh=(400, 300))
        log.write_inspection(seen, seen.detections, [line.event(seen, f"e{sequence}")])


def test_a_new_event_has_a_clean_and_a_marked_picture(open_log: OpenLog, line: Any, records: Path) -> None:
    """The clean picture is the camera's, the marked one is larger by its caption and differs at the box only."""
    log = open_log()
    seen = line.inspection(3, picture=line.picture())
    log.write_inspection(seen, seen.detections, [line.event(seen, "e1")])
    update = line.inspection(4, picture=line.picture())
    log.write_inspection(update, update.detections, [line.event(update, "e1", EventPhase.UPDATE)])
    log.close()

    (row,) = evidence_of(records)
    data = (records / row["path"]).read_bytes()
    clean, marked = cv2.imread(str(records / row["path"])), cv2.imread(str(records / row["overlay_path"]))
    assert clean is not None
    assert marked is not None
    assert row["sha256"] == hashlib.sha256(data).hexdigest()
    assert row["bytes"] == len(data) + (records / row["overlay_path"]).stat().st_size
    assert clean.shape == (96, 160, 3)
    assert marked.shape[0] > 96
    assert marked.shape[1:] == (160, 3)
    difference = np.abs(clean.astype(int) - marked[:96]).max(axis=2)
    assert difference[8:32, 0:18].max() > 60  # the box, near (0, 10) - (16, 30)
    assert difference[64:, 96:].max() < 30


def test_a_picture_is_whole_before_its_row_is_seen(
    open_log: OpenLog, line: Any, records: Path, wait_until: WaitUntil
) -> None:
    """Whoever sees an evidence row finds the picture with the row's hash, at any moment."""
    log = open_log()
    write_events(log, line, 20)
    checked: set[str] = set()

    def check_all() -> bool:
        for row in evidence_of(records):
            assert hashlib.sha256((records / row["path"]).read_bytes()).hexdigest() == row["sha256"]
            checked.add(row["event_id"])
        return len(checked) == 20

    wait_until(check_all)


def test_too_many_events_at_once_are_recorded_as_missing(open_log: OpenLog, line: Any, records: Path) -> None:
    """With the picture thread busy and its queue full an event's row says that there is no picture; no caller waits."""
    go_on = threading.Event()

    def read_slowly(frame: Frame) -> Image:
        go_on.wait(30)
        return noise(frame.sequence)

    run = RunRecord("0", 0.0, "", "m", "", "int8", "cpu", "h")
    log = SqliteLog(records, run, RecordSettings(min_free_mb=1), ["open"], read_picture=read_slowly)
    write_events(log, line, QUEUE_EVENTS + 5)
    go_on.set()
    log.close()

    rows = {row["event_id"]: row for row in evidence_of(records)}
    assert len(rows) == QUEUE_EVENTS + 5
    missing = [row["missing"] for row in rows.values() if row["missing"]]
    assert len(missing) == 5
    assert all("queue of pictures was full" in reason for reason in missing)


def test_a_picture_of_an_unknown_kind_is_recorded_as_missing(open_log: OpenLog, line: Any, records: Path) -> None:
    """What cannot be converted does not stop the log; its row says why."""
    log = open_log()
    seen = line.inspection(1, picture=object())
    log.write_inspection(seen, seen.detections, [line.event(seen, "e1")])
    log.close()

    (row,) = evidence_of(records)
    assert "type object" in row["missing"]
    assert row["path"] is None


def test_the_oldest_pictures_make_room(open_log: OpenLog, line: Any, records: Path, wait_until: WaitUntil) -> None:
    """Evidence stays within its space: oldest first, counted, and their rows say when."""
    log = open_log(evidence_max_mb=1)
    write_events(log, line, 12)
    wait_until(lambda: len(evidence_of(records)) == 12)
    status = log.status()
    log.close()

    rows = evidence_of(records)
    deleted = [row["deleted_utc"] is not None for row in rows]
    assert deleted == sorted(deleted, reverse=True)
    assert sum(deleted) == status.evidence_deleted > 0
    on_disk = set((records / "evidence").rglob("*.jpg"))
    assert on_disk == {records / row[key] for row in rows if not row["deleted_utc"] for key in ("path", "overlay_path")}
    assert status.evidence_bytes == sum(path.stat().st_size for path in on_disk) <= 1_000_000


def test_pictures_of_earlier_runs_count_and_go_first(open_log: OpenLog, line: Any, records: Path) -> None:
    """The next run begins with what is there, and removes an earlier run's pictures before its own."""
    first = open_log(evidence_max_mb=1)
    write_events(first, line, 3)
    first.close()
    second = open_log(evidence_max_mb=1)
    assert second.status().evidence_bytes == first.status().evidence_bytes > 0
    write_events(second, line, 2, first=100)
    second.close()

    kept = {row["event_id"] for row in evidence_of(records) if not row["deleted_utc"]}
    assert {"e100", "e101"} <= kept
    assert "e0" not in kept


def test_rows_and_pictures_agree_after_a_start(open_log: OpenLog, line: Any, records: Path) -> None:
    """A picture without its row gets it, an event without a picture is recorded so, a removed picture too."""
    log = open_log()
    write_events(log, line, 3)
    log.close()
    rows = {row["event_id"]: row for row in evidence_of(records)}
    forget(records, "e0", "e1")  # as after a kill between picture and row
    (records / rows["e1"]["path"]).unlink()
    (records / rows["e2"]["path"]).unlink()
    open_log().close()

    after = {row["event_id"]: row for row in evidence_of(records)}
    assert {key: after["e0"][key] for key in ("path", "sha256", "bytes")} == {
        key: rows["e0"][key] for key in ("path", "sha256", "bytes")
    }
    assert "before the picture was written" in after["e1"]["missing"]
    assert after["e2"]["deleted_utc"] is not None


def forget(records: Path, *event_ids: str) -> None:
    with closing(sqlite3.connect(records / "records.sqlite")) as connection:
        for event_id in event_ids:
            connection.execute("DELETE FROM evidence WHERE event_id = ?", (event_id,))
        connection.commit()


def test_no_evidence_when_it_is_off(open_log: OpenLog, line: Any, records: Path) -> None:
    """With `evidence = false` there are neither pictures nor rows, also after the next start."""
    for _ in range(2):
        log = open_log(evidence=False)
        write_events(log, line, 1)
        log.close()

    assert evidence_of(records) == []
    assert not (records / "evidence").exists()


def test_hostile_event_ids_stay_inside_the_evidence_folder() -> None:
    """A path separator in an id cannot lead out of the folder."""
    clean, overlay = evidence_paths(1, "cam01", "../../etc/x", 0.0)

    assert clean == "evidence/1970-01-01/cam01/1-..%2F..%2Fetc%2Fx.jpg"
    assert overlay.endswith(".overlay.jpg")


def test_a_failed_log_ends_evidence_without_a_stuck_thread(
    open_log: OpenLog, line: Any, records: Path, wait_until: WaitUntil
) -> None:
    """When the log fails the evidence thread ends with it, and close says why."""
    log = open_log()
    (records / "records.sqlite").unlink()
    wait_until(lambda: not log.status().writable)
    with contextlib.suppress(RunError):  # refused already, or accepted in the last moment
        write_events(log, line, 2)

    with pytest.raises(RunError, match="removed"):
        log.close()


def test_a_disk_that_refuses_pictures_stops_inspection(
    open_log: OpenLog, line: Any, records: Path, wait_until: WaitUntil
) -> None:
    """While a picture cannot be written the log is not writable; when it can, the picture is there and all is well."""
    log = open_log()
    (records / "evidence").write_text("in the way")
    write_events(log, line, 1)
    wait_until(lambda: not log.status().writable)
    assert log.status().reason.startswith("evidence cannot be written: ")

    (records / "evidence").unlink()
    wait_until(lambda: log.status().writable)
    log.close()

    (row,) = evidence_of(records)
    assert (records / row["path"]).is_file()


def test_pictures_that_cannot_be_written_at_the_end_are_recorded(
    open_log: OpenLog, line: Any, records: Path, wait_until: WaitUntil
) -> None:
    """A close on such a disk does not wait for ever; the rows say what is missing and why."""
    log = open_log()
    (records / "evidence").write_text("in the way")
    write_events(log, line, 3)
    wait_until(lambda: not log.status().writable)
    log.close()

    assert ["evidence cannot be written" in row["missing"] for row in evidence_of(records)] == [True] * 3
