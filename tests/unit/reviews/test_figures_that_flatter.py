# SPDX-License-Identifier: AGPL-3.0-or-later
"""Figures that would come out better than the line is: each is right, or refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.desk_records import BEGAN_UTC
from tests.fakes.reviewed_records import BOX, ReviewedRecords, answer, reviewed_records

from vision_line.quality import BoundedFigure, Refused
from vision_line.records.corrected_time import read_timeline
from vision_line.records.retention import Why, remove_batch
from vision_line.records.schema import open_reader, transaction
from vision_line.reviews.answer import ItemKey, ItemKind
from vision_line.reviews.answer_journal import newest_of, withdraw
from vision_line.reviews.figures.review_figures import ReviewFigures, review_figures
from vision_line.reviews.figures.reviewed_time import read_reviewed_time
from vision_line.reviews.review_plan import AUDITS, is_for_two
from vision_line.reviews.reviews_file import reading, writing


@dataclass
class FlatteredPlant:
    """Enters what people say of the items of one run."""

    made: ReviewedRecords

    @property
    def directory(self) -> Path:
        """The folder of the records."""
        return self.made.records.directory

    def event(self, n: int, verdict: str = "confirmed", **other: Any) -> ItemKey:
        """Add a reviewed reject."""
        item = self.made.event(n, 100.0, **other)
        answer(self.directory, item, verdict, stratum="reject")
        return item

    def audit(self, n: int, at_s: float, *boxes: tuple[str, float, float, float, float]) -> None:
        """Add an audited frame with its true defects."""
        item = self.made.audit(n, at_s)
        answer(self.directory, item, "overruled" if boxes else "confirmed", stratum=AUDITS, boxes=boxes)

    def drawn(self, at_s: float, per_hour: float) -> None:
        """Enter that audits are drawn from here on."""
        body = json.dumps({"before": None, "after": {"per_hour": per_hour, "probability": 0.1, "since_sequence": 0}})
        entry = {"kind": "configuration", "key": "audit/cam", "at_utc": BEGAN_UTC + at_s, "body": body, "digest": b""}
        (number,) = self.made.records.connection.execute("SELECT coalesce(max(number), 0) + 1 FROM journal").fetchone()
        self.made.records.insert("journal", number=number, run=self.made.run, **entry)

    def minute(self, at_s: float, frames: int = 60, camera: str = "cam") -> None:
        """Add a minute of inspected frames."""
        self.made.records.minute(self.made.run, camera, at_s, frames)

    def figures(self, since_s: float = 0.0, until_s: float = 86_400.0) -> ReviewFigures:
        """Return the figures of a time."""
        time = (BEGAN_UTC + since_s, BEGAN_UTC + until_s)
        with closing(open_reader(self.directory)) as rows, reading(self.directory) as reviews:
            return review_figures(read_reviewed_time(rows, reviews, *time), [time])


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[FlatteredPlant]:
    """Yield a plant without items."""
    with reviewed_records(tmp_path) as made:
        made.records.connection.execute("PRAGMA synchronous=OFF")
        yield FlatteredPlant(made)


def refused(figures: ReviewFigures) -> str:
    """Return why there is neither a recall nor escapes."""
    assert figures.estimates.recall == figures.estimates.escapes_per_million
    assert isinstance(figures.estimates.recall, Refused), figures.estimates.recall
    return figures.estimates.recall.reason


def test_recall_is_refused_where_a_camera_had_no_audits(plant: FlatteredPlant) -> None:
    """What one camera's audits show says nothing about the other's misses."""
    plant.event(1)
    plant.audit(2, 30.0)
    plant.minute(0)
    assert isinstance(plant.figures().estimates.recall, BoundedFigure)
    plant.minute(0, 600, camera="other")

    assert refused(plant.figures()) == "audits were off for 600 of 660 inspected frames"


def test_recall_is_refused_for_a_time_before_audits(plant: FlatteredPlant) -> None:
    """And for one in which they were switched off; the time in which they were on has its figures."""
    plant.event(1)
    plant.audit(2, 130.0)
    for at_s in (0.0, 60.0, 120.0, 180.0, 240.0, 300.0):
        plant.minute(at_s)
    for at_s, per_hour in ((121.0, 4.0), (250.0, 0.0), (301.0, 4.0)):
        plant.drawn(at_s, per_hour)

    assert refused(plant.figures()) == "audits were off for 180 of 360 inspected frames"
    assert isinstance(plant.figures(60.0 + 60.0, 240.0).estimates.escapes_per_million, BoundedFigure)


def test_a_time_shorter_than_a_minute_is_not_known_exactly(plant: FlatteredPlant) -> None:
    """The ledger has minutes: an audited frame stands for those of the whole one."""
    plant.event(1)
    plant.audit(2, 130.0)
    plant.minute(120, 600)

    found = plant.figures(125.0, 135.0)

    assert found.counts.inspected_frames == 600
    escapes = found.estimates.escapes_per_million
    assert isinstance(escapes, BoundedFigure)
    assert escapes.high > 0


def test_recall_is_refused_where_inspected_frames_are_missing(plant: FlatteredPlant) -> None:
    """Audits that stand for nothing but themselves would be known exactly."""
    plant.event(1)
    plant.audit(2, 130.0)
    plant.audit(3, 131.0)
    plant.minute(120, 1)

    assert refused(plant.figures()) == "2 frames were audited, and only 1 inspected ones are in the records"


def test_an_event_explains_one_defect_of_an_audited_frame(plant: FlatteredPlant) -> None:
    """Another one beside it was missed."""
    plant.event(1, hits=1)
    plant.audit(2, 101.0, ("open", *BOX), ("short", BOX[0] + 6, *BOX[1:]))
    plant.minute(60, 1)

    found = plant.figures()

    assert [cell.truth for cell in found.confusion if cell.line == "not called"] == ["short"]


def removed(plant: FlatteredPlant, table: str, to_s: float) -> None:
    """Remove a table's rows up to a moment, as retention does and enters it."""
    at = {"events": "last_seen_utc", "near_misses": "last_seen_utc", "audits": "arrived_utc", "coverage": "minute_utc"}
    rows = plant.made.records
    rows.connection.execute(f"DELETE FROM {table} WHERE {at[table]} <= ?", (BEGAN_UTC + to_s,))
    moments = {"from_utc": BEGAN_UTC, "to_utc": BEGAN_UTC + to_s, "at_utc": BEGAN_UTC + 86_000}
    rows.insert("removals", removed_from=table, rows=1, why="max_mb", **moments)


