# SPDX-License-Identifier: AGPL-3.0-or-later
"""The simulator's boards as challenge parts at belt speed: each event belongs to the board that it is on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from benchmarks.scoring import load_truth
from tests.e2e.conftest import LineRun
from tests.fakes.challenge_plans import begun, enter_act, enter_begun

from vision_line.challenges.doing import recent
from vision_line.challenges.entry_bodies import ChallengeAct, PlannedPass
from vision_line.reviews.reviews_file import writing
from vision_line.simulator.barcode import read_barcode
from vision_line.simulator.clips import ensure_clips
from vision_line.simulator.truth import ClipTruth

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

PLAN = """every = "8h"
[[part]]
id = "board"
expects = ["spur"]
"""


class BoardPass(NamedTuple):
    """A board going by: the numbers of the first and the last frame that shows a defect of it."""

    board: int
    first: int
    last: int

    @property
    def middle(self) -> float:
        return (self.first + self.last) / 2


def passes_of(truth: ClipTruth, offset: int, frames: int) -> Iterator[BoardPass]:
    """Give the boards that pass wholly in the first `frames` frames, of which number 0 shows position `offset`."""
    board_of = {defect.defect_id: defect.board for defect in truth.defects}
    began: dict[int, int] = {}
    for number in range(frames):
        boards = {board_of[box.defect_id] for box in truth.frames[(number + offset) % len(truth.frames)]}
        for board in [board for board in began if board not in boards]:
            if first := began.pop(board):  # one that was there at the start began before
                yield BoardPass(board, first, number - 1)
        for board in boards:
            began.setdefault(board, number)


def position_of(run: LineRun, path: str) -> int:
    grey = cv2.imread(str(run.records / path), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    read = read_barcode(grey.astype(np.uint8, copy=False))
    assert read is not None
    return read[1]


def board_of_event(truth: ClipTruth, position: int, kind: str, box: tuple[float, ...]) -> int | None:
    """Return the board whose defect is there; None: the model found what is not there."""
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    board_of = {defect.defect_id: defect.board for defect in truth.defects}
    for seen in truth.frames[position]:
        x1, y1, x2, y2 = seen.xyxy
        if seen.kind == kind and x1 <= middle[0] <= x2 and y1 <= middle[1] <= y2:
            return board_of[seen.defect_id]
    return None


def status(run: LineRun) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "vision_line", "challenge", "status", "--streams", str(run.streams)]
    return subprocess.run(call, cwd=run.folder, text=True, capture_output=True, check=False, timeout=60)


def enter(run: LineRun, camera: str, truth: ClipTruth, boards: list[BoardPass], utc: Callable[[float], float]) -> None:
    """Enter what a person would have done who begins each turn halfway between two boards."""
    halves = [utc((one.middle + other.middle) / 2) for one, other in pairwise(boards)]
    halves = [2 * utc(boards[0].middle) - halves[0], *halves, 2 * utc(boards[-1].middle) - halves[-1]]
    kinds = {one.board: frozenset(d.kind for d in truth.defects if d.board == one.board) for one in boards}
    planned = tuple(PlannedPass(part=str(one.board), expects=kinds[one.board]) for one in boards)
    with writing(run.records) as connection:
        number = enter_begun(connection, camera, begun((camera,), planned, halves[0] - 1.0))
        for at_utc in halves[:-1]:
            enter_act(connection, camera, ChallengeAct.PART, number, at_utc)
        enter_act(connection, camera, ChallengeAct.ENDED, number, halves[-1])


def pass_boards(run: LineRun, camera: str, truth: ClipTruth) -> tuple[dict[str, int | None], bool]:
    """Enter a challenge of the boards that a camera saw; return on which board each event truly is.

    And whether two of them were in view at once.
    """
    events = run.query(
        "SELECT v.event_id, v.class, v.sequence, v.picture_sequence, v.x1, v.y1, v.x2, v.y2, e.path FROM events v"
        " JOIN evidence e ON e.run = v.run AND e.event_id = v.event_id"
        f" WHERE e.path IS NOT NULL AND v.camera = '{camera}'"
    )
    frames = run.query(f"SELECT sequence, arrived_utc FROM detections WHERE camera = '{camera}' ORDER BY sequence")
    (seen, seen_utc), (last, _) = frames[0], frames[-1]
    offset = (position_of(run, events[0][8]) - events[0][3]) % len(truth.frames)
    boards = sorted(passes_of(truth, offset, last), key=lambda one: one.middle)
    if len(boards) < 2:
        return {}, False
    enter(run, camera, truth, boards, lambda number: seen_utc + (number - seen) / truth.fps)
    found = {
        event: board_of_event(truth, (sequence + offset) % len(truth.frames), kind, tuple(box))
        for event, kind, sequence, _, *box, _ in events
    }
    two_in_view = any(one.last >= other.first for one, other in pairwise(boards))
    parts = {one.board for one in boards}  # the boards before and behind them are products
    return {event: board for event, board in found.items() if board in parts}, two_in_view


def test_each_event_belongs_to_its_board_also_with_two_in_view(make_run: Callable[[int], LineRun]) -> None:
    """The line says at first that nobody challenged it; each event counts for the board that it is truly on."""
    run = make_run(3)
    truths = {clip.camera: load_truth(clip.truth) for clip in ensure_clips(3, 1)}
    targets = "".join(f'[[challenge]]\ncamera = "{camera}"\n' for camera in run.names)
    (run.folder / "challenge.toml").write_text(PLAN + targets, encoding="utf-8")
    assert run.run("--duration", "22", within_s=150) == 0, run.text()[-3000:]
    assert "challenges are overdue: cam01, cam02, cam03" in run.text()
    never = status(run)
    assert (never.returncode, never.stdout.count("overdue")) == (6, 6), never.stdout + never.stderr

    passed = [pass_boards(run, camera, truths[camera]) for camera in run.names]
    true = {event: board for found, _ in passed for event, board in found.items()}
    done = status(run)
    results = [one.result for one in recent(run.records, 1.0)]
    counted_for = {
        event: int(one.part) for result in results if result for one in result.passes for event in one.events
    }
    matched = {event: board for event, board in true.items() if event in counted_for}
    assert all(results), done.stdout + done.stderr
    assert any(two_in_view for _, two_in_view in passed)
    assert len(matched) >= 3
    assert matched == {event: counted_for[event] for event in matched}
