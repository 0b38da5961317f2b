# SPDX-License-Identifier: AGPL-3.0-or-later
"""Evidence: a clean and a marked image of every new event, whole before its row, within its disk space."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vision_line.config.models import RecordSettings, StreamSettings
from vision_line.errors import RunError
from vision_line.frames import DefectEvent, Detections, EventPhase, Frame, Observation
from vision_line.inspection.tracking.events import EventTracker
from vision_line.records import pending_evidence
from vision_line.records.annotate import Image
from vision_line.records.entries import RunRecord
from vision_line.records.evidence_files import evidence_paths
from vision_line.records.log import SqliteLog
from vision_line.records.pending_evidence import QUEUE_EVENTS
from vision_line.records.schema import open_reader

OpenLog = Callable[..., SqliteLog]
KEYS = ("path", "overlay_path", "crop_path")
HASHES = ("sha256", "overlay_sha256", "crop_sha256")
WaitUntil = Callable[[Callable[[], bool]], None]


def evidence_of(records: Path) -> list[dict[str, Any]]:
    with closing(open_reader(records)) as connection:
        return [dict(row) for row in connection.execute("SELECT * FROM evidence ORDER BY evidence")]


def noise(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (300, 400, 3), np.uint8)


def write_events(log: SqliteLog, line: Any, count: int, first: int = 0) -> None:
    for sequence in range(first, first + count):
        seen = line.inspection(sequence, data=noise(sequence), size_wh=(400, 300))
        log.write_inspection(seen, [line.event(seen, f"e{sequence}")])


def test_a_new_event_has_a_clean_and_a_marked_image(open_log: OpenLog, line: Any, records: Path) -> None:
    """The clean image is the camera's, the marked one is larger by its caption and differs at the box only."""
    log = open_log()
    seen = line.inspection(3, data=line.frame_data())
    log.write_inspection(seen, [line.event(seen, "e1")])
    update = line.inspection(4, data=line.frame_data())
    log.write_inspection(update, [line.event(update, "e1", EventPhase.UPDATE)])
    log.close()

    (row,) = evidence_of(records)
    clean, marked = cv2.imread(str(records / row["path"])), cv2.imread(str(records / row["overlay_path"]))
    assert clean is not None
    assert marked is not None
    digests = [hashlib.sha256((records / row[key]).read_bytes()).hexdigest() for key in KEYS]
    assert [row[key] for key in HASHES] == digests
    assert row["bytes"] == sum((records / row[key]).stat().st_size for key in KEYS)
    assert clean.shape == (96, 160, 3)
    assert marked.shape[0] > 96
    assert marked.shape[1:] == (160, 3)
    difference = np.abs(clean.astype(int) - marked[:96]).max(axis=2)
    assert difference[8:32, 0:18].max() > 60  # the box, near (0, 10) - (16, 30)
    assert difference[64:, 96:].max() < 30


def test_an_image_is_whole_before_its_row_is_seen(
    open_log: OpenLog, line: Any, records: Path, wait_until: WaitUntil
) -> None:
    """Whoever sees an evidence row finds the image with the row's hash, at any moment."""
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
    """With the image thread busy and its queue full an event's row says that there is no image; no caller waits."""
    go_on = threading.Event()

    def read_slowly(frame: Frame) -> Image:
        go_on.wait(60)
        return noise(frame.sequence)

    run = RunRecord("0", 0.0, "", "m", "", "int8", "cpu", "h")
    log = SqliteLog(records, run, RecordSettings(min_free_mb=1), ["open"], read_image=read_slowly)
    write_events(log, line, QUEUE_EVENTS + 5)
    go_on.set()
    log.close()

    rows = {row["event_id"]: row for row in evidence_of(records)}
    assert len(rows) == QUEUE_EVENTS + 5
    missing = [row["missing"] for row in rows.values() if row["missing"]]
    assert len(missing) == 5
    assert all("queue of images was full" in reason for reason in missing)


def test_an_image_of_an_unknown_kind_is_recorded_as_missing(open_log: OpenLog, line: Any, records: Path) -> None:
    """What cannot be converted does not stop the log; its row says why."""
    log = open_log()
    seen = line.inspection(1, data=object())
    log.write_inspection(seen, [line.event(seen, "e1")])
    log.close()

    (row,) = evidence_of(records)
    assert "type object" in row["missing"]
    assert row["path"] is None


