# SPDX-License-Identifier: AGPL-3.0-or-later
"""Answers of a chain that somebody made anew, weighed as they like: what was drawn can be worked out again."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.reviewed_records import ReviewedRecords, answer, reviewed_records

from vision_line.errors import BrokenRecordError
from vision_line.quality import ReviewCandidate
from vision_line.records.schema import FILE_NAME
from vision_line.reviews.answer import ItemKey, ItemKind
from vision_line.reviews.review_plan import AUDITS, NEAR_MISSES, place_of
from vision_line.reviews.reviews_check import check_reviews


def drawn_number(records: ReviewedRecords, kind: ItemKind, stratum: str, name: str, *, is_drawn: bool = True) -> int:
    """Return a number of which an item, not borderline, comes to review, or does not."""
    keys = ((n, str(ItemKey(kind, records.run_id, name.format(n)))) for n in range(200))
    return next(n for n, key in keys if (place_of(ReviewCandidate(key, stratum), 1.0) is not None) is is_drawn)


def problem(directory: Path) -> str:
    """Return what `verify` says."""
    try:
        assert check_reviews(directory) is not None
    except BrokenRecordError as exc:
        return str(exc)
    return ""


@pytest.mark.parametrize("has_records", [True, False])
@pytest.mark.parametrize(
    ("stratum", "inclusion", "said"),
    [
        ("reject", 0.2, ""),
        ("", 1.0, ""),
        ("reject", 1.0, "with the probability 1, and it was 0.2"),
        ("reject", 1e-6, "with the probability 1e-06, and it was 0.2"),
        ("accept", 0.1, "as 'accept', and it was 'reject'"),
    ],
)
def test_an_event_s_probability_follows_from_the_plan(
    tmp_path: Path, stratum: str, inclusion: float, said: str, has_records: bool
) -> None:
    """Also where its row was removed since."""
    with reviewed_records(tmp_path) as made:
        item = made.event(drawn_number(made, ItemKind.EVENT, "reject", "event {}"), 100.0)
        answer(tmp_path, item, stratum=stratum, inclusion=inclusion)
    if not has_records:
        (tmp_path / FILE_NAME).unlink()
    found = problem(tmp_path)
    assert said in found
    assert bool(said) == bool(found)


@pytest.mark.parametrize("has_records", [True, False])
def test_what_was_not_drawn_has_no_stratum(tmp_path: Path, has_records: bool) -> None:
    with reviewed_records(tmp_path) as made:
        item = made.event(drawn_number(made, ItemKind.EVENT, "reject", "event {}", is_drawn=False), 100.0)
        answer(tmp_path, item, stratum="reject", inclusion=0.2)
    if not has_records:
        (tmp_path / FILE_NAME).unlink()
    assert "as 'reject', and it was not drawn" in problem(tmp_path)


def test_what_is_borderline_is_what_the_records_say(tmp_path: Path) -> None:
    """As long as they have the row; then it is believed."""
    with reviewed_records(tmp_path) as made:
        item = made.event(drawn_number(made, ItemKind.EVENT, "reject", "event {}"), 100.0)
        answer(tmp_path, item, stratum="reject, borderline")
        assert "as 'reject, borderline', and it was 'reject'" in problem(tmp_path)
        made.records.connection.execute("UPDATE cameras SET settings = '{\"reject_threshold\":0.78}'")
        assert not problem(tmp_path)
        made.records.connection.execute("DELETE FROM events")
        assert not problem(tmp_path)


@pytest.mark.parametrize(
    ("inclusion", "known", "unknown"), [(0.25 * 0.01, True, True), (0.25, False, True), (0.5, False, False)]
)
def test_an_audit_s_probability_is_that_of_its_image_too(
    tmp_path: Path, inclusion: float, known: bool, unknown: bool
) -> None:
    """Which is in its row; without one it is a quarter at most."""
    with reviewed_records(tmp_path) as made:
        item = made.audit(drawn_number(made, ItemKind.AUDIT, AUDITS, "cam/{}"), 100.0, image=b"jpeg", probability=0.01)
        answer(tmp_path, item, stratum=AUDITS, inclusion=inclusion, boxes=[])
        assert (not problem(tmp_path)) is known
        made.records.connection.execute("DELETE FROM audits")
        assert (not problem(tmp_path)) is unknown


def test_a_near_miss_likewise(tmp_path: Path) -> None:
    with reviewed_records(tmp_path) as made:
        number = drawn_number(made, ItemKind.NEAR_MISS, NEAR_MISSES, "near {}")
        item = made.near_miss(number, 100.0, image=b"jpeg", probability=0.5)
        answer(tmp_path, item, stratum=NEAR_MISSES, inclusion=0.2)
    assert "with the probability 0.2, and it was 0.1" in problem(tmp_path)
