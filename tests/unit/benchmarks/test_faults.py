# SPDX-License-Identifier: AGPL-3.0-or-later
"""The fault bench evaluates correctly: stamps, ages of a peer's frames, outcomes from a ledger and from inspections."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.faults.clock import Setting, Stamped, ambiguous, misplaced
from benchmarks.faults.fault import Broken, Fault, broken_promises
from benchmarks.faults.outcome import Outcome, Window, evaluate_line, evaluate_peer
from benchmarks.faults.peers import inspections_of
from benchmarks.faults.quiet import BUSY_SHARE, Usage, foreign_share, usage, used_s
from benchmarks.faults.results import StampedFrame
from benchmarks.faults.subject import VICTIM, Account, Inspection, ReportedGap
from benchmarks.faults.table import Row, measured_on, table
from benchmarks.faults.videos import FPS
from benchmarks.stamps import BITS, read_stamp, stamp
from hypothesis import given
from hypothesis import strategies as st

WINDOW = Window(begun_s=100.0, over_s=110.0, ended_s=120.0)
CAMERAS = (VICTIM, "other1")


FAULT = Fault("hangs", "it hangs", lasts_s=10.0, causes=("camera:",))
SET_CLOCK = Fault("set", "it is set", lasts_s=10.0, causes=(), reported_s=0.0, offsets_s=(100.0, 70.0))
HELD = Outcome(0.0, 1.5, 11.5, 10.0, ("camera:STALE", "camera:TIMEOUT"), 0, 0.1, 0, 130)


def inspections(camera: str, begin_s: float, end_s: float, age_s: float | None = 0.1) -> list[Inspection]:
    """Return ten inspections a second."""
    return [Inspection(camera, begin_s + n / 10, age_s) for n in range(round((end_s - begin_s) * 10) + 1)]


@given(number=st.integers(0, 2**BITS - 1), width=st.integers(320, 1920))
def test_a_stamp_is_read_back(number: int, width: int) -> None:
    """Whatever the number and the width, in grey and in colour."""
    frame = np.full((40, width), 90, np.uint8)
    stamp(frame, number)
    assert read_stamp(frame) == number
    assert read_stamp(np.repeat(frame[:, :, None], 3, axis=2)) == number


@pytest.mark.parametrize("level", [0, 127, 255])
def test_a_frame_without_a_stamp_has_no_number(level: int) -> None:
    """Black least of all: that is what a loader shows whose camera is gone."""
    assert read_stamp(np.full((360, 640, 3), level, np.uint8)) is None


def test_ages_start_anew_when_the_camera_does() -> None:
    """A video that begins again is fresh, a frame that is shown again is old, black is no frame."""
    shown: list[tuple[float, int | None]] = [(10 + n / FPS, n) for n in range(50)]
    shown += [(14.0, 49), (14.1, None), (20.0, 0), (20.04, 1)]
    lines = [StampedFrame(at_s, 0.0, 0, number) for at_s, number in shown]
    ages = [inspection.age_s for inspection in inspections_of(lines, [VICTIM])]
    assert ages[:50] == pytest.approx([0.0] * 50, abs=1e-9)
    assert ages[50:] == [pytest.approx(14.0 - 10 - 49 / FPS), None, pytest.approx(0.0), pytest.approx(0.0)]


def test_a_ledger_that_shows_all_holds_every_promise() -> None:
    """The victim's interval covers the fault and ends soon after; the other camera has none."""
    reported = [ReportedGap(VICTIM, "camera:STALE", 99.9, 104.0), ReportedGap(VICTIM, "camera:TIMEOUT", 104.0, 111.5)]
    outcome = evaluate_line(Account(CAMERAS, inspections(VICTIM, 111.6, 119), reported, 130), WINDOW, (VICTIM,))
    assert outcome == replace(HELD, oldest_s=outcome.oldest_s)
    assert outcome.oldest_s == pytest.approx(0.1)
    assert not broken_promises(FAULT, outcome)


def test_what_is_reported_is_reported_of_every_victim_and_of_the_fault_itself() -> None:
    """An interval after the fault makes up for no second of it, nor one camera for another."""
    reported = [ReportedGap(VICTIM, "paused", 100.0, 110.0), ReportedGap("other1", "paused", 104.0, 119.0)]
    outcome = evaluate_line(Account(CAMERAS, [], reported, 130), WINDOW, CAMERAS)
    assert (outcome.reported_s, outcome.blind_s) == (6.0, 15.0)


