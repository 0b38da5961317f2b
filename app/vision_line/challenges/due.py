# SPDX-License-Identifier: AGPL-3.0-or-later
"""What holds for each target now: passed, failed or overdue, and whether parts may be accepted on it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from vision_line.challenges.challenge_targets import ChallengeTarget
from vision_line.challenges.entry_bodies import ChallengeAct, ChallengeOutcome, ResultBody
from vision_line.errors import RunError
from vision_line.quality.challenge import ChallengeSchedule, ChallengeState
from vision_line.records.side_journal import newest
from vision_line.reviews.reviews_file import FILE_NAME, reading

#: A result from so far in the future means that the clock was set back.
_CLOCK_TOLERANCE_S = 60.0
_READ_FIRST = 256


@dataclass(frozen=True, slots=True)
class TargetState:
    """A target now. `due_utc`: by when the next challenge must be done; `why`: what is wrong, "" where nothing is."""

    target: ChallengeTarget
    state: ChallengeState
    due_utc: float
    last: ResultBody | None
    why: str = ""

    @property
    def name(self) -> str:
        """The target's name."""
        return self.target.name


def acceptance(states: Iterable[TargetState], camera: str) -> str:
    """Return why parts that pass `camera` may not be accepted, "" if they may.

    They may not where a challenge with `on_fail = "stop"` failed or is overdue.
    """
    refusing = (one for one in states if camera in one.target.cameras and one.target.on_fail == "stop" and one.why)
    return "; ".join(one.why for one in refusing)


def read_states(directory: Path, targets: Sequence[ChallengeTarget], now_utc: float) -> list[TargetState]:
    """Return each target's state by the `reviews.sqlite` of a record directory.

    Raises:
        RunError: the file cannot be read; what holds then is `unknown_states`.
    """
    with reading(directory) as connection:
        last = {} if connection is None else last_results(connection, {target.name for target in targets})
    return states(targets, last, now_utc)


def unknown_states(targets: Sequence[ChallengeTarget], why: str) -> list[TargetState]:
    """Return the states where nobody can tell what was challenged: overdue, each."""
    return [
        TargetState(target, ChallengeState.OVERDUE, 0.0, None, f"challenge of {target.name} is overdue: {why}")
        for target in targets
    ]


def states(targets: Sequence[ChallengeTarget], last: Mapping[str, ResultBody], now_utc: float) -> list[TargetState]:
    """Return each target's state by its last result. Pure."""
    return [_state(target, last.get(target.name), now_utc) for target in targets]


def _state(target: ChallengeTarget, last: ResultBody | None, now_utc: float) -> TargetState:
    last_utc = None if last is None else last.at_utc
    schedule = ChallengeSchedule(-target.every_s, target.every_s)  # without a challenge it is due since ever
    due_utc = schedule.due_utc(last_utc)
    state = schedule.state(now_utc, last_utc, last_passed=last is None or last.outcome is ChallengeOutcome.PASSED)
    if last_utc is not None and last_utc > now_utc + _CLOCK_TOLERANCE_S and state is ChallengeState.PASSED:
        state = ChallengeState.OVERDUE
    return TargetState(target, state, due_utc, last, _why(target.name, state, last))


def _why(name: str, state: ChallengeState, last: ResultBody | None) -> str:
    match state:
        case ChallengeState.FAILED:
            return f"challenge of {name} failed: {'; '.join(last.why) if last else ''}"
        case ChallengeState.OVERDUE:
            return f"challenge of {name} is overdue" + ("" if last else ": none has given a result yet")
        case _:
            return ""


def last_results(
    connection: sqlite3.Connection, targets: set[str], before_utc: float = float("inf")
) -> dict[str, ResultBody]:
    """Return the last result of each target, before a moment, that shows anything: one that is void changes nothing.

    Raises:
        RunError: an entry is none of ours.
        sqlite3.Error: as it comes.
    """
    most = _READ_FIRST
    while True:
        entered = newest(connection, [ChallengeAct.RESULT], most)
        found: dict[str, ResultBody] = {}
        for entry in entered:
            if entry.key in targets and entry.key not in found:
                try:
                    result = ResultBody.model_validate(entry.body)
                except ValidationError as exc:
                    raise RunError(f"entry {entry.number} of {FILE_NAME} is not as challenges are entered") from exc
                if result.outcome is not ChallengeOutcome.VOID and result.at_utc < before_utc:
                    found[entry.key] = result
        if len(found) == len(targets) or len(entered) < most:
            return found
        most *= 4