def test_the_oldest_images_make_room(open_log: OpenLog, line: Any, records: Path, wait_until: WaitUntil) -> None:
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
    assert on_disk == {records / row[key] for row in rows if not row["deleted_utc"] for key in KEYS}
    assert status.evidence_bytes == sum(path.stat().st_size for path in on_disk) <= 1_000_000


def test_images_of_earlier_runs_count_and_go_first(open_log: OpenLog, line: Any, records: Path) -> None:
    """The next run begins with what is there, and removes an earlier run's images before its own."""
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


def test_rows_and_images_agree_after_a_start(open_log: OpenLog, line: Any, records: Path) -> None:
    """An image without its row gets it, an event without an image is recorded so, a removed image too."""
    log = open_log()
    write_events(log, line, 3)
    log.close()
    rows = {row["event_id"]: row for row in evidence_of(records)}
    forget(records, "e0", "e1")  # as after a kill between image and row
    (records / rows["e1"]["path"]).unlink()
    (records / rows["e2"]["path"]).unlink()
    open_log().close()

    after = {row["event_id"]: row for row in evidence_of(records)}
    same = (*KEYS, *HASHES, "bytes")
    assert {key: after["e0"][key] for key in same} == {key: rows["e0"][key] for key in same}
    assert "before the image was written" in after["e1"]["missing"]
    assert after["e2"]["deleted_utc"] is not None


def forget(records: Path, *event_ids: str) -> None:
    with closing(sqlite3.connect(records / "records.sqlite")) as connection:
        for event_id in event_ids:
            connection.execute("DELETE FROM evidence WHERE event_id = ?", (event_id,))
        connection.commit()


def test_no_evidence_when_it_is_off(open_log: OpenLog, line: Any, records: Path) -> None:
    """With `evidence = false` there are neither images nor rows, also after the next start."""
    for _ in range(2):
        log = open_log(evidence=False)
        write_events(log, line, 1)
        log.close()

    assert evidence_of(records) == []
    assert not (records / "evidence").exists()


def test_hostile_event_ids_stay_inside_the_evidence_folder(line: Any) -> None:
    """A path separator in an id cannot lead out of the folder."""
    event = line.event(line.inspection(1, arrived_utc=0.0), "../../etc/x")
    paths = evidence_paths(1, event, 7)

    assert paths.clean == "evidence/1970-01-01/cam01/1-..%2F..%2Fetc%2Fx-7.jpg"
    assert paths[1:] == (
        "evidence/1970-01-01/cam01/1-..%2F..%2Fetc%2Fx-7.overlay.jpg",
        "evidence/1970-01-01/cam01/1-..%2F..%2Fetc%2Fx-7.crop.jpg",
    )


def inspection_with(line: Any, sequence: int, score: float, phase: EventPhase, first: DefectEvent | None = None) -> Any:
    """Return an inspection and an event whose best observation it is, its box `sequence` pixels to the right."""
    seen = line.inspection(sequence, data=noise(sequence), size_wh=(400, 300))
    found = seen.detections
    moved = Detections(found.xyxy + np.float32(sequence), found.score * 0 + np.float32(score), found.class_id)
    seen = dataclasses.replace(seen, detections=moved)
    event = dataclasses.replace(line.event(seen, "e1", phase), score=score, top_score=score)
    begun = event if first is None else first
    return seen, dataclasses.replace(event, first_seen_utc=begun.first_seen_utc, first=begun.first_observation)


def event_row(records: Path) -> dict[str, Any]:
    with closing(open_reader(records)) as connection:
        return dict(connection.execute("SELECT * FROM events").fetchone())


def assert_agree(records: Path, sequence: int) -> None:
    """Image, name, row and box are of frame `sequence`."""
    (image,) = evidence_of(records)
    row = event_row(records)
    clean = cv2.imread(str(records / image["path"]))
    assert clean is not None
    distance = {number: float(np.abs(clean.astype(int) - noise(number)).mean()) for number in range(14)}
    assert min(distance, key=distance.__getitem__) == sequence
    assert image["path"].endswith(f"-{sequence}.jpg")
    assert (row["sequence"], row["picture_sequence"], row["x1"]) == (sequence, sequence, sequence)