@pytest.mark.parametrize(
    ("reported", "inspected", "words"),
    [
        ([], [], "0.0 s are in the ledger, at least 9.0 s must be"),
        ([ReportedGap(VICTIM, "camera:STALE", 100, None)], [], "not back within 5 s"),
        ([ReportedGap(VICTIM, "capacity", 100, 110)], [], "wrong cause: capacity"),
        (
            [ReportedGap(VICTIM, "camera:STALE", 100, 110), ReportedGap("other1", "capacity", 101, 103)],
            [],
            "others were not inspected",
        ),
        (
            [ReportedGap(VICTIM, "camera:STALE", 100, 110)],
            inspections(VICTIM, 110.2, 110.2, 12.0),
            "1 results on frames up to 12.0",
        ),
    ],
)
def test_what_does_not_hold_is_named(reported: list[ReportedGap], inspected: list[Inspection], words: str) -> None:
    """A silent ledger, a camera that stays away, a wrong cause, others that suffer, old frames."""
    outcome = evaluate_line(Account(CAMERAS, inspected, reported, 130), WINDOW, (VICTIM,))
    assert words in str(broken_promises(FAULT, outcome))


def test_a_peer_is_evaluated_by_its_frames() -> None:
    """It showed one frame for ten seconds and was back two seconds after the fault; the other never suffered."""
    stuck = [Inspection(VICTIM, at.at_s, at.at_s - 100) for at in inspections(VICTIM, 101.1, 112)]
    account = Account(
        CAMERAS,
        inspections("other1", 90, 120) + inspections(VICTIM, 90, 100.2) + stuck + inspections(VICTIM, 112.1, 120),
    )
    outcome = evaluate_peer(account, WINDOW, (VICTIM,))
    assert outcome.others_lost_s == 0
    assert outcome.back_s == pytest.approx(2.1)
    assert outcome.blind_s == pytest.approx(11.9)
    assert (outcome.reported_s, outcome.old) == (0.0, len(stuck))
    assert outcome.oldest_s == pytest.approx(12.0)


def test_a_peer_that_ends_is_never_back() -> None:
    """And the other cameras are not inspected either."""
    account = Account(CAMERAS, inspections("other1", 90, 103) + inspections(VICTIM, 90, 100))
    outcome = evaluate_peer(account, WINDOW, (VICTIM,))
    assert outcome.back_s is None
    assert outcome.others_lost_s == pytest.approx(17.0)


def test_a_peer_that_judges_damaged_frames_is_seen_to() -> None:
    """Of the frames after the fault's begin, those whose numbers are known to be damaged."""
    inspected = [Inspection(VICTIM, 99.0 + n, 0.1, n) for n in range(10)]
    outcome = evaluate_peer(Account(CAMERAS, inspected), WINDOW, (VICTIM,), lambda number: number % 5 == 0)
    assert outcome.damaged == 1  # number 5; number 0 was before


SETTINGS = (Setting(100.0, 100.0), Setting(110.0, 70.0))


@given(at_s=st.floats(0, 200), offset_s=st.sampled_from([0.0, 70.0, 100.0]))
def test_a_row_belongs_where_its_clock_was(at_s: float, offset_s: float) -> None:
    """By what the clock showed at that moment, a second before or a second after; else it is another time's row."""
    shown = {0.0: (-1.0, 101.0), 100.0: (99.0, 111.0), 70.0: (109.0, 201.0)}[offset_s]
    wrong = misplaced([Stamped(at_s, 5000.0 + at_s + offset_s)], 5000.0, SETTINGS)
    assert wrong == (not shown[0] <= at_s <= shown[1])


def test_rows_after_a_clock_was_set_back_are_ambiguous() -> None:
    """Until the clock has caught up with the latest time that was written."""
    times = [1.0, 2.0, 3.0, 1.5, 2.5, 3.5]
    assert ambiguous(Stamped(number, at_utc) for number, at_utc in enumerate(times)) == 2


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (replace(HELD, back_s=0.0, causes=(), steps_s=(100.2, -30.0)), ""),
        (replace(HELD, causes=(), steps_s=(100.2,)), "steps of the clock: reported [100.2], made [100.0, -30.0]"),
        (replace(HELD, causes=(), steps_s=(100.0, -30.0), misplaced=2), "2 rows under a time that is not theirs"),
        (replace(HELD, steps_s=(100.0, -30.0)), "wrong cause: camera:STALE, camera:TIMEOUT"),
    ],
)
def test_a_clock_that_is_set_is_reported_and_loses_nothing(outcome: Outcome, words: str) -> None:
    """Each step in the ledger, no row under another clock's time, no interval of any cause."""
    assert str(broken_promises(SET_CLOCK, outcome)) == words


