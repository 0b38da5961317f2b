# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people may do when: one challenge at a camera at a time, worn parts, and what is due afterwards."""

from __future__ import annotations

import time
from datetime import date, timedelta
from pathlib import Path

import pytest
from tests.fakes.challenge_plans import CRITERIA, target
from tests.fakes.desk_records import writing as writing_records
from tests.fakes.waiting import wait_for

from vision_line.challenges.doing import abort, begin, end, going_on, next_part, recent
from vision_line.challenges.due import EnteredResults, acceptance, read_states, states, unknown_states
from vision_line.challenges.due_watch import DueWatch
from vision_line.challenges.entry_bodies import ChallengeAct, ChallengeOutcome, ResultBody
from vision_line.challenges.measuring import enter_results
from vision_line.errors import ConfigError
from vision_line.quality.challenge import ChallengeState
from vision_line.records.side_chain import chain_problem
from vision_line.records.side_journal import append
from vision_line.reviews.reviews_file import writing

NOW_UTC = 1_795_896_000.0


def test_a_challenge_from_begin_to_end(tmp_path: Path) -> None:
    begun = begin(tmp_path, target(), "sha", "anna")
    assert sorted(one.part for one in begun.begun.passes) == ["A17", "A17", "G1"]
    for number in range(1, 4):
        assert len(next_part(tmp_path, "cam01", "anna").parts_utc) == number
    with pytest.raises(ConfigError, match="all its parts had their turn"):
        next_part(tmp_path, "cam01", "anna")
    assert end(tmp_path, "cam01", "vera").ended_utc is not None
    assert going_on(tmp_path) == []
    with writing(tmp_path) as connection:
        assert chain_problem(connection) == ""


def test_two_challenges_at_one_camera_are_refused(tmp_path: Path) -> None:
    begin(tmp_path, target("line 1", "cam01", "cam02"), "sha", "anna")
    with pytest.raises(ConfigError, match="cam02: the challenge of line 1 that anna began"):
        begin(tmp_path, target("cam02"), "sha", "vera")
    begin(tmp_path, target("cam03"), "sha", "vera")
    abort(tmp_path, "line 1", "anna", "wrong parts")
    begin(tmp_path, target("cam02"), "sha", "vera")
    assert [one.target for one in going_on(tmp_path)] == ["cam03", "cam02"]