def test_a_better_observation_takes_the_images_place_while_it_waits(
    open_log: OpenLog, line: Any, records: Path
) -> None:
    """The event's row, its image and its crop are of the best observation; the first and the last one are named."""
    log = open_log(evidence_quality=95)
    seen, new = inspection_with(line, 2, 0.5, EventPhase.NEW)
    log.write_inspection(seen, [new])
    seen, better = inspection_with(line, 5, 0.9, EventPhase.UPDATE, new)
    log.write_inspection(seen, [better])
    log.write_events(
        [dataclasses.replace(better, phase=EventPhase.END, last=Observation(7, 0.4, (1.0, 2.0, 3.0, 4.0)))]
    )
    log.close()

    assert_agree(records, 5)
    row = event_row(records)
    assert (row["first_sequence"], row["first_x1"]) == (2, 2)
    assert (row["last_sequence"], row["last_score"], row["last_x1"], row["last_y2"]) == (7, 0.4, 1, 4)
    (image,) = evidence_of(records)
    assert (records / image["crop_path"]).parent == (records / image["path"]).parent
    assert image["bytes"] == sum((records / image[key]).stat().st_size for key in KEYS)


def test_the_row_keeps_the_observation_of_its_image(
    open_log: OpenLog, line: Any, records: Path, wait_until: WaitUntil
) -> None:
    """A still better observation that comes when the image is written changes neither."""
    log = open_log(evidence_quality=95)
    seen, new = inspection_with(line, 2, 0.5, EventPhase.NEW)
    log.write_inspection(seen, [new])
    log.write_events([dataclasses.replace(new, phase=EventPhase.END)])  # nothing better is waited for
    wait_until(lambda: bool(evidence_of(records)))
    seen, better = inspection_with(line, 5, 0.9, EventPhase.UPDATE, new)
    log.write_inspection(seen, [better])
    log.close()

    assert_agree(records, 2)
    assert event_row(records)["top_score"] == 0.9


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(30, 100).map(lambda percent: percent / 100), min_size=3, max_size=14),
    st.sets(st.integers(0, 13)),
    st.sampled_from([0.0, 0.01, 1000.0]),
)
def test_rows_and_images_agree_whatever_the_scores_and_whenever_they_are_written(
    tmp_path_factory: pytest.TempPathFactory, line: Any, scores: list[float], pauses: set[int], wait_s: float
) -> None:
    """From the tracker to the export: row, file, image and detection are of one frame."""
    records = tmp_path_factory.mktemp("agree")
    run = RunRecord("0", 0.0, "", "m", "", "int8", "cpu", "h")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pending_evidence, "BETTER_OBSERVATION_S", wait_s)
        log = SqliteLog(records, run, RecordSettings(min_free_mb=1, evidence_quality=95), ["open", "short"])
        tracker = EventTracker("cam01", ("open", "short"), StreamSettings(), 0.25)
        for number, score in enumerate(scores):
            seen, _ = inspection_with(line, number, score, EventPhase.NEW)
            log.write_inspection(seen, tracker.update(seen.frame, seen.detections))
            if number in pauses:
                time.sleep(0.02)
        log.write_events(tracker.close())
        log.close()

    with closing(open_reader(records)) as connection:
        rows = connection.execute(
            "SELECT v.*, e.path, d.score AS found FROM events v JOIN evidence e USING (run, event_id)"
            " JOIN detections d ON d.run = v.run AND d.sequence = v.picture_sequence AND d.event_id = v.event_id"
        ).fetchall()
    assert rows
    for row in rows:
        assert_agree(records, row["sequence"])
        assert row["score"] == row["found"] <= row["top_score"]


class OnADevice:
    """A frame's data outside the host's memory."""

    def __init__(self, image: Image) -> None:
        self.image = image

    def to_host(self) -> Image:
        """Return the pixels."""
        return self.image


