# SPDX-License-Identifier: AGPL-3.0-or-later
"""What recorded clips show together, and that it changes nothing of what holds for the line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.fakes.challenge_plans import inspected_clip, replayed, target

from vision_line.challenges.clip_plan import PlannedClip
from vision_line.challenges.clip_results import ClipResult, clip_result, enter_replay, recent_replays, replay_outcome
from vision_line.challenges.due import read_states
from vision_line.challenges.entry_bodies import ChallengeOutcome, PassOutcome
from vision_line.quality.challenge import ChallengeLimits, ChallengeState

LIMITS = ChallengeLimits(0.02, 0.05)


def result(name: str, expects: str, found: str, frames: int = 9) -> ClipResult:
    clip = PlannedClip(name, Path(name), "cam01", frozenset(expects.split()))
    return clip_result(clip, inspected_clip(found, frames))


@pytest.mark.parametrize(
    ("expects", "found", "outcome"),
    [
        ("open", "open spur", PassOutcome.FOUND),
        ("open spur", "open", PassOutcome.MISSED),
        ("open", "", PassOutcome.MISSED),
        ("", "", PassOutcome.ACCEPTED),
        ("", "spur", PassOutcome.FALSELY_REJECTED),
    ],
)
def test_a_clip_is_compared_with_what_it_expects(expects: str, found: str, outcome: PassOutcome) -> None:
    assert result("a", expects, found).outcome is outcome
    assert result("a", expects, found, frames=0).outcome is PassOutcome.NOT_INSPECTED


def test_clips_together() -> None:
    """What fails fails also where a clip was not inspected; good clips alone show nothing about misses."""
    found, missed, good = result("a", "open", "open"), result("b", "open", ""), result("c", "", "")
    unseen, rejected = result("d", "open", "", frames=0), result("e", "", "spur")
    assert replay_outcome([found, good], LIMITS) == (ChallengeOutcome.PASSED, ())
    assert replay_outcome([found, missed], LIMITS)[0] is ChallengeOutcome.FAILED
    assert replay_outcome([found, rejected], LIMITS)[0] is ChallengeOutcome.FAILED
    assert replay_outcome([rejected], LIMITS)[0] is ChallengeOutcome.FAILED
    assert replay_outcome([good], LIMITS)[0] is ChallengeOutcome.VOID
    assert replay_outcome([found, unseen], LIMITS) == (ChallengeOutcome.VOID, ("1 of 2 clips were not inspected",))
    assert replay_outcome([missed, unseen], LIMITS)[0] is ChallengeOutcome.FAILED


@pytest.mark.parametrize("outcome", [ChallengeOutcome.PASSED, ChallengeOutcome.FAILED])
def test_no_clip_clears_or_fails_a_challenge_of_the_line(tmp_path: Path, outcome: ChallengeOutcome) -> None:
    body = replayed(result("a", "open", "open"), outcome=outcome)
    enter_replay(tmp_path, body)
    assert recent_replays(tmp_path, 1.0) == [body]
    (state,) = read_states(tmp_path, [target("cam01")], time.time())
    assert (state.state, state.last) == (ChallengeState.OVERDUE, None)
