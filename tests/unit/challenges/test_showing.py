# SPDX-License-Identifier: AGPL-3.0-or-later
"""What challenges show together, and what is left out of that."""

from __future__ import annotations

from tests.fakes.challenge_plans import CRITERIA, begun, planned

from vision_line.challenges.acts import LineChallenge
from vision_line.challenges.entry_bodies import ChallengeOutcome, PassOutcome, PassResult, ResultBody
from vision_line.challenges.showing import pooled, void


def ended(outcome: ChallengeOutcome, *passes: PassOutcome, target: str = "cam01") -> LineChallenge:
    """Return a challenge that is over, each pass of a defective part."""
    made = tuple(
        PassResult(part="A", expects=frozenset({"open"}), position="", outcome=one, from_utc=0.0, to_utc=1.0)
        for one in passes
    )
    result = ResultBody(
        challenge=1, at_utc=9.0, outcome=outcome, why=(), passes=made, strays=0, criteria=CRITERIA, record_number=1,
        record_head="",
    )  # fmt: skip
    return LineChallenge(1, target, begun((target,), planned("A:open"), 0.0), (0.0,), 5.0, result=result)


def test_a_void_challenge_is_left_out_and_its_misses_are_said() -> None:
    """A clock that was set may have moved its windows; but nobody loses a miss by leaving parts out."""
    found, missed = PassOutcome.FOUND, PassOutcome.MISSED
    challenges = [
        ended(ChallengeOutcome.PASSED, found, found, found),
        ended(ChallengeOutcome.VOID, found, missed),
        ended(ChallengeOutcome.FAILED, missed),
        ended(ChallengeOutcome.VOID, missed, target="cam02"),
    ]
    together = pooled(challenges, "cam01").counts
    assert (together.defective, together.missed) == (4, 1)
    voids, shown = void(challenges, "cam01")
    assert (voids, shown.counts.defective, shown.counts.missed) == (1, 2, 1)
    assert void(challenges, "cam03")[0] == 0
