# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the dashboard says of challenges."""

from __future__ import annotations

from tests.fakes.challenge_plans import target

from vision_line.challenges.due import TargetState, unknown_states
from vision_line.quality.challenge import ChallengeState
from vision_line.telemetry.alarms import challenge_alarms


def test_each_failure_is_said_and_what_is_overdue_together() -> None:
    overdue = unknown_states([target("a"), target("b")], "no file")
    failed = TargetState(target("c"), ChallengeState.FAILED, 0.0, None, "challenge of c failed: 1 of 20 missed")
    passed = TargetState(target("d"), ChallengeState.PASSED, 0.0, None)
    assert challenge_alarms([*overdue, failed, passed]) == [
        "challenge of c failed: 1 of 20 missed",
        "challenges are overdue: a, b",
    ]
    assert challenge_alarms(overdue[:1]) == ["challenge of a is overdue: no file"]
