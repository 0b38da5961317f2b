# SPDX-License-Identifier: AGPL-3.0-or-later
"""What records show of a challenge: found, missed, and what a gap, a restart or the clock hides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.challenge_plans import begun, planned
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords, writing

from vision_line.challenges.acts import LineChallenge
from vision_line.challenges.entry_bodies import ChallengeOutcome, PassOutcome, ResultBody
from vision_line.challenges.measuring import GIVES_UP_S, measured

FOUND, MISSED, ACCEPTED = PassOutcome.FOUND, PassOutcome.MISSED, PassOutcome.ACCEPTED
REJECTED, HIDDEN = PassOutcome.FALSELY_REJECTED, PassOutcome.NOT_INSPECTED


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[DeskRecords]:
    with writing(tmp_path) as found:
        yield found


def challenge(text: str, *, cameras: tuple[str, ...] = ("cam01",), turns: int | None = None) -> LineChallenge:
    """Return one whose parts have their turn every 10 s from second 100 on."""
    passes = planned(text)
    made = len(passes) if turns is None else turns
    times = tuple(BEGAN_UTC + 100 + 10 * n for n in range(made))
    return LineChallenge(7, "line 1", begun(cameras, passes, BEGAN_UTC + 90), times, BEGAN_UTC + 100 + 10 * made)


def result(rows: DeskRecords, of: LineChallenge, now_s: float = 500.0) -> ResultBody:
    found = measured(rows.connection, of, BEGAN_UTC + now_s)
    assert found is not None
    return found


def test_parts_found_missed_accepted_and_rejected(rows: DeskRecords) -> None:
    run = rows.run(0, 600, "cam01")
    first = rows.event(run, "cam01", 101)
    rows.event(run, "cam01", 131)
    found = result(rows, challenge("A:open B:open G: H:"))
    assert [one.outcome for one in found.passes] == [FOUND, MISSED, ACCEPTED, REJECTED]
    assert found.passes[0].events == (f"event {first}",)
    assert found.passes[1].missing == ("open",)
    assert found.outcome is ChallengeOutcome.FAILED
    assert "1 of 2 defective parts were missed: 50.0%" in found.why[0]
    assert "1 of 2 good parts were rejected" in found.why[1]


def test_all_found_is_passed_and_says_how_far_the_records_were(rows: DeskRecords) -> None:
    rows.event(rows.run(0, 600, "cam01"), "cam01", 101)
    found = result(rows, challenge("A:open G:"))
    assert (found.outcome, found.why, found.strays) == (ChallengeOutcome.PASSED, (), 0)
    head = rows.connection.execute("SELECT number, lower(hex(digest)) FROM journal ORDER BY number DESC").fetchone()
    assert (found.record_number, found.record_head) == tuple(head)


def test_a_part_with_two_defects_is_found_with_both(rows: DeskRecords) -> None:
    run = rows.run(0, 600, "cam01")
    rows.event(run, "cam01", 101)
    assert result(rows, challenge("A:open,short")).passes[0].missing == ("short",)
    rows.event(run, "cam01", 102, class_name="short")
    assert result(rows, challenge("A:open,short")).outcome is ChallengeOutcome.PASSED


def test_an_event_that_the_line_accepted_finds_nothing(rows: DeskRecords) -> None:
    rows.event(rows.run(0, 600, "cam01"), "cam01", 101, verdict="accept")
    assert [one.outcome for one in result(rows, challenge("A:open")).passes] == [MISSED]


def test_an_event_that_began_before_the_first_part_is_not_its(rows: DeskRecords) -> None:
    rows.event(rows.run(0, 600, "cam01"), "cam01", 99)  # and lasts until 102
    assert [one.outcome for one in result(rows, challenge("A:open")).passes] == [MISSED]


def test_a_part_in_a_gap_was_not_inspected_and_the_challenge_shows_too_little(rows: DeskRecords) -> None:
    run = rows.run(0, 600, "cam01")
    rows.event(run, "cam01", 101)
    rows.gap(run, "cam01", "camera:TIMEOUT", 112, 118)
    found = result(rows, challenge("A:open B:open"))
    assert [one.outcome for one in found.passes] == [FOUND, HIDDEN]
    assert (found.outcome, found.why) == (ChallengeOutcome.VOID, ("1 of 2 passes were not inspected",))


def test_a_gap_excuses_nothing_that_was_missed_beside_it(rows: DeskRecords) -> None:
    run = rows.run(0, 600, "cam01")
    rows.gap(run, "cam01", "camera:TIMEOUT", 112, 118)
    assert result(rows, challenge("A:open B:open")).outcome is ChallengeOutcome.FAILED


def test_a_good_part_in_a_gap_was_not_accepted(rows: DeskRecords) -> None:
    run = rows.run(0, 600, "cam01")
    rows.event(run, "cam01", 101)
    rows.gap(run, "cam01", "capacity", 112, None)
    assert [one.outcome for one in result(rows, challenge("A:open G:")).passes] == [FOUND, HIDDEN]


def test_a_restart_of_the_line_hides_what_passed_meanwhile(rows: DeskRecords) -> None:
    rows.event(rows.run(0, 109, "cam01"), "cam01", 101)
    rows.event(rows.run(121, 600, "cam01"), "cam01", 131)
    found = result(rows, challenge("A:open B:open C:open D:open"))
    assert [one.outcome for one in found.passes] == [FOUND, HIDDEN, HIDDEN, FOUND]


def test_without_a_run_nothing_was_inspected(rows: DeskRecords) -> None:
    rows.run(0, 600, "another")
    found = result(rows, challenge("A:open"))
    assert (found.passes[0].outcome, found.outcome) == (HIDDEN, ChallengeOutcome.VOID)


def test_passes_that_were_not_made_are_missing(rows: DeskRecords) -> None:
    rows.event(rows.run(0, 600, "cam01"), "cam01", 101)
    found = result(rows, challenge("A:open B:open C:open", turns=1))
    assert (found.outcome, found.why) == (ChallengeOutcome.VOID, ("2 of 3 passes were not made",))


def test_a_clock_that_was_set_meanwhile_makes_it_void(rows: DeskRecords) -> None:
    run = rows.run(0, 600, "cam01")
    rows.insert("clock_steps", run=run, clock=1, at_s=105.0, from_utc=BEGAN_UTC + 105, to_utc=BEGAN_UTC + 900)
    found = result(rows, challenge("A:open"))
    assert (found.outcome, found.why[0]) == (ChallengeOutcome.VOID, "the clock was set meanwhile")


def test_acts_that_go_back_in_time_make_it_void(rows: DeskRecords) -> None:
    rows.run(0, 600, "cam01")
    body = begun(("cam01",), planned("A:open B:open"), BEGAN_UTC + 90)
    back = LineChallenge(7, "line 1", body, (BEGAN_UTC + 100, BEGAN_UTC + 95), BEGAN_UTC + 120)
    assert result(rows, back).why[0] == "the clock was set meanwhile"


def test_the_result_waits_for_records_but_not_for_ever(rows: DeskRecords) -> None:
    rows.run(0, None, "cam01", alive_s=111)
    of = challenge("A:open")  # until second 110
    assert measured(rows.connection, of, BEGAN_UTC + 110) is None
    assert measured(rows.connection, of, BEGAN_UTC + 113) is None
    assert measured(rows.connection, of, BEGAN_UTC + 110 + GIVES_UP_S) is not None
    rows.connection.execute("UPDATE runs SET alive_utc = ?", (BEGAN_UTC + 112,))
    assert result(rows, of, 113).passes[0].outcome is MISSED


def test_any_camera_of_a_station_may_find_a_part(rows: DeskRecords) -> None:
    run = rows.run(0, 600, "left", "right")
    rows.event(run, "right", 101)
    assert result(rows, challenge("A:open", cameras=("left", "right"))).outcome is ChallengeOutcome.PASSED
    rows.gap(run, "left", "camera:TIMEOUT", 112, 118)
    found = result(rows, challenge("A:open B:open", cameras=("left", "right")))
    assert [one.outcome for one in found.passes] == [FOUND, HIDDEN]
