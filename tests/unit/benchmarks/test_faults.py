# SPDX-License-Identifier: AGPL-3.0-or-later
"""The fault bench judges rightly: stamps, ages of a peer's pictures, verdicts from a ledger and from looks."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.faults.bench import Fault, broken_promises
from benchmarks.faults.peers import looks_of
from benchmarks.faults.stamps import BITS, read_stamp, stamp
from benchmarks.faults.subject import VICTIM, Account, Look, Told
from benchmarks.faults.verdict import Verdict, Window, judge_line, judge_peer
from benchmarks.faults.videos import FPS
from hypothesis import given
from hypothesis import strategies as st

WINDOW = Window(begun_s=100.0, over_s=110.0, ended_s=120.0)
CAMERAS = (VICTIM, "other1")


def nothing(scene: object) -> None:
    """Do nothing."""


FAULT = Fault("hangs", "it hangs", nothing, nothing, 10.0, ("camera:",))


def looks(camera: str, begin_s: float, end_s: float, age_s: float | None = 0.1) -> list[Look]:
    """Return ten looks a second."""
    return [Look(camera, begin_s + n / 10, age_s) for n in range(round((end_s - begin_s) * 10) + 1)]


@given(number=st.integers(0, 2**BITS - 1), width=st.integers(320, 1920))
def test_a_stamp_is_read_back(number: int, width: int) -> None:
    """Whatever the number and the width, in grey and in colour."""
    picture = np.full((40, width), 90, np.uint8)
    stamp(picture, number)
    assert read_stamp(picture) == number
    assert read_stamp(np.repeat(picture[:, :, None], 3, axis=2)) == number


@pytest.mark.parametrize("level", [0, 127, 255])
def test_a_picture_without_a_stamp_has_no_number(level: int) -> None:
    """Black least of all: that is what a loader shows whose camera is gone."""
    assert read_stamp(np.full((360, 640, 3), level, np.uint8)) is None


def test_ages_start_anew_when_the_camera_does() -> None:
    """A video that begins again is fresh, a picture that is shown again is old, black is no picture."""
    lines: list[tuple[float, int, int | None]] = [(10 + n / FPS, 0, n) for n in range(50)]
    lines += [(14.0, 0, 49), (14.1, 0, None), (20.0, 0, 0), (20.04, 0, 1)]
    ages = [look.age_s for look in looks_of(lines, [VICTIM])]
    assert ages[:50] == pytest.approx([0.0] * 50, abs=1e-9)
    assert ages[50:] == [pytest.approx(14.0 - 10 - 49 / FPS), None, pytest.approx(0.0), pytest.approx(0.0)]


def test_a_ledger_that_tells_all_holds_every_promise() -> None:
    """The victim's interval covers the fault and ends soon after; the other camera has none."""
    told = [Told(VICTIM, "camera:STALE", 99.9, 104.0), Told(VICTIM, "camera:TIMEOUT", 104.0, 111.5)]
    verdict = judge_line(Account(CAMERAS, looks(VICTIM, 111.6, 119), told, 130), WINDOW, (VICTIM,))
    assert verdict == Verdict(0.0, 1.5, 11.5, 11.5, ("camera:STALE", "camera:TIMEOUT"), 0, verdict.oldest_s, 0, 130)
    assert verdict.oldest_s == pytest.approx(0.1)
    assert broken_promises(FAULT, verdict) == []


@pytest.mark.parametrize(
    ("told", "judged", "words"),
    [
        ([], [], "0.0 s are in the ledger, at least 9.0 s must be"),
        ([Told(VICTIM, "camera:STALE", 100, None)], [], "not back within 5 s"),
        ([Told(VICTIM, "capacity", 100, 110)], [], "wrong cause: capacity"),
        (
            [Told(VICTIM, "camera:STALE", 100, 110), Told("other1", "capacity", 101, 103)],
            [],
            "others were not looked at",
        ),
        (
            [Told(VICTIM, "camera:STALE", 100, 110)],
            looks(VICTIM, 110.2, 110.2, 12.0),
            "1 results on pictures up to 12.0",
        ),
    ],
)
def test_what_does_not_hold_is_named(told: list[Told], judged: list[Look], words: str) -> None:
    """A silent ledger, a camera that stays away, a wrong cause, others that suffer, old pictures."""
    verdict = judge_line(Account(CAMERAS, judged, told, 130), WINDOW, (VICTIM,))
    assert words in "; ".join(broken_promises(FAULT, verdict))


def test_a_peer_is_judged_by_its_pictures() -> None:
    """It showed one picture for ten seconds and was back two seconds after the fault; the other never suffered."""
    stuck = [Look(VICTIM, at.at_s, at.at_s - 100) for at in looks(VICTIM, 101.1, 112)]
    account = Account(CAMERAS, looks("other1", 90, 120) + looks(VICTIM, 90, 100.2) + stuck + looks(VICTIM, 112.1, 120))
    verdict = judge_peer(account, WINDOW, (VICTIM,))
    assert verdict.others_lost_s == 0
    assert verdict.back_s == pytest.approx(2.1)
    assert verdict.blind_s == pytest.approx(11.9)
    assert (verdict.told_s, verdict.old) == (0.0, len(stuck))
    assert verdict.oldest_s == pytest.approx(12.0)


def test_a_peer_that_ends_is_never_back() -> None:
    """And the other cameras are not looked at either."""
    account = Account(CAMERAS, looks("other1", 90, 103) + looks(VICTIM, 90, 100))
    verdict = judge_peer(account, WINDOW, (VICTIM,))
    assert verdict.back_s is None
    assert verdict.others_lost_s == pytest.approx(17.0)
