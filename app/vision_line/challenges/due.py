# SPDX-License-Identifier: AGPL-3.0-or-later
"""What holds for each target now: passed, failed or overdue, and whether parts may be accepted on it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from vision_line.challenges.acts import without_result
from vision_line.challenges.challenge_targets import ChallengeTarget
from vision_line.challenges.entry_bodies import ActBody, ChallengeAct, ChallengeOutcome, EntryBody, ResultBody
from vision_line.errors import RunError
from vision_line.quality.challenge import ChallengeSchedule, ChallengeState
from vision_line.records.side_journal import SideEntry, newest
from vision_line.reviews.reviews_file import FILE_NAME, reading

#: A result from so far in the future means that the clock was set back.
_CLOCK_TOLERANCE_S = 60.0
#: A result is entered within some 20 s after the last part was at the camera; behind this time nobody enters it.
_LATE_S = 30.0
_READ_FIRST = 256

_Body = TypeVar("_Body", bound=EntryBody)


@dataclass(frozen=True, slots=True)
class AwaitedResult:
    """A challenge was ended, and nothing says what it showed; it is late `late_utc`."""

    challenge: int
    ended_utc: float
    late_utc: float

    def is_late(self, now_utc: float) -> bool:
        """Whether it should have been entered; so it is where the clock was set back since."""
        return now_utc >= self.late_utc or now_utc < self.ended_utc - _CLOCK_TOLERANCE_S


@dataclass(frozen=True, slots=True)
class EnteredResults:
    """By target: the last result that shows anything, and the oldest challenge behind it that has none."""

    last: Mapping[str, ResultBody] = field(default_factory=dict)
    awaited: Mapping[str, AwaitedResult] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TargetState:
    """A target now. `due_utc`: by when the next challenge must be done; `why`: what is wrong, "" where nothing is.

    `awaited`: one was ended behind the last result, and its own is not entered.
    """

    target: ChallengeTarget
    state: ChallengeState
    due_utc: float
    last: ResultBody | None
    why: str = ""
    awaited: AwaitedResult | None = None

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
        entered = EnteredResults() if connection is None else entered_results(connection, names_of(targets))
    return states(targets, entered, now_utc)


def unknown_states(targets: Sequence[ChallengeTarget], why: str) -> list[TargetState]:
    """Return the states where nobody can tell what was challenged: overdue, each."""
    return [
        TargetState(target, ChallengeState.OVERDUE, 0.0, None, f"challenge of {target.name} is overdue: {why}")
        for target in targets
    ]


def names_of(targets: Iterable[ChallengeTarget]) -> set[str]:
    """Return what the targets are called."""
    return {target.name for target in targets}


def states(targets: Sequence[ChallengeTarget], entered: EnteredResults, now_utc: float) -> list[TargetState]:
    """Return each target's state by what was entered. Pure."""
    return [
        _state(target, entered.last.get(target.name), entered.awaited.get(target.name), now_utc) for target in targets
    ]


def _state(
    target: ChallengeTarget, last: ResultBody | None, awaited: AwaitedResult | None, now_utc: float
) -> TargetState:
    last_utc = None if last is None else last.at_utc
    schedule = ChallengeSchedule(-target.every_s, target.every_s)  # without a challenge it is due since ever
    due_utc = schedule.due_utc(last_utc)
    state = schedule.state(now_utc, last_utc, last_passed=last is None or last.outcome is ChallengeOutcome.PASSED)
    if last_utc is not None and last_utc > now_utc + _CLOCK_TOLERANCE_S and state is ChallengeState.PASSED:
        state = ChallengeState.OVERDUE
    why = _why(target.name, state, last)
    if awaited is not None and awaited.is_late(now_utc):  # it may have failed: what nobody knows has not passed
        state = ChallengeState.OVERDUE if state is not ChallengeState.FAILED else state
        late = (
            f"the result of the challenge of {target.name} that was ended at {_clock(awaited.ended_utc)} is not entered"
        )
        why = f"{why}; {late}" if why else f"challenge of {target.name} is overdue: {late}"
    return TargetState(target, state, due_utc, last, why, awaited)


def _why(name: str, state: ChallengeState, last: ResultBody | None) -> str:
    match state:
        case ChallengeState.FAILED:
            return f"challenge of {name} failed: {'; '.join(last.why) if last else ''}"
        case ChallengeState.OVERDUE:
            return f"challenge of {name} is overdue" + ("" if last else ": none has given a result yet")
        case _:
            return ""


def _clock(utc: float) -> str:
    return time.strftime("%H:%M", time.localtime(utc))


def entered_results(
    connection: sqlite3.Connection, targets: set[str], before_utc: float = float("inf")
) -> EnteredResults:
    """Return what was entered of these targets before a moment; a result that is void changes nothing.

    Raises:
        RunError: an entry is none of ours.
        sqlite3.Error: as it comes.
    """
    most = _READ_FIRST
    while True:
        entered = newest(connection, (ChallengeAct.ENDED, ChallengeAct.RESULT), most)
        last = _last(entered, targets, before_utc)
        if len(last) == len(targets) or len(entered) < most:
            return EnteredResults(last, _awaited(connection, entered, targets, last, before_utc))
        most *= 4


def _last(entered: Sequence[SideEntry], targets: set[str], before_utc: float) -> dict[str, ResultBody]:
    """Return the result of each target's newest challenge: an older one's may have been entered behind it."""
    found: dict[str, ResultBody] = {}
    results = (entry for entry in entered if entry.kind == ChallengeAct.RESULT)
    for entry in sorted(results, key=_challenge_of, reverse=True):
        if entry.key in targets and entry.key not in found:
            result = _body(ResultBody, entry)
            if result.outcome is not ChallengeOutcome.VOID and result.at_utc < before_utc:
                found[entry.key] = result
    return found


def _awaited(
    connection: sqlite3.Connection,
    entered: Sequence[SideEntry],
    targets: set[str],
    last: Mapping[str, ResultBody],
    before_utc: float,
) -> dict[str, AwaitedResult]:
    found: dict[str, AwaitedResult] = {}
    for entry in without_result(entered):  # the newest first, so that the oldest stays
        if entry.key in targets:
            act = _body(ActBody, entry)
            is_newer = entry.key not in last or act.challenge > last[entry.key].challenge
            if is_newer and act.at_utc < before_utc:
                late_utc = act.at_utc + _travel_s(connection, act.challenge) + _LATE_S
                found[entry.key] = AwaitedResult(act.challenge, act.at_utc, late_utc)
    return found


def _travel_s(connection: sqlite3.Connection, challenge: int) -> float:
    """Return how long the parts of a challenge travel; 0 where nothing says so, so that its result is late early."""
    row = connection.execute("SELECT body FROM journal WHERE number = ?", (challenge,)).fetchone()
    travel_s = json.loads(row[0]).get("travel_s", 0.0) if row else 0.0
    return float(travel_s)


def _challenge_of(entry: SideEntry) -> int:
    """Return the number of the challenge; that of the entry where it says none, so that it is read and refused."""
    number = entry.body.get("challenge")
    return number if isinstance(number, int) else entry.number


def _body(model: type[_Body], entry: SideEntry) -> _Body:
    """Return what an entry holds.

    Raises:
        RunError: it is none of ours.
    """
    try:
        return model.model_validate(entry.body)
    except ValidationError as exc:
        raise RunError(f"entry {entry.number} of {FILE_NAME} is not as challenges are entered") from exc