@pytest.mark.parametrize("size", [False, True], ids=["as retention enters it", "by the size of the file"])
def test_defects_of_removed_events_are_no_escapes(plant: FlatteredPlant, size: bool) -> None:
    """`max_mb` takes events first, while the audits stay that saw the same defects: that time is in no figure."""
    plant.event(1)
    plant.audit(2, 101.0, ("open", *BOX))
    plant.made.event(3, 7000.0, hits=1)
    answer(plant.directory, ItemKey(ItemKind.EVENT, plant.made.run_id, "event 3"), "confirmed", stratum="reject")
    plant.audit(4, 7001.0, ("open", *BOX))
    plant.minute(60, 6000)
    plant.minute(6960, 60)
    whole = plant.figures()
    if size:
        connection = plant.made.records.connection
        for shelf in ("detections", "events"):
            timeline = read_timeline(connection, BEGAN_UTC + 7100)
            with transaction(connection):
                gone = remove_batch(connection, timeline, -inf, 1, BEGAN_UTC + 7100, why=Why.MAX_MB)
            assert gone is not None
            assert gone.table == shelf
    else:
        removed(plant, "events", 103.0)

    found = plant.figures()

    assert isinstance(whole.estimates.escapes_per_million, BoundedFigure)
    assert isinstance(found.estimates.escapes_per_million, BoundedFigure)
    assert whole.estimates.escapes_per_million.value == found.estimates.escapes_per_million.value == 0.0
    assert whole.counts.known_since_utc == 0.0
    assert found.counts.known_since_utc - BEGAN_UTC in (120.0, 180.0)
    assert (found.counts.items, found.counts.inspected_frames) == (2, 60)
    assert [period.since_utc for period in found.periods] == [found.counts.known_since_utc]


@pytest.mark.parametrize("table", ["events", "near_misses", "audits", "coverage"])
def test_figures_begin_behind_what_was_removed(plant: FlatteredPlant, table: str) -> None:
    """Of any table that they are made of; a time that lies behind it is whole."""
    plant.event(1)
    plant.minute(60)
    plant.minute(600)
    removed(plant, table, 300.0)

    assert plant.figures().counts.known_since_utc == (BEGAN_UTC + 301) // 60 * 60 + 60
    assert plant.figures(600.0).counts.known_since_utc == 0.0
    assert plant.figures().counts.inspected_frames == 60


