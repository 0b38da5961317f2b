# SPDX-License-Identifier: AGPL-3.0-or-later
"""Near misses and audits: a row for each, with the right image or why there is none; and draws that hold."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from tests.builders import make_frame, make_inspection, scored_detections

from vision_line.config.models import RecordSettings, ReviewSettings
from vision_line.frames import Detections, Frame, Observation
from vision_line.inspection.tracking.candidates import Candidate, CandidatePhase
from vision_line.records.annotate import bgr_of
from vision_line.records.columns import Table
from vision_line.records.entries import CameraRecord
from vision_line.records.log import SqliteLog
from vision_line.records.query import Selection
from vision_line.records.review.candidate_frames import NOT_DRAWN, NOT_KNOWN, TOO_MANY
from vision_line.records.review.draw import audit_name, is_drawn, near_miss_name
from vision_line.records.review.held_frames import MOST_FRAMES
from vision_line.records.schema import FILE_NAME, open_reader, open_writer, transaction
from vision_line.records.table_export import Format, export

from .conftest import run_record
from .test_journal import broken, verified

OpenLog = Callable[..., SqliteLog]
WaitUntil = Callable[[Callable[[], bool]], None]
SIZE_WH = (64, 48)
STARTED_S = time.monotonic()


def grey_frame(sequence: int, level: int = 128, *, camera: str = "cam01", data: object = None) -> Frame:
    """Return a frame of one grey, which says in its image which it was."""
    made = av.VideoFrame.from_ndarray(np.full((SIZE_WH[1], SIZE_WH[0]), level, np.uint8), format="gray")
    at_s = STARTED_S + sequence * 0.04
    at_utc = time.time() - time.monotonic() + at_s
    return make_frame(
        camera, sequence, size_wh=SIZE_WH, data=data or made.reformat(format="yuv420p"), at_s=at_s, at_utc=at_utc
    )


def candidate(of: Frame, number: int, phase: CandidatePhase = CandidatePhase.SEEN, *, score: float = 0.5) -> Candidate:
    """Return a candidate whose best observation is in this frame."""
    return Candidate(
        near_miss_id=f"20260101T000000.000Z-{of.camera}-n{number:06d}",
        phase=phase,
        camera=of.camera,
        class_name="short",
        best=Observation(of.sequence, score, (1.0, 2.0, 30.0, 40.0)),
        hits=2,
        size_wh=of.size_wh,
        first_seen_s=of.captured_s,
        first_seen_utc=of.captured_utc,
        last_seen_s=of.captured_s,
        last_seen_utc=of.captured_utc,
    )


def rows_of(records: Path, table: str) -> list[dict[str, Any]]:
    with closing(open_reader(records)) as connection:
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table} JOIN runs USING (run) ORDER BY 1")]


def level_of(records: Path, row: dict[str, Any]) -> int:
    """Return the grey that a row's image shows; its hash is the row's."""
    data = (records / row["path"]).read_bytes()
    assert sha256(data).hexdigest() == row["sha256"]
    assert len(data) == row["bytes"]
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    return round(float(image.mean()))


def review(**settings: object) -> ReviewSettings:
    return ReviewSettings.model_validate({"audit_per_hour": 0, "near_misses": True, **settings})


def test_a_near_miss_has_the_image_of_its_best_observation(open_log: OpenLog, records: Path) -> None:
    """Seen in two frames, better in the second; a third one is not of it."""
    log = open_log()
    log.review.apply(review())
    frames = [grey_frame(number, level) for number, level in enumerate((40, 90, 140))]
    for frame, score in zip(frames[:2], (0.3, 0.5), strict=True):
        log.review.inspected(make_inspection(frame), [candidate(frame, 1, score=score)])
    log.review.inspected(make_inspection(frames[2]), [candidate(frames[1], 1, CandidatePhase.MISSED)])
    log.close()

    (row,) = rows_of(records, "near_misses")
    assert level_of(records, row) == pytest.approx(90, abs=3)
    assert (row["sequence"], row["class"], row["score"], row["hits"], row["x2"]) == (1, "short", 0.5, 2, 30.0)
    assert (row["station"], row["recipe"], row["width"], row["height"]) == ("press 4", "recipe A", *SIZE_WH)
    assert (row["probability"], row["missing"], row["deleted_utc"]) == (1.0, None, None)
    found = verified(records, images=True)
    assert (found.draws, found.images and found.images.images) == (1, 1)


def test_what_is_reviewed_bears_the_recipe_that_it_was_inspected_under(
    records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another one is in force by the time that its image is written."""
    monkeypatch.setattr("vision_line.records.review.draw.ASSUMED_RATE", 1.0)
    changed = threading.Event()

    def read_late(frame: Frame) -> Any:
        assert changed.wait(60)
        return bgr_of(frame)

    log = SqliteLog(records, run_record(), RecordSettings(min_free_mb=1), ["open", "short"], read_image=read_late)
    log.review.apply(review(audit_per_hour=3600))  # one a second: every frame, at the rate that is assumed
    for number in range(2):
        frame = grey_frame(number)
        log.review.inspected(make_inspection(frame), [candidate(frame, number)])
        log.review.ended([candidate(frame, number, CandidatePhase.MISSED)])
        log.write_cameras([CameraRecord("cam01", "press 4", "recipe B", "")])
    changed.set()
    log.close()

    for table in ("near_misses", "audits"):
        assert [row["recipe"] for row in rows_of(records, table)] == ["recipe A", "recipe B"], table


