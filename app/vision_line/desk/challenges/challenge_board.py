# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is due by the plan that the line follows, what goes on, and what challenges of the last days showed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vision_line.challenges.acts import LineChallenge
from vision_line.challenges.challenge_targets import ChallengeTarget
from vision_line.challenges.clip_results import ReplayBody, recent_replays
from vision_line.challenges.doing import recent
from vision_line.challenges.due import TargetState, read_states
from vision_line.challenges.entry_bodies import PassResult
from vision_line.challenges.measuring import enter_results
from vision_line.challenges.recorded_plan import RecordedPlan
from vision_line.challenges.showing import Shown, can_show, outcome_of, pooled, shown, void
from vision_line.errors import RunError
from vision_line.records.records import Records

logger = logging.getLogger(__name__)

#: How far back results are shown and pooled.
DAYS = 30.0


@dataclass(frozen=True, slots=True)
class TargetBoard:
    """A target now: its state, the challenge that goes on, and what those of the last days show together.

    `voids` of them are void and left out; `void_pool` is what those would show.
    """

    state: TargetState
    open: LineChallenge | None
    pool: Shown
    can_show: str
    voids: int
    void_pool: Shown


@dataclass(frozen=True, slots=True)
class PastChallenge:
    """A challenge that is over, with what it showed."""

    challenge: LineChallenge
    outcome: str
    shown: Shown | None


@dataclass(frozen=True, slots=True)
class PastReplay:
    """What recorded clips showed at one time: of the software alone."""

    body: ReplayBody
    shown: Shown


@dataclass(frozen=True, slots=True)
class ChallengeBoard:
    """All of it; `waits`: a challenge was ended, and its result is not entered yet."""

    targets: Sequence[TargetBoard]
    past: Sequence[PastChallenge]  # the newest first
    waits: bool
    replays: Sequence[PastReplay]  # the newest first


def read_board(directory: Path, plan: RecordedPlan) -> ChallengeBoard:
    """Return what is due and what was shown.

    Raises:
        RunError: `reviews.sqlite` cannot be read.
    """
    enter_awaited(directory)
    now_utc = time.time()
    challenges = recent(directory, DAYS)
    open_now = {one.target: one for one in challenges if one.is_open(now_utc)}
    boards = [
        TargetBoard(
            state,
            open_now.get(state.name),
            pooled(challenges, state.name),
            can_show(state.target.defective_passes),
            *void(challenges, state.name),
        )
        for state in read_states(directory, plan.targets, now_utc)
    ]
    past = [past_challenge(one, now_utc) for one in reversed(challenges) if not one.is_open(now_utc)]
    replays = [PastReplay(body, shown(body.clips)) for body in recent_replays(directory, DAYS)]
    return ChallengeBoard(boards, past, any(one.challenge.awaits_result for one in past), replays)


def states_now(directory: Path, targets: Sequence[ChallengeTarget]) -> list[TargetState]:
    """Return each target's state; where a result is awaited it is entered first, as far as the records reach.

    Raises:
        RunError: `reviews.sqlite` cannot be read.
    """
    found = read_states(directory, targets, time.time())
    if all(one.awaited is None for one in found):
        return found
    enter_awaited(directory)
    return read_states(directory, targets, time.time())


def enter_awaited(directory: Path) -> None:
    """Enter what challenges showed: whoever ended one may not have waited for it.

    What cannot be entered is tried with the next page, and the state of its target says that it is not entered.
    """
    try:
        enter_results(directory)
    except RunError as exc:
        logger.error("the result of a challenge is not entered yet: %s", exc)


def past_challenge(challenge: LineChallenge, now_utc: float) -> PastChallenge:
    """Return a challenge with what it showed."""
    result = challenge.result
    return PastChallenge(challenge, outcome_of(challenge, now_utc), None if result is None else shown(result.passes))


def events_of(connection: Records, passes: Sequence[PassResult]) -> dict[str, int]:
    """Return the number in the record file of each event of these passes that is still there.

    Raises:
        Error: the database's, as it comes.
    """
    ids = [event for one in passes for event in one.events]
    sql = "SELECT event_id, event FROM events WHERE event_id IN (SELECT value FROM json_each(?))"
    return dict(connection.execute(sql, (json.dumps(ids),)).fetchall())