def test_an_image_of_a_device_is_not_held(
    line: Any, records: Path, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder has few of them: it is written at once, however long others may wait."""
    monkeypatch.setattr(pending_evidence, "BETTER_OBSERVATION_S", 1000.0)
    run = RunRecord("0", 0.0, "", "m", "", "int8", "cpu", "h")
    log = SqliteLog(records, run, RecordSettings(min_free_mb=1), ["open", "short"])
    seen, new = inspection_with(line, 2, 0.5, EventPhase.NEW)
    seen.frame.data = OnADevice(seen.frame.data)
    log.write_inspection(seen, [new])
    wait_until(lambda: bool(evidence_of(records)))
    log.close()


def test_images_adopted_after_a_kill_give_the_row_their_observation(
    open_log: OpenLog, line: Any, records: Path
) -> None:
    """The row had gone on to an observation that the image does not show."""
    log = open_log()
    seen, new = inspection_with(line, 2, 0.5, EventPhase.NEW)
    log.write_inspection(seen, [new])
    log.close()
    forget(records, "e1")
    alter(records, "UPDATE events SET picture_sequence = NULL, sequence = 6, x1 = 6.0")
    open_log().close()

    (image,) = evidence_of(records)
    row = event_row(records)
    assert image["path"].endswith("-2.jpg")
    assert (row["picture_sequence"], row["sequence"], row["x1"], row["score"]) == (2, 2, 2, 0.5)


@pytest.mark.parametrize("path", ["/{}", "evidence/../../{}", "evidence/out/{}"])
def test_forged_paths_remove_and_adopt_nothing_elsewhere(
    open_log: OpenLog, line: Any, records: Path, tmp_path: Path, path: str
) -> None:
    """Neither to make room nor at a start."""
    victim = tmp_path / "victim.jpg"
    victim.write_bytes(b"x" * 900_000)
    log = open_log(evidence_max_mb=1)
    write_events(log, line, 1)
    log.close()
    (records / "evidence" / "out").symlink_to(tmp_path)
    forged = path.format(victim.name if "evidence" in path else str(victim)[1:])
    alter(
        records, "UPDATE evidence SET path = ?, overlay_path = ?, crop_path = ?, bytes = 900000", forged, forged, forged
    )
    log = open_log(evidence_max_mb=1)
    assert log.status().evidence_bytes == 0
    write_events(log, line, 12, first=20)
    log.close()

    assert victim.stat().st_size == 900_000


def test_a_path_forged_while_the_line_runs_removes_nothing_elsewhere(
    open_log: OpenLog, line: Any, records: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and the line goes on."""
    victim = tmp_path / "victim.jpg"
    victim.write_text("mine")
    first = open_log(evidence_max_mb=1)
    write_events(first, line, 1)
    first.close()
    log = open_log(evidence_max_mb=1)
    alter(records, "UPDATE evidence SET overlay_path = ?", str(victim))
    write_events(log, line, 12, first=20)
    log.close()

    assert victim.read_text() == "mine"
    assert "an evidence image is not deleted: " in caplog.text


def test_a_folder_of_images_that_leads_elsewhere_is_refused(open_log: OpenLog, records: Path, tmp_path: Path) -> None:
    """Its images would all be taken for removed; the whole record directory may be elsewhere."""
    records.mkdir()
    (tmp_path / "disk").mkdir()
    (records / "evidence").symlink_to(tmp_path / "disk")
    with pytest.raises(RunError, match="leads out of the record directory"):
        open_log()


def alter(records: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(records / "records.sqlite")) as connection, connection:
        connection.execute(sql, values)


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


def test_a_disk_that_refuses_images_stops_inspection(
    open_log: OpenLog, line: Any, records: Path, wait_until: WaitUntil
) -> None:
    """While an image cannot be written the log is not writable; when it can, the image is there and all is well."""
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


def test_images_that_cannot_be_written_at_the_end_are_recorded(
    open_log: OpenLog, line: Any, records: Path, wait_until: WaitUntil
) -> None:
    """A close on such a disk does not wait for ever; the rows say what is missing and why."""
    log = open_log()
    (records / "evidence").write_text("in the way")
    write_events(log, line, 3)
    wait_until(lambda: not log.status().writable)
    log.close()

    assert ["evidence cannot be written" in row["missing"] for row in evidence_of(records)] == [True] * 3
