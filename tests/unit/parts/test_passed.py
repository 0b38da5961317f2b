# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is said of the parts that passed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.passed_parts import make_part

from vision_line.challenges.challenge_history import ChallengeWindow
from vision_line.challenges.challenge_windows import ChallengeWindows
from vision_line.parts.part import PartCause, PartVerdict
from vision_line.parts.part_entries import add_correction, add_part
from vision_line.parts.parts_file import reading, writing
from vision_line.parts.passed import PartsFilter, count_parts, find_parts, parts_of_event, read_part


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a file in which five parts passed; a challenge part was before cam02 from 103.5 s to 104.5 s."""
    with writing(tmp_path) as connection:
        add_part(connection, make_part(1, 100.0, lot="L-1"))
        add_part(connection, make_part(2, 101.0, verdict=PartVerdict.REJECT, events=("e1",)))
        add_part(connection, make_part(3, 102.0, verdict=PartVerdict.NOT_INSPECTED, cause=PartCause.GAP))
        add_part(connection, make_part(4, 104.0, verdict=PartVerdict.REJECT))
        warned = make_part(1, 103.0, lane="b", inspections={"cam03": 3}, verdict=PartVerdict.WARN)
        add_correction(connection, warned, add_part(connection, warned), PartVerdict.REJECT, ["e2"])
    with reading(tmp_path) as connection:
        assert connection is not None
        ChallengeWindows([ChallengeWindow("cam02", 103.5, 104.5, 1)]).teach(connection)
        yield connection


def test_counts_add_up_and_leave_challenge_parts_out(parts: sqlite3.Connection) -> None:
    a, b = count_parts(parts, PartsFilter())
    assert (a.lane, a.parts, a.inspected, a.good, a.reject, a.not_inspected) == ("a", 3, 2, 1, 1, 1)
    assert dict(a.causes) == {"gap": 1}
    assert (b.lane, b.parts, b.warn, b.corrected) == ("b", 1, 1, 1)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (PartsFilter(), ["a/4", "b/1", "a/3", "a/2", "a/1"]),
        (PartsFilter(since_utc=101.0, until_utc=103.0), ["a/3", "a/2"]),
        (PartsFilter(lane="b"), ["b/1"]),
        (PartsFilter(lot="L-1"), ["a/1"]),
        (PartsFilter(part_id="P-2"), ["a/2"]),
        (PartsFilter(verdict="not_inspected"), ["a/3"]),
        (PartsFilter(is_challenge=True), ["a/4"]),
        (PartsFilter(is_challenge=False, lane="a"), ["a/3", "a/2", "a/1"]),
    ],
)
def test_parts_are_found_newest_first(parts: sqlite3.Connection, wanted: PartsFilter, found: list[str]) -> None:
    assert [f"{part.lane}/{part.sequence}" for part in find_parts(parts, wanted)] == found


@pytest.mark.parametrize(
    ("window_utc", "is_left_out"),
    [((105.0, 105.4), True), ((109.7, 110.1), True), ((104.6, 105.2), False), ((109.8, 110.4), False)],
)
def test_the_middle_of_its_window_says_whether_a_part_is_of_a_challenge(
    tmp_path: Path, window_utc: tuple[float, float], *, is_left_out: bool
) -> None:
    """A photo-eye triggers before the camera, or after it: no trigger here lies in the challenge part's time."""
    for sequence, at_utc in enumerate((window_utc[0] - 60, window_utc[1] + 60), 1):
        with writing(tmp_path) as connection:
            add_part(connection, make_part(sequence, at_utc, window_utc=window_utc))
    with reading(tmp_path) as connection:
        assert connection is not None
        ChallengeWindows([ChallengeWindow("cam02", 105.0, 110.0, 1)]).teach(connection)
        assert [part.is_challenge for part in find_parts(connection, PartsFilter())] == [is_left_out] * 2
        assert sum(lane.parts for lane in count_parts(connection, PartsFilter())) == (0 if is_left_out else 2)


def test_a_page_goes_on_after_the_last_part_of_the_one_before(parts: sqlite3.Connection) -> None:
    first = find_parts(parts, PartsFilter(), rows=2)
    rest = find_parts(parts, PartsFilter(), (first[-1].triggered_utc, first[-1].number))
    assert [part.sequence for part in (*first, *rest)] == [4, 1, 3, 2, 1]
    assert [part.is_challenge for part in first] == [True, False]


def test_a_part_is_known_whole_with_what_was_found_too_late(parts: sqlite3.Connection) -> None:
    detail = read_part(parts, 5)
    assert detail is not None
    assert (detail.part.lane, detail.body["inspections"], detail.events) == ("b", {"cam03": 3}, ["e2"])
    assert detail.correction is not None
    assert detail.correction["found"] == "reject"
    assert read_part(parts, 6) is None  # the correction
    assert parts_of_event(parts, "run", "e2") == [5]