def test_an_event_is_let_go(open_log: OpenLog, records: Path) -> None:
    """Nothing of it is kept, and nothing is written."""
    log = open_log()
    log.review.apply(review())
    frame = grey_frame(0)
    log.review.inspected(make_inspection(frame), [candidate(frame, 1)])
    log.review.inspected(make_inspection(frame), [candidate(frame, 1, CandidatePhase.CONFIRMED)])
    assert log.review.held_bytes == 0
    log.close()

    assert rows_of(records, "near_misses") == []
    assert not list(records.rglob("*.jpg"))


def test_candidates_that_end_without_a_frame(open_log: OpenLog, records: Path) -> None:
    """At the end of a camera or of the run."""
    log = open_log()
    log.review.apply(review())
    frame = grey_frame(0)
    log.review.inspected(make_inspection(frame), [candidate(frame, 1), candidate(frame, 2)])
    log.review.ended([candidate(frame, number, CandidatePhase.MISSED) for number in (1, 2)])
    log.close()

    assert [row["missing"] for row in rows_of(records, "near_misses")] == [None, None]
    assert log.review.held_bytes == 0


def test_every_near_miss_has_a_row_and_a_share_of_them_images(open_log: OpenLog, records: Path) -> None:
    """Those that are drawn; the others say that they were not, and nobody copied their frames."""
    log = open_log()
    log.review.apply(review(near_misses=0.25))
    for number in range(60):
        frame = grey_frame(number)
        log.review.inspected(make_inspection(frame), [candidate(frame, number)])
        log.review.ended([candidate(frame, number, CandidatePhase.MISSED)])
    log.close()

    rows = rows_of(records, "near_misses")
    drawn = [is_drawn(near_miss_name(row["run_id"], "cam01", row["near_miss_id"]), 0.25) for row in rows]
    assert len(rows) == 60
    assert {row["probability"] for row in rows} == {0.25}
    for row, is_kept in zip(rows, drawn, strict=True):
        assert (row["missing"] == NOT_DRAWN) is not is_kept
        assert (row["path"] is not None) == is_kept
    assert verified(records, images=True).draws == 60


def test_too_many_frames_at_once_are_named(open_log: OpenLog, records: Path, wait_until: WaitUntil) -> None:
    """Memory is bounded; what had no room is a row."""
    log = open_log()
    log.review.apply(review())
    frames = [grey_frame(number) for number in range(MOST_FRAMES + 3)]
    for frame in frames:
        log.review.inspected(make_inspection(frame), [candidate(frame, frame.sequence)])
    log.review.ended([candidate(frame, frame.sequence, CandidatePhase.MISSED) for frame in frames])
    wait_until(lambda: len(rows_of(records, "near_misses")) == len(frames))  # closing waits for 5 s only
    log.close()

    missing = [row["missing"] for row in rows_of(records, "near_misses")]
    assert sorted(filter(None, missing)) == [TOO_MANY] * 3
    assert len(missing) == len(frames)


def audited(log: SqliteLog, frames: int, first: int = 0, found: Detections | None = None) -> None:
    for number in range(first, first + frames):
        log.review.inspected(make_inspection(grey_frame(number, number % 200), found), [])


