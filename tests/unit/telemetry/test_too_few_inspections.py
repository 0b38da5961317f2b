# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reports about cameras that are inspected too rarely: now, in a sentence, and at the end of a run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.frames import CameraState, DropCause, NotInspected
from vision_line.ports import LogStatus
from vision_line.telemetry.alarms import plan_alarms
from vision_line.telemetry.covered import FINAL_AFTER_S, CoverageTally, Covered, together
from vision_line.telemetry.shortfall import WINDOW_S, Rates, SteadyNumber, how_many_fit, shortfall
from vision_line.telemetry.snapshot import CameraSnapshot

GOOD = CameraSnapshot(
    "cam01",
    CameraState.RUNNING,
    fps_in=25.0,
    fps_inspected=3.0,
    dropped_fps={DropCause.SUPERSEDED: 22.0},
    sequence=100,
    needed_fps=1.75,
    spare_fps=2.625,
    is_settled=True,
)


def alarms(*cameras: CameraSnapshot) -> tuple[str, ...]:
    return plan_alarms(cameras, LogStatus(), (), 0.0)


def test_a_camera_below_its_need_is_not_inspected() -> None:
    """It is no use that it is inspected now and then."""
    slow = replace(GOOD, fps_inspected=1.5)

    assert (GOOD.is_inspecting, GOOD.is_troubled) == (True, False)
    assert (slow.is_inspecting, slow.is_troubled, slow.is_missed) == (False, True, True)
    assert slow.lacks_capacity
    assert not replace(slow, dropped_fps={DropCause.RATE_CAP: 22.0}).lacks_capacity
    assert not replace(slow, fps_in=1.5).lacks_capacity


@pytest.mark.parametrize("code", ["SLOW", "CORRUPT", "BEHIND"])
def test_a_running_camera_that_is_not_inspected_for_its_own_fault_is_an_alarm(code: str) -> None:
    """Its state does not say so: it runs. One whose state does is said once."""
    gap = NotInspected("1", "cam01", f"camera:{code}", 5.0, 5.0)
    away = replace(GOOD, state=CameraState.RECONNECTING, code=code, not_inspected=gap.cause)

    assert plan_alarms([replace(GOOD, not_inspected=gap.cause)], LogStatus(), [gap], 65.0) == (
        f"not inspected for 60 s (camera:{code}): cam01",
    )
    assert plan_alarms([away], LogStatus(), [gap], 65.0) == (f"RECONNECTING {code}: cam01",)


def test_a_rate_that_may_lack_one_inspection_by_its_counting_is_not_too_low() -> None:
    """One inspection every 0.57 s may also give eight in five seconds; the ledger judges cameras with rare ones."""
    assert replace(GOOD, fps_inspected=1.6).is_inspecting
    assert replace(GOOD, fps_inspected=0.0, needed_fps=0.2, spare_fps=0.2).is_inspecting


def test_rates_of_the_first_seconds_show_nothing() -> None:
    """Only the ledger says when a camera that has just started has its inspections."""
    assert replace(GOOD, fps_inspected=0.3, is_settled=False).is_inspecting
    assert replace(GOOD, fps_inspected=0.3, needed_fps=0.0, spare_fps=0.0).is_inspecting


def test_inspections_without_one_to_spare_are_reported() -> None:
    """Between the required rate and the one that tolerates a missed detection, the headline is only a notice."""
    scarce = replace(GOOD, fps_inspected=2.0)

    assert alarms(GOOD) == ()
    assert scarce.is_inspecting
    assert alarms(GOOD, scarce) == ("only just enough inspections (2.0 /s, 2.6 /s leave room for a miss): cam01",)


def test_an_overloaded_machine_says_what_it_cannot_do() -> None:
    """One sentence, before all else: what it does, what is needed, how many cameras would work."""
    cameras = [replace(GOOD, name=f"cam{n:02}", fps_inspected=1.1) for n in range(1, 17)]
    first, second = alarms(*cameras)

    assert first == (
        "--cameras 9 works here: this machine inspects 1.1 frames/s of each of 16 cameras, and 1.8 are needed; defects"
        " are missed"
    )
    assert second.startswith("inspected too rarely (1.1 of 1.8 inspections/s needed): cam01, cam02")


