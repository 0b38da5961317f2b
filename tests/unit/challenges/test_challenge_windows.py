# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which camera-times were challenge parts: whatever people do and whenever they stop."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.challenge_plans import begun, enter_act, enter_begun, planned

from vision_line.challenges.acts import LineChallenge, challenges_since
from vision_line.challenges.challenge_history import ChallengeWindow
from vision_line.challenges.challenge_windows import ChallengeWindows, challenge_windows
from vision_line.challenges.entry_bodies import ChallengeAct
from vision_line.errors import RunError
from vision_line.records.side_journal import append
from vision_line.reviews.reviews_file import writing

BEGAN_UTC = 1_795_896_000.0
PASSES = planned("A:open B:open C:open D:open")


def begin(connection: sqlite3.Connection, *cameras: str, at_utc: float = BEGAN_UTC, longest_s: float = 60.0) -> int:
    return enter_begun(connection, "line 1", begun(cameras, PASSES, at_utc, longest_s))


def act(connection: sqlite3.Connection, kind: ChallengeAct, challenge: int, at_utc: float) -> None:
    enter_act(connection, "line 1", kind, challenge, at_utc)


def windows(directory: Path) -> list[tuple[str, float, float]]:
    found = challenge_windows(directory, 0.0, 9e15)
    return [(one.camera, one.from_utc - BEGAN_UTC, one.to_utc - BEGAN_UTC) for one in found]


def test_parts_without_a_pause_between_them_are_one_window_for_each_camera(tmp_path: Path) -> None:
    with writing(tmp_path) as connection:
        number = begin(connection, "left", "right")
        for at_s in (10, 30, 55):
            act(connection, ChallengeAct.PART, number, BEGAN_UTC + at_s)
        act(connection, ChallengeAct.ENDED, number, BEGAN_UTC + 80)
    assert windows(tmp_path) == [("left", 10, 80), ("right", 10, 80)]


def test_the_time_before_the_first_part_is_production(tmp_path: Path) -> None:
    with writing(tmp_path) as connection:
        begin(connection, "left")
    assert windows(tmp_path) == []


def test_a_challenge_that_nobody_ended_lapses(tmp_path: Path) -> None:
    with writing(tmp_path) as connection:
        act(connection, ChallengeAct.PART, begin(connection, "left"), BEGAN_UTC + 10)
    assert windows(tmp_path) == [("left", 10, 70)]


def test_parts_of_a_challenge_that_was_broken_off_stay_challenge_parts(tmp_path: Path) -> None:
    with writing(tmp_path) as connection:
        number = begin(connection, "left")
        act(connection, ChallengeAct.PART, number, BEGAN_UTC + 10)
        act(connection, ChallengeAct.ABORTED, number, BEGAN_UTC + 15)
    assert windows(tmp_path) == [("left", 10, 15)]


def test_a_long_pause_is_no_window(tmp_path: Path) -> None:
    with writing(tmp_path) as connection:
        number = begin(connection, "left", longest_s=20)
        act(connection, ChallengeAct.PART, number, BEGAN_UTC + 10)
        act(connection, ChallengeAct.PART, number, BEGAN_UTC + 100)
        act(connection, ChallengeAct.ENDED, number, BEGAN_UTC + 110)
    assert windows(tmp_path) == [("left", 10, 30), ("left", 100, 110)]


def test_a_clock_that_is_set_back_makes_no_window_that_ends_before_it_begins(tmp_path: Path) -> None:
    with writing(tmp_path) as connection:
        number = begin(connection, "left")
        act(connection, ChallengeAct.PART, number, BEGAN_UTC + 10)
        act(connection, ChallengeAct.ENDED, number, BEGAN_UTC - 500)
    found = challenge_windows(tmp_path, 0.0, 9e15)
    assert not found.holds("left", BEGAN_UTC + 10)
    assert not found.holds("left", BEGAN_UTC - 100)


def test_only_windows_of_the_asked_time_are_given(tmp_path: Path) -> None:
    with writing(tmp_path) as connection:
        for day in range(3):
            number = begin(connection, "left", at_utc=BEGAN_UTC + day * 86_400)
            act(connection, ChallengeAct.PART, number, BEGAN_UTC + day * 86_400 + 10)
            act(connection, ChallengeAct.ENDED, number, BEGAN_UTC + day * 86_400 + 20)
    for from_s, to_s, expected in ((0, 10, 0), (0, 11, 1), (20, 86_410, 0), (19, 86_411, 2), (0, 300_000, 3)):
        assert len(challenge_windows(tmp_path, BEGAN_UTC + from_s, BEGAN_UTC + to_s)) == expected


def test_many_entries_behind_a_challenge_do_not_hide_it(tmp_path: Path) -> None:
    with writing(tmp_path) as connection:
        number = begin(connection, "left")
        for at_s in range(600):
            act(connection, ChallengeAct.PART, number, BEGAN_UTC + at_s)
        act(connection, ChallengeAct.ENDED, number, BEGAN_UTC + 600)
        assert len(challenges_since(connection, BEGAN_UTC)[0].windows()) == len(PASSES)
    assert windows(tmp_path)[0][1] == 0


def test_no_file_is_no_window(tmp_path: Path) -> None:
    assert len(challenge_windows(tmp_path, 0.0, 9e15)) == 0


def test_a_damaged_file_is_an_error_not_a_lack_of_windows(tmp_path: Path) -> None:
    (tmp_path / "reviews.sqlite").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(RunError, match=r"reviews\.sqlite"):
        challenge_windows(tmp_path, 0.0, 9e15)


def test_an_entry_that_says_nothing_is_named(tmp_path: Path) -> None:
    with writing(tmp_path) as connection:
        append(connection, ChallengeAct.BEGUN, "line 1", {"by": "anna"})
    with pytest.raises(RunError, match="entry 1 "):
        challenge_windows(tmp_path, 0.0, 9e15)


_TIMES = st.tuples(st.integers(0, 60), st.integers(0, 30)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(st.tuples(st.sampled_from("ab"), _TIMES), max_size=12), st.integers(-1, 100))
def test_a_moment_lies_in_a_window_or_not(chosen: list[tuple[str, tuple[int, int]]], moment: int) -> None:
    every = [ChallengeWindow(camera, begin, end, 1) for camera, (begin, end) in chosen]
    found = ChallengeWindows(every)
    for camera in "ab":
        expected = any(one.camera == camera and one.from_utc <= moment < one.to_utc for one in every)
        assert found.holds(camera, moment) == expected
        with closing(sqlite3.connect(":memory:")) as connection:
            found.teach(connection)
            assert connection.execute("SELECT is_challenge(?, ?)", (camera, moment)).fetchone() == (expected,)


@given(
    st.lists(st.floats(0, 3600), max_size=4),
    st.floats(1, 600),
    st.none() | st.floats(0, 3600),
    st.none() | st.floats(0, 3600),
)
def test_windows_follow_each_other_and_are_never_too_long(
    acts: list[float], longest_s: float, ended: float | None, aborted: float | None
) -> None:
    turns = sorted(acts)
    ended, aborted = (None if one is None else 3600 + one for one in (ended, aborted))
    challenge = LineChallenge(1, "a", begun(("a",), PASSES, 0.0, longest_s), tuple(turns), ended, aborted)
    found = challenge.windows()
    assert [window.start_s for window in found] == turns
    assert all(0 <= window.end_s - window.start_s <= longest_s * (1 + 1e-9) for window in found)
    assert all(one.end_s <= other.start_s for one, other in pairwise(found))
    assert not challenge.is_open(challenge.lapses_utc)