def test_audits_are_the_frames_that_were_drawn(open_log: OpenLog, records: Path, wait_until: WaitUntil) -> None:
    """All of them and no others, each with the image of its frame; where nothing was found the list is empty."""
    log = open_log()
    log.review.apply(review(audit_per_hour=3600))
    audited(log, 200)
    wait_until(lambda: len(rows_of(records, "audits")) > 0)
    audited(log, 200, 200, scored_detections((1, 2, 3.004, 4, 0.87654321, 1), (5, 6, 7, 8, 0.5, 0)))
    log.close()

    rows = rows_of(records, "audits")
    run_id = rows[0]["run_id"]
    assert [row["sequence"] for row in rows] == [
        number for number in range(400) if is_drawn(audit_name(run_id, "cam01", number), rows[0]["probability"])
    ]
    assert {row["probability"] for row in rows} == {1 / 30}
    assert 1 < len(rows) < 60
    for row in rows:
        if row["missing"] is None:
            assert level_of(records, row) == pytest.approx(row["sequence"] % 200, abs=3)
        detections = json.loads(row["detections"])
        assert (
            detections == []
            if row["sequence"] < 200
            else detections
            == [
                {"class": "short", "score": 0.8765, "box": [1.0, 2.0, 3.0, 4.0]},
                {"class": "open", "score": 0.5, "box": [5.0, 6.0, 7.0, 8.0]},
            ]
        )
    assert verified(records, images=True).draws == len(rows)


def test_a_probability_is_said_of_its_camera_alone(open_log: OpenLog, records: Path) -> None:
    """`cam1` does not speak for `cam10`, whose name begins so."""
    log = open_log()
    log.review.apply(review(audit_per_hour=100))
    for camera in ("cam10", "cam1", "cam10"):
        log.review.inspected(make_inspection(grey_frame(5, camera=camera)), [])
    log.close()
    with closing(open_reader(records)) as connection:
        said = connection.execute("SELECT key, body FROM journal WHERE kind = 'configuration' ORDER BY number")
        found = [(key, json.loads(body)["after"] is not None) for key, body in said]
    assert found == [("audit/cam10", True), ("audit/cam1", True)]


