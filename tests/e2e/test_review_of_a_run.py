# SPDX-License-Identifier: AGPL-3.0-or-later
"""Defects that are shown too briefly, and frames drawn at random, of simulated cameras: each with its right image."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from benchmarks.scoring import load_truth
from tests.e2e.conftest import LineRun
from tests.fakes.waiting import wait_for

from vision_line.records.columns import Table
from vision_line.records.query import Selection
from vision_line.records.review.draw import audit_name, is_drawn
from vision_line.records.table_export import Format, export
from vision_line.simulator.barcode import read_barcode
from vision_line.simulator.clips import ensure_clips
from vision_line.simulator.truth import Box, ClipTruth

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

#: At 10 inspections a second no defect stays in view for so many hits: each is shown too briefly to be an event.
DEFAULTS = "inspect_fps = 10\ndwell_s = 20.0\nmin_hits = 100"
#: What is seen in so many inspections is there; what is seen once may be the model's error, and is a near miss too.
SEEN_LONG = 15
REVIEW = "[review]\naudit_per_hour = 3600\nnear_misses = true\n"


class Shown(NamedTuple):
    """An image of a camera: the frame's number in the run, and which of the clip's frames the image shows."""

    sequence: int
    position: int


def _shown(run: LineRun, truth: ClipTruth, path: str, sequence: int) -> Shown:
    grey = cv2.imread(str(run.records / path), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    read = read_barcode(grey.astype(np.uint8, copy=False))
    assert read is not None
    assert read[0] == truth.clip_id
    return Shown(sequence, read[1])


def _overlap(one: Box, other: Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, across) * max(0.0, down)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


def _is_true(truth: ClipTruth, index: int, kind: str, box: Iterable[float]) -> bool:
    x1, y1, x2, y2 = box
    return any(seen.kind == kind and _overlap((x1, y1, x2, y2), seen.xyxy) > 0.5 for seen in truth.frames[index])


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> LineRun:
    """Two cameras for 20 seconds, reviewed."""
    run = LineRun(tmp_path_factory.mktemp("review"), 2)
    run.write_streams(run.names, extra=REVIEW, defaults=DEFAULTS)
    assert run.run("--duration", "20", within_s=200) == 0, run.text()[-3000:]
    return run


@pytest.fixture(scope="module")
def truths() -> dict[str, ClipTruth]:
    """What each camera's clip truly shows."""
    return {clip.camera: load_truth(clip.truth) for clip in ensure_clips(2, 1)}


def test_a_defect_that_is_shown_too_briefly_is_a_near_miss(reviewed: LineRun, truths: dict[str, ClipTruth]) -> None:
    """No event; its best observation is in the frame that the image shows, at the row's box."""
    rows = reviewed.query(
        "SELECT camera, class, sequence, x1, y1, x2, y2, path, missing, hits, probability FROM near_misses"
    )

    assert reviewed.query("SELECT count(*) FROM events") == [(0,)]
    assert {camera for camera, *_ in rows} == set(truths)
    assert {(row[8], row[10]) for row in rows} == {(None, 1.0)}
    seen_long = [
        _is_true(truths[camera], _shown(reviewed, truths[camera], path, sequence).position, kind, box)
        for camera, kind, sequence, *box, path, _, hits, _ in rows
        if hits >= SEEN_LONG
    ]
    assert sum(seen_long) >= 0.8 * len(seen_long) > 3


def test_audits_are_drawn_frames_with_all_that_was_found(reviewed: LineRun, truths: dict[str, ClipTruth]) -> None:
    """Each draw can be made again, and what the row says was found is in the frame that the image shows."""
    rows = reviewed.query(
        "SELECT run_id, camera, sequence, probability, detections, path, missing FROM audits JOIN runs USING (run)"
    )

    assert len(rows) > 5
    assert all(is_drawn(audit_name(run_id, camera, sequence), p) for run_id, camera, sequence, p, *_ in rows)
    assert {row[6] for row in rows} == {None}
    found = [
        _is_true(truths[camera], _shown(reviewed, truths[camera], path, sequence).position, one["class"], one["box"])
        for _, camera, sequence, _, detections, path, _ in rows
        for one in json.loads(detections)
    ]
    # Of another frame's image next to none would be there; some of what a model finds is not.
    assert sum(found) >= 0.6 * len(found) > 0


def test_images_show_the_frames_that_the_rows_name(reviewed: LineRun, truths: dict[str, ClipTruth]) -> None:
    """Frames are numbered without gaps, so all images of a camera agree where its clip began."""
    rows = reviewed.query(
        "SELECT camera, sequence, path FROM audits UNION ALL SELECT camera, sequence, path FROM near_misses"
    )
    began = defaultdict(set)
    for camera, sequence, path in rows:
        shown = _shown(reviewed, truths[camera], path, sequence)
        began[camera].add((shown.position - shown.sequence) % len(truths[camera].frames))

    assert {camera: len(at) for camera, at in began.items()} == dict.fromkeys(truths, 1)


def test_the_records_hold_and_are_exported(reviewed: LineRun, tmp_path: Path) -> None:
    """`verify --pictures` makes the draws again; `export` has both tables."""
    call = [sys.executable, "-m", "vision_line", "verify", str(reviewed.records), "--pictures"]
    done = subprocess.run(call, text=True, capture_output=True, check=False, timeout=120)
    tables = [
        export(reviewed.records, table, Format.CSV, Selection(), tmp_path / f"{table}.csv")
        for table in (Table.AUDITS, Table.NEAR_MISSES)
    ]

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"audits and near misses: {sum(table.rows for table in tables)} draws hold" in done.stdout


def test_review_follows_the_configuration(make_run: Callable[[int], LineRun]) -> None:
    """Switched on while the line runs; the journal says from which frame on with which probability."""
    run = make_run(1)
    run.write_streams(run.names, defaults=DEFAULTS)
    run.start()
    run.wait_for_detections()
    assert run.query("SELECT count(*) FROM audits") == [(0,)]
    run.write_streams(run.names, extra=REVIEW, defaults=DEFAULTS)
    wait_for(lambda: run.query("SELECT count(*) FROM audits") != [(0,)], f"audits: {run.text()[-2000:]}")
    run.close()

    said = [json.loads(body) for (body,) in run.query("SELECT body FROM journal WHERE key = 'audit/cam01'")]
    assert said[0]["after"]["per_hour"] == 3600
    assert said[0]["after"]["since_sequence"] > 0
    (section,) = run.query("SELECT body FROM journal WHERE key = 'section/review'")
    assert json.loads(section[0])["why"] == "reload"
