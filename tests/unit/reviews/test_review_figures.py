# SPDX-License-Identifier: AGPL-3.0-or-later
"""Figures of reviews through the real files: a truth that is known, samples as the queue draws them, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fakes.desk_records import BEGAN_UTC
from tests.fakes.reviewed_records import BOX, Edges, ReviewedRecords, answer_all, reviewed_records

from vision_line.quality import BoundedFigure, Refused, ReviewCandidate
from vision_line.records.schema import open_reader
from vision_line.reviews.answer import Answer, ItemKey, ItemKind, LineCall, ReviewedBox, ReviewVerdict
from vision_line.reviews.figures.review_figures import ReviewFigures, review_figures
from vision_line.reviews.figures.reviewed_time import read_reviewed_time
from vision_line.reviews.review_plan import AUDITS, NEAR_MISSES, place_of
from vision_line.reviews.reviews_file import reading

DAY = (BEGAN_UTC, BEGAN_UTC + 86_400)
ELSEWHERE: Edges = (40.0, 30.0, 56.0, 44.0)


@dataclass
class ReviewedPlant:
    """Adds items and what a person says of them, by default wholly reviewed; answers are entered with `figures`."""

    made: ReviewedRecords
    answers: list[Answer] = field(default_factory=list)
    count: int = 0

    def event(self, true: bool | None, *, verdict: str = "reject", at_s: float = 100.0, **other: Any) -> None:
        """Add an event; `true` None: nobody reviewed it."""
        said = {name: other.pop(name) for name in ("stratum", "by", "says", "inclusion") if name in other}
        self.count += 1
        item = self.made.event(self.count, at_s, verdict=verdict, **{"top_score": 0.8, **other})
        if true is not None:
            self.say(item, true, **{"stratum": verdict, **said})

    def near_miss(self, true: bool | None) -> None:
        """Add a near miss."""
        self.count += 1
        item = self.made.near_miss(self.count, 100.0)
        if true is not None:
            self.say(item, true, stratum=NEAR_MISSES)

    def audit(self, *boxes: Edges, at_s: float = 5000.0) -> None:
        """Add an audited frame with these true defects, of which nothing was found in the frame."""
        self.count += 1
        item = self.made.audit(self.count, at_s)
        given = tuple(ReviewedBox("short", *box) for box in boxes)
        self.say(item, not boxes, stratum=AUDITS, boxes=given)

    def say(self, item: ItemKey, true: bool, *, by: str = "anna", says: str = "", **other: Any) -> None:
        """Note an answer."""
        verdict = ReviewVerdict(says or ("confirmed" if true else "overruled"))
        self.answers.append(Answer(item=item, person=by, verdict=verdict, call=LineCall("", "open", 0.8), **other))

    def inspected(self, frames: int) -> None:
        """Add inspected frames."""
        self.made.records.minute(self.made.run, "cam", 0, frames)

    def figures(self, **left_out: Any) -> ReviewFigures:
        """Return the figures of the day."""
        directory = self.made.records.directory
        answer_all(directory, self.answers)
        with closing(open_reader(directory)) as rows, reading(directory) as reviews:
            return review_figures(read_reviewed_time(rows, reviews, *DAY, **left_out), [DAY])


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[ReviewedPlant]:
    """Yield an empty plant, whose commits wait for no disk."""
    with reviewed_records(tmp_path) as made:
        made.records.connection.execute("PRAGMA synchronous=OFF")
        yield ReviewedPlant(made)


def known(answer: BoundedFigure | Refused) -> tuple[float, float, float]:
    assert isinstance(answer, BoundedFigure), answer
    return answer.value, answer.low, answer.high


def reason(answer: BoundedFigure | Refused) -> str:
    assert isinstance(answer, Refused), answer
    return answer.reason


def fill(plant: ReviewedPlant) -> None:
    """Add 14 called events (9 true), 2 accepted ones (1), 5 near misses (2), 4 frames with one missed defect."""
    for n in range(10):
        plant.event(n < 7)
    for n in range(4):
        plant.event(n < 2, verdict="warn")
    for n in range(2):
        plant.event(n < 1, verdict="accept")
    for n in range(5):
        plant.near_miss(n < 2)
    for n in range(4):
        plant.audit(*([ELSEWHERE] if n == 0 else []))
    plant.inspected(4)


def test_what_is_reviewed_wholly_is_known_exactly(plant: ReviewedPlant) -> None:
    """Precision, recall, escapes and false calls are the truth, without an interval; 9 frames show a defect."""
    fill(plant)

    found = plant.figures()

    missed = 1 + 2 + 1 / 9
    assert known(found.estimates.precision) == pytest.approx((9 / 14,) * 3)
    assert known(found.estimates.recall) == pytest.approx((9 / (9 + missed),) * 3)
    assert known(found.estimates.escapes_per_million) == pytest.approx((1e6 * missed / 4,) * 3)
    assert known(found.estimates.false_calls) == pytest.approx((5.0,) * 3)
    assert {(cell.line, cell.truth): cell.reviewed for cell in found.confusion} == {
        ("open", "open"): 9,
        ("open", "no defect"): 5,
        ("not called", "open"): 3,
        ("not called", "short"): 1,
    }
    assert {(cell.line, cell.truth): cell.estimated for cell in found.confusion} == pytest.approx(
        {("open", "open"): 9, ("open", "no defect"): 5, ("not called", "open"): 3, ("not called", "short"): 1 / 9}
    )
    (day,) = found.periods
    assert (day.rejects, day.reviewed) == (10, 10)
    assert known(day.false_rejects) == pytest.approx((3.0,) * 3)
    assert (found.counts.reviewed, found.counts.audits, found.counts.inspected_frames) == (25, 4, 4)


def test_a_sample_as_the_queue_draws_it_covers_the_truth(tmp_path: Path) -> None:
    """Of 20 plants with hundreds of items each, of which a fifth is reviewed, 17 or more for each figure."""
    rng = np.random.default_rng(20261129)
    covered = np.zeros(3, int)
    for n in range(20):
        folder = tmp_path / str(n)
        with reviewed_records(folder) as made:
            made.records.connection.execute("PRAGMA synchronous=OFF")
            covered += drawn_plant(ReviewedPlant(made), rng)

    assert (covered >= 17).all(), covered


def drawn_plant(plant: ReviewedPlant, rng: np.random.Generator) -> list[bool]:
    """Fill a plant, review what the queue draws, and return which intervals hold the truth."""
    connection = plant.made.records.connection
    truth = {"called": 0, "missed": 0, "calls": 0}
    connection.execute("BEGIN")
    rows: list[tuple[str, ItemKey, bool, float]] = []
    for kind, size, share in (("reject", 150, 0.85), ("accept", 60, 0.1), (NEAR_MISSES, 120, 0.15)):
        for _ in range(size):
            plant.count += 1
            is_true = bool(rng.random() < share)
            truth["called" if kind == "reject" else "missed"] += is_true
            truth["calls"] += kind == "reject"
            own = plant.made
            item = bulk_item(own, plant.count, kind)
            rows.append((kind, item, is_true, 1.0))
    audited = rng.permutation(400) < 8
    for n in range(400):
        plant.count += 1
        item = bulk_item(plant.made, plant.count, AUDITS)
        truth["missed"] += 1 if audited[n] else 0
        rows.append((AUDITS, item, bool(audited[n]), 0.02))
    connection.execute("COMMIT")
    plant.inspected(20_000)
    for kind, item, is_true, probability in rows:
        place = place_of(ReviewCandidate(str(item), kind), probability)
        if place is not None:
            boxes = ((ReviewedBox("short", *ELSEWHERE),) if is_true else ()) if kind == AUDITS else None
            says = is_true != (kind == AUDITS)
            plant.say(item, says, stratum=place.stratum, inclusion=place.inclusion, boxes=boxes)
    found = plant.figures().estimates
    missed = truth["missed"] - 8 + 8 * 50 / 9  # each audited defect is one of 50 frames, and 9 frames show a defect
    expected = (truth["called"] / truth["calls"], truth["called"] / (truth["called"] + missed), 1e6 * missed / 20_000)
    figures = (found.precision, found.recall, found.escapes_per_million)
    return [known(one)[1] <= value <= known(one)[2] for one, value in zip(figures, expected, strict=True)]


def bulk_item(made: ReviewedRecords, n: int, kind: str) -> ItemKey:
    """Add an item within a transaction that is under way."""
    camera = {"run": made.run, "camera": "cam", "station": "", "recipe": ""}
    frame = {**dict(zip(("x1", "y1", "x2", "y2"), BOX, strict=True)), "width": 64, "height": 48, "sequence": n}
    seen = {"first_seen_utc": BEGAN_UTC, "first_seen_s": 0.0, "last_seen_utc": BEGAN_UTC + 3, "last_seen_s": 3.0}
    image = {"bytes": 0, "created_utc": BEGAN_UTC, "probability": 1.0, "path": "a"}
    found = {"class": "open", "score": 0.8, "hits": 9}
    if kind == AUDITS:
        size = {"width": 64, "height": 48, "sequence": n, "arrived_utc": BEGAN_UTC + 600, "arrived_s": 600.0}
        _insert(made, "audits", {**camera, **size, **image, "detections": "[]"})
        return ItemKey(ItemKind.AUDIT, made.run_id, f"cam/{n}")
    if kind == NEAR_MISSES:
        _insert(made, "near_misses", {**camera, **frame, **seen, **image, **found, "near_miss_id": f"n{n}"})
        return ItemKey(ItemKind.NEAR_MISS, made.run_id, f"n{n}")
    event = {
        "event_id": f"e{n}",
        "verdict": kind,
        "phase": "end",
        "ended": 1,
        "top_score": 0.8,
        "confirmed_sequence": n,
    }
    _insert(made, "events", {**camera, **frame, **seen, **found, **event})
    return ItemKey(ItemKind.EVENT, made.run_id, f"e{n}")


def _insert(made: ReviewedRecords, table: str, values: dict[str, Any]) -> None:
    sql = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"
    made.records.connection.execute(sql, tuple(values.values()))


@pytest.mark.parametrize(
    ("box", "at_s", "missed"),
    [
        (BOX, 101.5, 0),  # where the event was then
        (ELSEWHERE, 101.5, 1),
        (BOX, 105.0, 1),  # when it had left
    ],
)
def test_a_defect_of_an_audited_frame_counts_once(plant: ReviewedPlant, box: Edges, at_s: float, missed: int) -> None:
    """One that is an event by then counts there alone, though this frame missed it."""
    plant.event(True, at_s=100.0)
    plant.audit(box, at_s=at_s)
    plant.inspected(100)

    found = plant.figures().estimates

    escapes = known(found.escapes_per_million)[0]
    assert escapes == pytest.approx(1e6 * missed * 100 / 9 / 100)


def test_a_moving_event_is_looked_for_where_it_was_in_that_frame(plant: ReviewedPlant) -> None:
    """Half way between its first and last box."""
    moved: dict[str, Any] = {"first_sequence": 0, "last_sequence": 4, "last_score": 0.5}
    edges = ("x1", "y1", "x2", "y2")
    moved |= dict(zip((f"first_{edge}" for edge in edges), (0.0, 0.0, 8.0, 8.0), strict=True))
    moved |= dict(zip((f"last_{edge}" for edge in edges), (48.0, 0.0, 56.0, 8.0), strict=True))
    plant.event(True, frame=0, box=(0.0, 0.0, 8.0, 8.0), **moved)
    plant.audit((22.0, 0.0, 30.0, 8.0), at_s=101.0)
    plant.inspected(100)

    assert known(plant.figures().estimates.escapes_per_million)[0] == 0.0


def test_recall_is_refused_where_nobody_audited(plant: ReviewedPlant) -> None:
    """Precision is not."""
    plant.event(True)
    plant.event(False)
    plant.inspected(100)

    found = plant.figures().estimates

    assert known(found.precision)[0] == 0.5
    assert "without reviewed audits nothing is known about what was missed" in reason(found.recall)


def test_recall_is_refused_while_near_misses_wait(plant: ReviewedPlant) -> None:
    """Or what the line accepted: a stratum that may hold misses."""
    plant.event(True)
    plant.near_miss(None)
    plant.audit()
    plant.inspected(100)

    assert reason(plant.figures().estimates.recall) == "none of 1 reviewed in near misses"


def test_the_borderline_counts_when_it_is_done(plant: ReviewedPlant) -> None:
    """Reviewed from one end, a part of it says nothing about the rest; what has no image is taken to be as the rest."""
    connection = plant.made.records.connection
    connection.execute("UPDATE cameras SET settings = '{\"reject_threshold\":0.78}'")
    image = b"jpeg"
    plant.event(True, stratum="reject, borderline", image=image)
    plant.event(None, image=image)
    plant.event(None)
    waiting = plant.figures().estimates.precision
    plant.answers = [
        Answer(
            item=ItemKey(ItemKind.EVENT, plant.made.run_id, "event 2"),
            person="anna",
            verdict=ReviewVerdict.OVERRULED,
            stratum="reject, borderline",
        )
    ]
    done = plant.figures().estimates.precision

    assert "only 1 of 3 reviewed in reject, borderline" in reason(waiting)
    assert known(done)[0] == 0.5


def test_answers_out_of_turn_and_unsure_ones_are_in_no_figure(plant: ReviewedPlant) -> None:
    """They are counted."""
    plant.event(True)
    plant.event(False, stratum="")
    plant.event(True, says="unsure")
    plant.inspected(9)

    found = plant.figures()

    assert known(found.estimates.precision)[0] == 1.0
    assert (found.counts.by_hand, found.counts.unsure) == (1, 1)


def test_challenge_parts_are_no_production(plant: ReviewedPlant) -> None:
    """What was seen first while one passed is in no figure."""
    plant.event(True)
    plant.event(False, at_s=200.0)

    found = plant.figures(is_left_out=lambda camera, utc: camera == "cam" and utc == BEGAN_UTC + 200)

    assert found.counts.items == 1
    assert known(found.estimates.precision)[0] == 1.0


def test_challenge_parts_do_not_say_how_many_frames_show_a_defect(plant: ReviewedPlant) -> None:
    """A challenge part is held for long: each defect that an audit found counts by the hits of production alone."""
    plant.event(True, hits=8)
    for n in range(4):
        plant.event(None, at_s=200.0 + n, hits=90)
    plant.audit(ELSEWHERE)
    plant.inspected(1)

    found = plant.figures(is_left_out=lambda _camera, utc: 200 <= utc - BEGAN_UTC < 300)

    assert found.counts.frames_each == 8
    assert known(found.estimates.escapes_per_million)[0] == pytest.approx(1e6 / 8)
    assert known(found.estimates.recall)[0] == pytest.approx(1 / (1 + 1 / 8))


def test_where_all_events_are_of_challenge_parts_a_defect_is_one_frame(plant: ReviewedPlant) -> None:
    """Nothing is known of production then, and escapes are rather overstated."""
    plant.event(None, at_s=200.0, hits=90)
    plant.audit(ELSEWHERE)
    plant.inspected(1)

    found = plant.figures(is_left_out=lambda _camera, utc: utc == BEGAN_UTC + 200)

    assert found.counts.frames_each == 1
    assert known(found.estimates.escapes_per_million)[0] == pytest.approx(1e6)


def test_each_model_has_its_own_figures(plant: ReviewedPlant) -> None:
    """By its SHA-256, however many runs it had; the trend has a point for each shift or day."""
    plant.event(True)
    plant.inspected(100)
    other = plant.made.records.run(40_000, 50_000, "cam")
    plant.made.records.connection.execute("UPDATE runs SET model_sha256 = ? WHERE run = ?", ("2" * 64, other))
    plant.made.run, plant.made.run_id = other, "run at 40000"
    plant.event(False, at_s=41_000)
    plant.made.records.minute(other, "cam", 41_000, 50)

    found = plant.figures()

    assert [(one.sha256[0], one.inspected_frames, known(one.estimates.precision)[0]) for one in found.models] == [
        ("1", 100, 1.0),
        ("2", 50, 0.0),
    ]
    assert [len(one.trend) for one in found.models] == [1, 1]


def test_another_threshold_is_known_down_to_the_lowest_recorded_score(plant: ReviewedPlant) -> None:
    """By hand: three true events and one false one, the lowest nobody reviewed."""
    for true, score in ((True, 0.9), (True, 0.7), (False, 0.6), (True, 0.55), (None, 0.4)):
        plant.event(true, top_score=score)

    curve = plant.figures().what_if

    assert curve.floor == 0.4
    assert curve.effects[0].threshold == 0.4
    each = 5 / 4  # of five events four were reviewed
    at = {round(one.threshold, 2): (one.true_calls, one.false_calls, one.missed) for one in curve.effects}
    assert at[0.4] == pytest.approx((3 * each, each, 0))
    assert at[0.58] == pytest.approx((2 * each, each, each))
    assert at[0.65] == pytest.approx((2 * each, 0, each))
    assert at[0.99] == pytest.approx((0, 0, 3 * each))


def test_without_reviews_everything_is_refused_in_words(plant: ReviewedPlant) -> None:
    """And nothing fails."""
    plant.event(None)
    plant.inspected(10)

    found = plant.figures()

    assert "none of 1 reviewed in reject" in reason(found.estimates.precision)
    assert reason(found.agreement.kappa) == "no item was reviewed by two people"
    assert found.what_if.refused == "no event was reviewed as the queue drew it"
    assert not found.confusion


def test_figures_are_apart_by_the_model_of_the_recipe(plant: ReviewedPlant) -> None:
    """Two models in one run: each has its own events and its own frames."""
    made = plant.made
    plant.inspected(1000)
    made.records.camera(made.run, "cam2", 0, recipe="caps", model=("caps", "2" * 64))
    made.records.minute(made.run, "cam2", 0, 300)
    made.records.connection.execute("UPDATE coverage SET recipe = 'caps' WHERE camera = 'cam2'")
    for true in (True, True, True, False):
        plant.event(true)
    for true in (True, False, False, False):
        plant.event(true, camera="cam2")
    made.records.connection.execute("UPDATE events SET recipe = 'caps' WHERE camera = 'cam2'")
    found = {model.name: model for model in plant.figures().models}
    assert {name: model.inspected_frames for name, model in found.items()} == {"pcb": 1000, "caps": 300}
    assert known(found["pcb"].estimates.precision)[0] == pytest.approx(0.75)
    assert known(found["caps"].estimates.precision)[0] == pytest.approx(0.25)