def test_a_drawn_frame_without_room_is_a_row(open_log: OpenLog, records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who draws and does not look must say so: an image that is not there biases what is estimated."""
    log = open_log()
    monkeypatch.setattr("vision_line.records.review.images.MOST_WAITING", 0)
    log.review.apply(review(audit_per_hour=3600))
    audited(log, 300)
    log.close()

    rows = rows_of(records, "audits")
    assert rows
    assert {row["missing"] for row in rows} == {"too many images waited to be written"}
    assert not broken(records)


def test_a_disk_that_refuses_is_no_reason_to_stop(open_log: OpenLog, records: Path) -> None:
    """Inspection goes on, the rows say why."""
    log = open_log()
    (records / "review").write_text("no folder")
    log.review.apply(review(audit_per_hour=3600))
    audited(log, 300)
    log.close()

    assert log.status().reason in {"", "the writer has stopped"}
    assert all(row["missing"].startswith("the image cannot be written") for row in rows_of(records, "audits"))


def test_review_is_switched_while_the_line_runs(open_log: OpenLog, records: Path) -> None:
    """On, off and on; the journal knows each probability before the frames that were drawn with it."""
    log = open_log()
    audited(log, 100)
    log.review.apply(review(audit_per_hour=3600))
    seen = grey_frame(99)
    log.review.ended([candidate(seen, 7, CandidatePhase.MISSED)])
    audited(log, 100, 100)
    log.review.apply(None)
    audited(log, 100, 200)
    log.review.inspected(make_inspection(seen), [candidate(seen, 8), candidate(seen, 8, CandidatePhase.MISSED)])
    log.review.apply(review(audit_per_hour=1800, near_misses=False))
    audited(log, 200, 300)
    log.close()

    rows = rows_of(records, "audits")
    # One run in thirty draws none of a hundred frames.
    assert {row["probability"] for row in rows if row["sequence"] < 300} <= {1 / 30}
    assert {row["probability"] for row in rows if row["sequence"] >= 300} <= {1 / 60}
    assert not [row for row in rows if row["sequence"] < 100 or 200 <= row["sequence"] < 300]
    assert [(row["probability"], row["missing"]) for row in rows_of(records, "near_misses")] == [(0.0, NOT_KNOWN)]
    with closing(sqlite3.connect(records / FILE_NAME)) as connection:
        said = connection.execute("SELECT key, body FROM journal WHERE kind = 'configuration'").fetchall()
    assert {key for key, _ in said} == {"audit/cam01"}
    after = [json.loads(body)["after"] for _, body in said]
    assert [(one["probability"], one["since_sequence"]) for one in after] == [(1 / 30, 100), (0.0, 200), (1 / 60, 300)]
    assert not broken(records)


def test_the_oldest_images_make_room(open_log: OpenLog, records: Path) -> None:
    """Near misses and audits have half of the space each; the rows say what went."""
    log = open_log()
    log.review.apply(review(max_mb=1))
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
    for number in range(6):
        data = av.VideoFrame.from_ndarray(noise, format="bgr24").reformat(format="yuv420p")
        frame = replace(grey_frame(number, data=data), size_wh=(640, 480))
        log.review.inspected(make_inspection(frame), [candidate(frame, number)])
        log.review.ended([candidate(frame, number, CandidatePhase.MISSED)])
    log.close()

    rows = rows_of(records, "near_misses")
    deleted = [row["deleted_why"] for row in rows if row["deleted_utc"] is not None]
    kept = [row for row in rows if row["deleted_utc"] is None]
    assert deleted
    assert set(deleted) == {"review_max_mb"}
    assert 0 < sum(row["bytes"] for row in kept) <= 500_000
    assert not broken(records)


class ElsewhereFrame:
    """A frame in a device's memory."""

    def __init__(self, level: int) -> None:
        self.level = level
        self.copies = 0
        self.reader: list[str] = []

    def to_host(self) -> av.VideoFrame:
        """Return a grey frame."""
        self.copies += 1
        self.reader.append(threading.current_thread().name)
        return av.VideoFrame.from_ndarray(np.full((48, 64), self.level, np.uint8), format="gray")


def test_a_frame_on_a_device_goes_back_to_its_decoder(open_log: OpenLog, records: Path, wait_until: WaitUntil) -> None:
    """It is copied by the thread that writes, at once, while the candidate is undecided."""
    log = open_log()
    log.review.apply(review())
    native = ElsewhereFrame(77)
    frame = grey_frame(0, data=native)
    log.review.inspected(make_inspection(frame), [candidate(frame, 1)])
    wait_until(lambda: native.copies == 1)
    log.review.ended([candidate(frame, 1, CandidatePhase.MISSED)])
    log.close()

    assert native.reader == ["review"]
    (row,) = rows_of(records, "near_misses")
    assert level_of(records, row) == pytest.approx(77, abs=3)


@pytest.fixture
def audits(open_log: OpenLog, records: Path) -> Path:
    """Records with audits and near misses, all of which hold."""
    log = open_log()
    log.review.apply(review(audit_per_hour=3600, near_misses=0.5))
    audited(log, 300)
    for number in range(20):
        frame = grey_frame(number)
        log.review.inspected(make_inspection(grey_frame(300 + number)), [candidate(frame, number)])
        log.review.ended([candidate(frame, number, CandidatePhase.MISSED)])
    log.close()
    assert not broken(records)
    return records


FORGERIES = {
    "another frame": ("UPDATE audits SET sequence = 100000 + (SELECT {other}) WHERE audit = 1", "was not drawn"),
    "another probability": ("UPDATE audits SET probability = 1.0 WHERE audit = 1", "was in force"),
    "an image that was not drawn": (
        "UPDATE near_misses SET path = 'review/x/y/1-z.jpg', missing = NULL WHERE missing = 'not drawn'",
        "not drawn with",
    ),
    "a drawn image that is said not to be": (
        "UPDATE near_misses SET path = NULL, missing = 'not drawn' WHERE path IS NOT NULL",
        "was drawn with",
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_draws_that_do_not_hold_are_named(audits: Path, forgery: str) -> None:
    """Also where the journal was written with them, by a program that draws as it likes."""
    statement, words = FORGERIES[forgery]
    (run_id,) = {row["run_id"] for row in rows_of(audits, "audits")}
    other = next(n for n in range(1000) if not is_drawn(audit_name(run_id, "cam01", 100_000 + n), 1 / 30))
    with closing(open_writer(audits / FILE_NAME)) as connection, transaction(connection):
        connection.execute(statement.format(other=other))

    assert words in broken(audits)


@pytest.mark.parametrize("table", [Table.AUDITS, Table.NEAR_MISSES])
def test_both_are_exported(audits: Path, tmp_path: Path, table: Table) -> None:
    """As every table; detections as JSON."""
    done = export(audits, table, Format.JSONL, Selection(cameras=("cam01",)), tmp_path / "rows.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]

    assert done.rows == len(rows) > 0
    assert all(0 < row["probability"] <= 1 for row in rows)


def test_images_of_a_run_that_was_killed_are_settled(audits: Path, open_log: OpenLog) -> None:
    """A file whose row was not committed is removed; rows keep theirs."""
    (kept, *_) = (row["path"] for row in rows_of(audits, "audits") if row["path"] is not None)
    stray = (audits / kept).with_name("1-audit-999999.jpg")
    stray.write_bytes(b"a run that was killed wrote it")
    with closing(open_writer(audits / FILE_NAME)) as connection, transaction(connection):
        connection.execute("UPDATE runs SET ended_utc = NULL, end_cause = NULL")
    open_log().close()

    assert not stray.exists()
    assert (audits / kept).is_file()
    assert verified(audits, images=True).draws > 0


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """The thread ends with its log."""
    yield
    assert "review" not in {thread.name for thread in threading.enumerate()}
