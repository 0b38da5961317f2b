# SPDX-License-Identifier: AGPL-3.0-or-later
"""A journal is followed once, then only what is entered behind; and never is an older state taken for the new one."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from tests.fakes.challenge_plans import begun, challenged, enter_act, enter_begun, planned, target

from vision_line.challenges import challenge_history
from vision_line.challenges.challenge_history import history_in, read_history
from vision_line.challenges.challenge_windows import challenge_windows
from vision_line.challenges.doing import abort, begin, next_part
from vision_line.challenges.entry_bodies import ChallengeAct
from vision_line.records.side_journal import SideEntry, append
from vision_line.records.side_journal import entries as read_entries
from vision_line.reviews.reviews_file import FILE_NAME, reading, writing

BEGAN_UTC = 1_795_896_000.0


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many entries were read, each time that any were."""
    counts: list[int] = []

    def counted(connection: sqlite3.Connection, kinds: Iterable[str], behind: int, most: int) -> list[SideEntry]:
        found = read_entries(connection, kinds, behind, most)
        counts.append(len(found))
        return found

    monkeypatch.setattr(challenge_history, "entries", counted)
    return counts


def enter(directory: Path, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        challenged(directory, "cam01", BEGAN_UTC + 100 * number, BEGAN_UTC + 100 * number + 10)


def known(directory: Path) -> int:
    return len(challenge_windows(directory, 0.0, float("inf")))


def age(directory: Path) -> None:
    """Let the last change of the file be long ago."""
    then = time.time() - 60
    os.utime(directory / FILE_NAME, (then, then))


def test_a_second_reading_follows_nothing_and_a_new_challenge_alone_when_there_is_one(
    tmp_path: Path, followed: list[int]
) -> None:
    enter(tmp_path, 5)
    assert (known(tmp_path), known(tmp_path), followed) == (5, 5, [15])
    enter(tmp_path, 1, 5)
    assert (known(tmp_path), followed) == (6, [15, 3])
    with writing(tmp_path) as connection:
        append(connection, "something else", "", {})
    assert (known(tmp_path), known(tmp_path), followed) == (6, 6, [15, 3, 0])


def test_an_unchanged_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, 2)
    age(tmp_path)
    windows = challenge_windows(tmp_path, 0.0, float("inf"))
    with monkeypatch.context() as closed:
        closed.setattr(challenge_history, "reading", None)
        assert challenge_windows(tmp_path, 0.0, float("inf")) is windows
    enter(tmp_path, 1, 2)
    assert known(tmp_path) == 3


def test_a_challenge_that_goes_on_is_seen_part_by_part(tmp_path: Path) -> None:
    with writing(tmp_path) as connection:
        number = enter_begun(connection, "cam01", begun(("cam01",), planned("A:open B:open"), BEGAN_UTC))
    assert known(tmp_path) == 0
    for kind, at_s, to_s in ((ChallengeAct.PART, 10, 70), (ChallengeAct.PART, 30, 90), (ChallengeAct.ENDED, 50, 50)):
        with writing(tmp_path) as connection:
            enter_act(connection, "cam01", kind, number, BEGAN_UTC + at_s)
        (window,) = challenge_windows(tmp_path, 0.0, float("inf"))
        assert (window.from_utc, window.to_utc) == (BEGAN_UTC + 10, BEGAN_UTC + to_s)


def test_another_journal_in_its_place_is_followed_from_its_beginning(tmp_path: Path) -> None:
    """As a backup that is copied back, also with as many entries, or into the same inode."""
    enter(tmp_path, 3)
    assert known(tmp_path) == 3
    other = tmp_path / "other"
    other.mkdir()
    challenged(other, "cam02", BEGAN_UTC, BEGAN_UTC + 10)
    for content, expected in (((other / FILE_NAME).read_bytes(), ["cam02"]), (b"", [])):
        (tmp_path / FILE_NAME).write_bytes(content)
        assert [window.camera for window in challenge_windows(tmp_path, 0.0, float("inf"))] == expected
    (tmp_path / FILE_NAME).unlink()
    assert known(tmp_path) == 0
    enter(tmp_path, 1)
    assert known(tmp_path) == 1


def test_in_short_transactions_the_whole_journal_is_followed(
    tmp_path: Path, followed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(challenge_history, "_READ_AT_ONCE", 4)
    enter(tmp_path, 5)
    assert (known(tmp_path), sum(followed), max(followed)) == (5, 15, 4)


def test_threads_follow_it_once_and_only_so_many_journals_are_kept(tmp_path: Path, followed: list[int]) -> None:
    enter(tmp_path, 4)
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(known, [tmp_path] * 16)) == {4}
    assert followed == [12]
    for number in range(12):
        (tmp_path / str(number)).mkdir()
        assert known(tmp_path / str(number)) == 0
    assert len(challenge_history._KEPT._kept) == challenge_history._MOST_KEPT


def test_what_a_transaction_has_entered_counts_in_it_and_nowhere_else(tmp_path: Path) -> None:
    enter(tmp_path, 1)
    before = read_history(tmp_path)
    with suppress(ZeroDivisionError), writing(tmp_path) as connection:
        enter_begun(connection, "cam01", begun(("cam01",), planned("A:open"), BEGAN_UTC))
        assert len(history_in(connection, before).unsettled) == 1
        raise ZeroDivisionError
    assert read_history(tmp_path) is before


def test_passes_of_parts_are_counted_over_all_challenges(tmp_path: Path) -> None:
    for times in (1, 2):
        begin(tmp_path, target(), "sha", "anna")
        for _ in range(3):
            next_part(tmp_path, "cam01", "anna")
        assert read_history(tmp_path).part_passes() == {"A17": 2 * times, "G1": times}
        abort(tmp_path, "cam01", "anna", "")
        assert read_history(tmp_path).part_passes() == {"A17": 2 * times, "G1": times}
    with reading(tmp_path) as connection:
        assert connection is not None
        whole = history_in(connection, challenge_history.ChallengeHistory())
    assert whole.part_passes() == {"A17": 4, "G1": 2}
