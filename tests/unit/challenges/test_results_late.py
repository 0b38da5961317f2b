# SPDX-License-Identifier: AGPL-3.0-or-later
"""A challenge that was ended and whose result nobody entered has not passed, and is entered by whoever looks later."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.challenge_plans import CRITERIA, begun, enter_act, enter_begun, planned, target
from tests.fakes.desk_records import writing as writing_records

from vision_line.challenges.asked_challenges import AskedChallenges
from vision_line.challenges.doing import begin, end, recent
from vision_line.challenges.due import TargetState, acceptance, read_states
from vision_line.challenges.due_watch import DueWatch
from vision_line.challenges.entry_bodies import ChallengeAct, ChallengeOutcome, ResultBody
from vision_line.challenges.measuring import enter_results
from vision_line.quality.challenge import ChallengeState
from vision_line.records.side_journal import append
from vision_line.reviews.reviews_file import FILE_NAME, writing

NOW_UTC = 1_795_896_000.0
TRAVEL_S = 10.0


def enter_ended(directory: Path, at_utc: float, name: str = "cam01") -> int:
    """Enter a challenge without a result that was ended at that moment."""
    with writing(directory) as connection:
        body = begun((name,), planned("A17:open"), at_utc - 50.0).model_copy(update={"travel_s": TRAVEL_S})
        number = enter_begun(connection, name, body)
        enter_act(connection, name, ChallengeAct.PART, number, at_utc - 20.0)
        enter_act(connection, name, ChallengeAct.ENDED, number, at_utc)
    return number


def enter_result(directory: Path, challenge: int, at_utc: float, outcome: ChallengeOutcome) -> None:
    body = ResultBody(
        challenge=challenge, at_utc=at_utc, outcome=outcome, why=("1 of 2 missed",), passes=(), strays=0,
        criteria=CRITERIA, record_number=1, record_head="",
    )  # fmt: skip
    with writing(directory) as connection:
        append(connection, ChallengeAct.RESULT, "cam01", body.model_dump(mode="json"))


def state(directory: Path, now_utc: float) -> TargetState:
    (found,) = read_states(directory, [target(on_fail="stop")], now_utc)
    return found


def test_a_challenge_without_a_result_has_not_passed_some_time_behind_its_last_part(tmp_path: Path) -> None:
    enter_result(tmp_path, enter_ended(tmp_path, NOW_UTC - 600), NOW_UTC - 600, ChallengeOutcome.PASSED)
    assert state(tmp_path, NOW_UTC).state is ChallengeState.PASSED
    number = enter_ended(tmp_path, NOW_UTC)
    soon, late = state(tmp_path, NOW_UTC + TRAVEL_S + 29), state(tmp_path, NOW_UTC + TRAVEL_S + 31)
    assert (soon.state, soon.why) == (ChallengeState.PASSED, "")
    assert late.state is ChallengeState.OVERDUE
    assert "challenge of cam01 is overdue: the result of the challenge of cam01 that was ended at" in late.why
    assert acceptance([late], "cam01") == late.why
    assert state(tmp_path, NOW_UTC - 3600).why  # the clock was set back since
    enter_result(tmp_path, number, NOW_UTC, ChallengeOutcome.PASSED)
    assert state(tmp_path, NOW_UTC + 100).why == ""


def test_the_oldest_without_a_result_counts_and_only_behind_the_last_result(tmp_path: Path) -> None:
    older, newer = enter_ended(tmp_path, NOW_UTC - 600), enter_ended(tmp_path, NOW_UTC)
    awaited = state(tmp_path, NOW_UTC).awaited
    assert awaited is not None
    assert awaited.challenge == older
    enter_result(tmp_path, newer, NOW_UTC, ChallengeOutcome.PASSED)
    assert state(tmp_path, NOW_UTC + 100).why == ""
    enter_result(tmp_path, older, NOW_UTC - 600, ChallengeOutcome.FAILED)  # later, of an older challenge
    assert state(tmp_path, NOW_UTC + 100).state is ChallengeState.PASSED


def test_a_failed_challenge_stays_failed_while_the_next_has_no_result(tmp_path: Path) -> None:
    enter_result(tmp_path, enter_ended(tmp_path, NOW_UTC - 600), NOW_UTC - 600, ChallengeOutcome.FAILED)
    enter_ended(tmp_path, NOW_UTC)
    found = state(tmp_path, NOW_UTC + 100)
    assert found.state is ChallengeState.FAILED
    assert "failed: 1 of 2 missed; the result of the challenge" in found.why


def test_a_run_says_so_by_the_clock_although_the_file_stays_as_it_is(tmp_path: Path) -> None:
    enter_result(tmp_path, enter_ended(tmp_path, NOW_UTC - 600), NOW_UTC - 600, ChallengeOutcome.PASSED)
    enter_ended(tmp_path, NOW_UTC)
    now = [NOW_UTC]
    watch = DueWatch(tmp_path, [target()], clock=lambda: now[0])
    try:
        before = watch.states()[0].why
        now[0] += 100
        after = watch.states()[0].why
    finally:
        watch.close()
    assert (before, "is not entered" in after) == ("", True)


def test_a_result_is_entered_days_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asked meanwhile: its misses are to be seen all the same."""
    monkeypatch.setattr("vision_line.challenges.acts._READ_FIRST", 1)  # so that how far back it is read counts
    ended_utc = round(time.time(), 3) - 3 * 86_400
    with writing_records(tmp_path) as rows:
        rows.run(0, 600, "cam01")
    with monkeypatch.context() as then:
        then.setattr("vision_line.records.side_journal.time.time", lambda: ended_utc)
        number = enter_ended(tmp_path, ended_utc)
    assert enter_results(tmp_path) == []
    (found,) = [one for one in recent(tmp_path, 30) if one.number == number]
    assert found.result is not None
    assert enter_results(tmp_path) == []


def test_where_nothing_waits_no_file_is_made(tmp_path: Path) -> None:
    assert enter_results(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def ask_until_entered(asked: AskedChallenges) -> None:
    deadline = time.monotonic() + 40
    while not entered(asked):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def entered(asked: AskedChallenges) -> bool:
    if asked.awaits_result:
        asked.enter_results()
    (found,) = recent(asked._directory, 1)
    return found.result is not None


def test_outputs_take_up_what_others_ended_and_go_on_where_the_file_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a restart: somebody else led the challenge; one busy moment is no reason to give up."""
    monkeypatch.setattr("vision_line.challenges.asked_challenges._ASK_EVERY_S", 0.0)
    monkeypatch.setattr("vision_line.records.side_file._BUSY_TIMEOUT_S", 0.0)
    with writing_records(tmp_path) as rows:
        rows.run(0, 600, "cam01")
    enter_ended(tmp_path, round(time.time(), 3) - 60)
    asked = AskedChallenges(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for _ in range(2):
            assert asked.awaits_result
            asked.enter_results()
        other.execute("ROLLBACK")
    assert caplog.text.count("is not entered yet, and is tried again") == 1
    ask_until_entered(asked)
    long_ago = time.time() - 60
    os.utime(tmp_path / FILE_NAME, (long_ago, long_ago))
    asked.enter_results()
    assert not asked.awaits_result  # nothing changed since
    begin(tmp_path, target(), "sha", "anna")
    end(tmp_path, "cam01", "anna")
    assert asked.awaits_result