def test_acts_need_a_challenge_that_goes_on(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no challenge of cam01 goes on"):
        next_part(tmp_path, "cam01", "anna")


def test_the_order_is_drawn_anew_and_anybody_can_repeat_it(tmp_path: Path) -> None:
    orders = set()
    for _ in range(12):
        begun = begin(tmp_path, target(), "sha", "anna").begun
        assert target().drawn(begun.criteria.seed) == begun.passes
        orders.add(tuple((one.part, one.position) for one in begun.passes))
        abort(tmp_path, "cam01", "anna", "")
    assert len(orders) > 3


def test_a_part_that_was_passed_too_often_or_is_too_old_begins_nothing(tmp_path: Path) -> None:
    worn = target().parts[0].model_copy(update={"max_passes": 3})
    few = target().model_copy(update={"parts": (worn, target().parts[1])})
    begin(tmp_path, few, "sha", "anna")
    for _ in range(3):
        next_part(tmp_path, "cam01", "anna")
    end(tmp_path, "cam01", "anna")
    with pytest.raises(ConfigError, match="part A17 was passed 2 times, allowed are 3"):
        begin(tmp_path, few, "sha", "anna")
    old = worn.model_copy(update={"made": date.today() - timedelta(days=9), "max_age_days": 7})
    with pytest.raises(ConfigError, match=r"part A17 is (9|10|8) days old, allowed are 7"):
        begin(tmp_path, few.model_copy(update={"parts": (old,)}), "sha", "anna")


def test_the_result_is_entered_once(tmp_path: Path) -> None:
    with writing_records(tmp_path) as rows:
        rows.run(0, 600, "cam01")
    begin(tmp_path, target(), "sha", "anna")
    ended = end(tmp_path, "cam01", "anna")
    assert [one.number for one in enter_results(tmp_path)] in ([ended.number], [])
    wait_for(lambda: not enter_results(tmp_path), "nothing is left to enter")
    enter_results(tmp_path)
    (found,) = recent(tmp_path, 1)
    assert found.result is not None
    assert found.result.outcome is ChallengeOutcome.VOID
    with writing(tmp_path) as connection:
        kinds = [kind for (kind,) in connection.execute("SELECT kind FROM journal")]
    assert kinds.count(ChallengeAct.RESULT) == 1


def result(outcome: ChallengeOutcome, at_utc: float) -> ResultBody:
    return ResultBody(
        challenge=1, at_utc=at_utc, outcome=outcome, why=("1 of 2 missed",), passes=(), strays=0, criteria=CRITERIA,
        record_number=1, record_head="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "ago_s", "state", "why"),
    [
        (ChallengeOutcome.PASSED, 60, ChallengeState.PASSED, ""),
        (ChallengeOutcome.PASSED, 28_800, ChallengeState.OVERDUE, "challenge of cam01 is overdue"),
        (ChallengeOutcome.FAILED, 60, ChallengeState.FAILED, "challenge of cam01 failed: 1 of 2 missed"),
        (ChallengeOutcome.FAILED, 99_999, ChallengeState.FAILED, "challenge of cam01 failed: 1 of 2 missed"),
        (ChallengeOutcome.PASSED, -3600, ChallengeState.OVERDUE, "challenge of cam01 is overdue"),  # the clock was set
    ],
)
def test_what_holds_follows_from_the_last_result(
    outcome: ChallengeOutcome, ago_s: float, state: ChallengeState, why: str
) -> None:
    last = EnteredResults({"cam01": result(outcome, NOW_UTC - ago_s)})
    (stopping,) = states([target(on_fail="stop")], last, NOW_UTC)
    (alarming,) = states([target()], last, NOW_UTC)
    assert (stopping.state, stopping.why) == (state, why)
    assert stopping.due_utc == NOW_UTC - ago_s + 28_800
    assert acceptance([stopping], "cam01") == why
    assert acceptance([stopping], "cam02") == ""
    assert acceptance([alarming], "cam01") == ""


def test_what_was_never_challenged_is_overdue(tmp_path: Path) -> None:
    (one,) = read_states(tmp_path, [target()], NOW_UTC)
    assert (one.state, one.due_utc) == (ChallengeState.OVERDUE, 0.0)
    assert "none has given a result yet" in one.why


def enter(directory: Path, outcome: ChallengeOutcome) -> None:
    with writing(directory) as connection:
        body = result(outcome, NOW_UTC - 60).model_dump(mode="json")
        append(connection, ChallengeAct.RESULT, "cam01", body)


def test_a_void_challenge_changes_nothing(tmp_path: Path) -> None:
    enter(tmp_path, ChallengeOutcome.FAILED)
    enter(tmp_path, ChallengeOutcome.VOID)
    assert read_states(tmp_path, [target()], NOW_UTC)[0].state is ChallengeState.FAILED
    enter(tmp_path, ChallengeOutcome.PASSED)
    assert read_states(tmp_path, [target()], NOW_UTC)[0].state is ChallengeState.PASSED


def test_the_line_follows_the_file_and_a_damaged_one_is_overdue_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = DueWatch(tmp_path, [target(on_fail="stop")], period_s=0.01, clock=lambda: NOW_UTC)
    try:
        assert watch.states()[0].state is ChallengeState.OVERDUE
        enter(tmp_path, ChallengeOutcome.PASSED)
        wait_for_state(watch, ChallengeState.PASSED)
        kept = (tmp_path / "reviews.sqlite").read_bytes()
        put(tmp_path, b"no such file" * 99)
        wait_for_state(watch, ChallengeState.OVERDUE)
        assert "reviews.sqlite" in acceptance(watch.states(), "cam01")
        time.sleep(0.1)
        assert caplog.text.count("nobody can tell") == 1
        put(tmp_path, kept)
        wait_for_state(watch, ChallengeState.PASSED)
        (tmp_path / "reviews.sqlite").unlink()
        wait_for_state(watch, ChallengeState.OVERDUE)
    finally:
        watch.close()


def put(directory: Path, content: bytes) -> None:
    """Replace the file at once: while it is written it would be an empty one."""
    (directory / "next").write_bytes(content)
    (directory / "next").replace(directory / "reviews.sqlite")


def test_states_that_nobody_knows_are_overdue() -> None:
    (one,) = unknown_states([target()], "the disk is gone")
    assert (one.state, one.why) == (ChallengeState.OVERDUE, "challenge of cam01 is overdue: the disk is gone")


def wait_for_state(watch: DueWatch, state: ChallengeState) -> None:
    wait_for(lambda: watch.states()[0].state is state, watch.states)