def test_a_gap_by_capacity_brings_the_sentence_too() -> None:
    """The machine is to blame for it, whatever the rates of the last seconds are."""
    gaps = [NotInspected("1", "cam01", "capacity", 0.0, 0.0)]
    camera = replace(GOOD, fps_inspected=0.5, not_inspected="capacity")
    alarms = plan_alarms([camera], LogStatus(), gaps, 9.0)

    assert alarms[0] == (
        "use a faster machine: this machine inspects 0.5 frames/s of its camera, and 1.8 are needed; defects are missed"
    )
    assert alarms[1] == "not inspected for 9 s (capacity): cam01"


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0.01, 50)), min_size=1, max_size=40))
def test_as_many_cameras_as_fit(rates: list[tuple[float, float]]) -> None:
    """The needs of the first ones are no more than what is done now, with one more they are; enough is no word."""
    cameras = [Rates(done, needed) for done, needed in rates]
    done, needs = sum(c.fps_inspected for c in cameras), [c.needed_fps for c in cameras]
    fits = how_many_fit(cameras)

    assert sum(needs[:fits]) <= 0.9 * done + 1e-6
    assert fits == len(cameras) or sum(needs[: fits + 1]) > 0.9 * done - 1e-6
    assert bool(shortfall(cameras)) == (done < sum(c.needed_fps for c in cameras))


def test_the_advised_number_is_of_the_first_cameras() -> None:
    """`--cameras N` takes the first of the file, whatever later ones need."""
    assert how_many_fit([Rates(1.0, 5.0), Rates(1.0, 0.1), Rates(4.0, 3.0)]) == 2
    assert how_many_fit([Rates(1.0, 9.0), Rates(1.0, 0.1), Rates(4.0, 0.1)]) == 0


def test_the_advised_number_does_not_jump() -> None:
    """What is measured jumps between 7 and 11 from second to second; what is said stays."""
    steady = SteadyNumber()
    said = [steady.show((7, 11, 9, 8, 10)[second % 5], float(second)) for second in range(120)]
    assert set(said[10:]) == {said[10]}
    assert 8 <= said[10] <= 9


@given(st.lists(st.tuples(st.floats(0.1, 5.0), st.integers(0, 64)), min_size=1, max_size=200))
def test_a_steady_number_was_measured_of_late(samples: list[tuple[float, int]]) -> None:
    """It is never outside what was measured by more than the one that it may lag behind, and rises by two or more."""
    steady, now_s, recent, before = SteadyNumber(), 0.0, list[tuple[float, int]](), None
    for step_s, number in samples:
        now_s += step_s
        recent = [(at_s, n) for at_s, n in [*recent, (now_s, number)] if now_s - at_s <= WINDOW_S]
        shown = steady.show(number, now_s)
        assert min(n for _, n in recent) - 1 <= shown <= max(n for _, n in recent)
        assert before is None or shown <= before or shown >= before + 2
        before = shown


def test_a_steady_number_follows_a_lasting_change() -> None:
    """Within half of its window; after a time without a question it begins anew."""
    steady = SteadyNumber()
    assert [steady.show(n, float(at_s)) for at_s, n in enumerate([9] * 30 + [4] * 30)][-1] == 4
    assert [steady.show(12, 60.0 + at_s) for at_s in range(30)][-1] == 12
    assert steady.show(13, 90.0 + 2 * WINDOW_S) == 13


def row(number: int, start_s: float, end_s: float | None = None, *, withdrawn: bool = False) -> NotInspected:
    return NotInspected(str(number), "a", "capacity", start_s, 0.0, end_s, None, withdrawn)


def test_intervals_are_added_up_as_they_are_reported_and_taken_back() -> None:
    """A later row with the same id replaces the earlier; what lasts counts so far; before the start counts nothing."""
    tally = CoverageTally(100.0)
    tally.note([row(1, 90.0, 105.0), row(2, 110.0)], 120.0)
    assert tally.seconds(120.0) == {"a": {"capacity": 15.0}}

    tally.note([row(2, 110.0, 112.0), row(3, 118.0)], 120.0)
    assert tally.seconds(121.0) == {"a": {"capacity": pytest.approx(10.0)}}

    tally.note([row(3, 118.0, withdrawn=True)], 122.0)
    assert tally.seconds(122.0) == {"a": {"capacity": pytest.approx(7.0)}}

    tally.note([row(4, 130.0, 131.0)], 200.0 + FINAL_AFTER_S)
    assert tally.seconds(300.0 + FINAL_AFTER_S) == {"a": {"capacity": pytest.approx(8.0)}}


@pytest.mark.parametrize("cause", ["off", "crashed"])
def test_a_camera_that_the_run_did_not_have_was_not_due(cause: str) -> None:
    """The ledger tells it; the run's share is of the time in which the camera was in the line."""
    tally = CoverageTally(100.0)
    tally.note([replace(row(1, 90.0, 150.0), cause=cause), row(2, 150.0, 152.0)], 160.0)

    assert tally.seconds(160.0) == {"a": {"capacity": pytest.approx(2.0)}}


def test_shares_of_the_time_that_was_due() -> None:
    """Sums of several cameras; where nothing was due there is no share."""
    parts = [Covered(100.0, {"capacity": 20.0}), Covered(100.0, {"log": 5.0, "capacity": 5.0}), Covered()]

    assert together(parts) == Covered(200.0, {"capacity": 25.0, "log": 5.0})
    assert together(parts).share == pytest.approx(0.85)
    assert Covered().share is None