def test_a_time_that_was_removed_wholly_has_no_figures(plant: FlatteredPlant) -> None:
    """And none that would say that the line called nothing."""
    plant.event(1)
    plant.audit(2, 101.0, ("open", *BOX))
    plant.minute(60)
    removed(plant, "events", 300.0)

    found = plant.figures(0.0, 240.0)

    assert refused(found) == "the records of this time were removed"
    assert found.estimates.precision == found.estimates.false_calls == found.estimates.recall
    assert found.counts.known_since_utc > 0.0
    assert not found.periods


def for_two(plant: FlatteredPlant) -> Iterator[int]:
    """Yield numbers of events that two people review."""
    return (n for n in range(10_000) if is_for_two(str(ItemKey(ItemKind.EVENT, plant.made.run_id, f"event {n}"))))


def test_agreement_is_of_blind_answers(plant: FlatteredPlant) -> None:
    """By hand: 8 of 10 the same, half and half each; whoever has given in since then agreed no sooner."""
    disputed = []
    for n, number in zip(range(10), for_two(plant), strict=False):
        own = ("confirmed", "overruled")
        item = plant.event(number, own[n % 2])
        answer(plant.directory, item, own[n % 2] if n < 8 else own[1 - n % 2], by="ben", stratum="reject")
        disputed += [(item, own[n % 2])] if n >= 8 else []
    for (item, said), by in zip(disputed, ("ben", "anna"), strict=True):
        answer(plant.directory, item, said if by == "ben" else "overruled", by=by, stratum="reject")

    agreement = plant.figures().agreement

    assert agreement.items == 10
    assert agreement.agreed == pytest.approx(0.8)
    assert isinstance(agreement.kappa, BoundedFigure)
    assert agreement.kappa.value == pytest.approx(0.6)
    assert agreement.kappa.low < 0.6 < agreement.kappa.high


def test_an_answer_that_was_taken_back_at_once_is_in_no_agreement(plant: FlatteredPlant) -> None:
    """Neither is a second answer for an item that is not for two: it is shown to everybody."""
    item = plant.event(next(for_two(plant)))
    for verdict in ("overruled", "confirmed"):
        answer(plant.directory, item, verdict, by="ben", stratum="reject")
        with writing(plant.directory) as connection:
            if verdict == "overruled":
                withdraw(connection, newest_of(connection, "ben") or 0, "ben")
    shown = set(range(9)) - {n for n, _ in zip(for_two(plant), range(9), strict=False)}
    answer(plant.directory, plant.event(min(shown)), "overruled", by="ben", stratum="reject")

    agreement = plant.figures().agreement

    assert (agreement.items, agreement.agreed) == (1, 1.0)


def test_a_second_answer_that_was_taken_back_after_the_other_was_shown_is_the_blind_one(
    plant: FlatteredPlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Undo, then the other's answer: agreement would be what the second one read."""
    item = plant.event(next(for_two(plant)), "overruled")
    answer(plant.directory, item, "confirmed", by="ben", stratum="reject")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 61.0)
    with writing(plant.directory) as connection:
        withdraw(connection, newest_of(connection, "ben") or 0, "ben")
    answer(plant.directory, item, "overruled", by="ben", stratum="reject")

    agreement = plant.figures().agreement

    assert (agreement.items, agreement.agreed) == (1, 0.0)


@pytest.mark.parametrize(("reviewers", "is_held_back"), [(["anna"], False), (["anna", "ben"], True)])
def test_what_waits_for_a_second_person_is_in_no_figure(
    plant: FlatteredPlant, reviewers: list[str], is_held_back: bool
) -> None:
    """It holds up nothing, not even the borderline; where nobody could be the second one, it counts."""
    with writing(plant.directory) as connection:
        for name, role in [*((one, "reviewer") for one in reviewers), ("vera", "viewer")]:
            connection.execute(
                "INSERT INTO users (name, role, credential, added_utc) VALUES (?, ?, 1, 0)", (name, role)
            )
    plant.made.records.connection.execute("UPDATE cameras SET settings = '{\"reject_threshold\":0.78}'")
    two = set(islice(for_two(plant), 20))
    for n, verdict in ((min(two), "overruled"), (min(set(range(20)) - two), "confirmed")):
        item = plant.made.event(n, 100.0, image=b"jpeg")
        answer(plant.directory, item, verdict, stratum="reject, borderline")

    found = plant.figures()

    assert (found.counts.second_due, found.counts.reviewed) == ((1, 1) if is_held_back else (0, 2))
    precision = found.estimates.precision
    assert isinstance(precision, BoundedFigure), precision
    assert precision.value == (1.0 if is_held_back else 0.5)