def test_only_what_is_measured_in_seconds_is_excused_by_a_busy_machine() -> None:
    """A silent ledger is broken whoever uses the processors; a late return only while nobody else does."""
    silent, late = Broken(["silent"], ["late"]), Broken([], ["late"])
    assert [silent.is_clear(share) for share in (0.0, BUSY_SHARE, 1.0)] == [True] * 3
    assert [late.is_clear(share) for share in (0.0, BUSY_SHARE, 1.0)] == [True, False, False]
    assert not Broken().is_clear(0.0)
    assert silent + late == Broken(["silent"], ["late", "late"])


@pytest.mark.parametrize(("all_s", "own_s", "share"), [(3.0, 3.0, 0.0), (3.0, 1.0, 0.5), (1.0, 1.02, 0.0)])
def test_what_others_used_is_all_less_our_own(all_s: float, own_s: float, share: float) -> None:
    """Two cores for two seconds; the two accounts are not read at one moment, so never less than nothing."""
    before = Usage(10.0, 2, 50.0, 5.0)
    assert foreign_share(before, Usage(12.0, 2, 50.0 + all_s, 5.0 + own_s)) == pytest.approx(share)


def test_our_own_is_every_descendant() -> None:
    """Not the parent, not its other children, and not this process, which counts itself."""
    assert used_s(2, {1: (0, 100.0), 2: (1, 50.0), 3: (2, 1.0), 4: (3, 2.0), 5: (1, 70.0)}) == 3.0


def test_the_accounts_of_this_machine_can_be_read() -> None:
    """They only grow, and know how many cores this process may use."""
    before, after = usage(), usage()
    assert before.cores == len(os.sched_getaffinity(0))
    assert 0 < before.own_s <= after.own_s
    assert before.all_s <= after.all_s


@pytest.mark.parametrize(
    ("broken", "foreign", "begins"),
    [
        (Broken(), 0.0, "back after 1.5 s; blind 11.5 s; reported: camera:STALE, camera:TIMEOUT; none old"),
        (Broken([], ["late"]), 0.1, "**does not hold: late**; back"),
        (Broken([], ["late"]), 0.6, "*unclear, other programs used 60% of the machine: late*; back"),
        (Broken(["silent"]), 0.6, "**does not hold: silent**; back"),
        (Broken(), 0.6, "(beside other programs: 60% of the machine) back"),
    ],
)
def test_the_table_says_what_does_not_hold_and_what_is_unclear(broken: Broken, foreign: float, begins: str) -> None:
    """In the cell of vision-line; a peer that was not run has a dash."""
    shown = table([Row(FAULT, {"vision-line": HELD}, broken, foreign)])
    assert f"| hangs: it hangs | {begins}" in shown
    assert shown.endswith("others lost nothing | – | – |\n")


def test_a_subject_that_did_not_start_has_a_dash() -> None:
    """And the reason stands before it."""
    shown = table([Row(FAULT, {}, Broken([], ["vision-line did not start"]), 0.9)])
    assert "*unclear, other programs used 90% of the machine: vision-line did not start*; – | – | – |" in shown


@pytest.mark.parametrize(("left_out", "last"), [([], "Python 3."), (["a", "b"], "want of rights or tools: a, b.")])
def test_the_table_says_where_it_was_measured(left_out: Sequence[str], last: str) -> None:
    """Machine, versions, time, and what is missing."""
    on = {"cores": 2, "cpu": "Some CPU", "instruction_set": "AVX2"}
    words = measured_on(on, {"vision-line": "1.0 at abc", "Python": "3"}, 600, left_out)
    assert words.startswith(
        "Measured in 10 minutes on 2 cores of Some CPU (AVX2), with vision-line 1.0 at abc, Python 3."
    )
    assert words.replace("\n", " ").endswith(last)
