# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line challenge`: challenges as a person does them in a terminal, and what they showed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import typer

from vision_line.challenges.acts import LineChallenge
from vision_line.challenges.challenge_targets import ChallengeTarget
from vision_line.challenges.doing import abort, begin, end, going_on, next_part, recent
from vision_line.challenges.due import TargetState, read_states
from vision_line.challenges.entry_bodies import ChallengeOutcome, ResultBody
from vision_line.challenges.measuring import GIVES_UP_S, SETTLES_S, enter_results
from vision_line.challenges.plan_file import DEFAULT_NAME, ChallengePlan, load_plan
from vision_line.challenges.showing import can_show, outcome_of, pooled, share, shown
from vision_line.cli.command_user import command_user
from vision_line.config.load import LoadedConfig, load_config
from vision_line.errors import ConfigError, ExitCode, RunError
from vision_line.quality.challenge import ChallengeState
from vision_line.screens.lines import say

_ASK_EVERY_S = 0.5
_CODES = {ChallengeState.FAILED: ExitCode.CHALLENGE_FAILED, ChallengeState.OVERDUE: ExitCode.CHALLENGE_DUE}
#: How a command ends that a challenge or clips showed something to.
OUTCOME_CODES = {
    ChallengeOutcome.PASSED: ExitCode.DONE,
    ChallengeOutcome.FAILED: ExitCode.CHALLENGE_FAILED,
    ChallengeOutcome.VOID: ExitCode.CHALLENGE_DUE,
}


@dataclass(frozen=True, slots=True)
class ChallengedLine:
    """A line's configuration and plan, and where its records are."""

    loaded: LoadedConfig
    plan: ChallengePlan
    directory: Path

    @classmethod
    def read(cls, streams: Path, record: Path | None) -> ChallengedLine:
        """Read both.

        Raises:
            ConfigError: a file is not valid, there is no plan, or no folder of records.
        """
        loaded = load_config(streams)
        plan = load_plan(loaded)
        if plan is None:
            raise ConfigError(
                f"{streams}: expected {DEFAULT_NAME} beside it, which says what is challenged, found none"
            )
        directory = record or Path(loaded.config.record.directory)
        if not directory.is_dir():
            raise ConfigError(f"--record {directory}: expected the folder of the records")
        return cls(loaded, plan, directory)

    def target(self, name: str) -> ChallengeTarget:
        """Return a target by its name.

        Raises:
            ConfigError: the plan has none of this name.
        """
        found = [target for target in self.plan.targets if target.name == name]
        if not found:
            known = ", ".join(target.name for target in self.plan.targets)
            raise ConfigError(f"found {name!r}, expected one of {known} ({self.plan.path})")
        return found[0]


def start_challenge(line: ChallengedLine, name: str, interval_s: float | None) -> ExitCode:
    """Begin; with an interval or in a terminal also go on to the end, and show the result.

    Raises:
        VisionLineError: it cannot begin, or an act is refused.
    """
    target = line.target(name)
    challenge = begin(line.directory, target, line.plan.sha256, command_user())
    _say(f"{name}: {len(challenge.begun.passes)} passes, in this order:")
    for number, planned in enumerate(challenge.begun.passes, 1):
        _say(f"  {number:>3}  {planned.part}" + (f", {planned.position}" if planned.position else ""))
    _say(can_show(target.defective_passes))
    if interval_s is None and not sys.stdin.isatty():
        _say(f"go on with: vision-line challenge next {name}")
        return ExitCode.DONE
    try:
        for planned in challenge.begun.passes:
            if interval_s is None:
                typer.prompt(f"Enter, then {planned.part}", default="", show_default=False, prompt_suffix="")
            next_part(line.directory, name, command_user())
            if interval_s is not None:
                _say(f"{planned.part} {planned.position}".rstrip())
                time.sleep(interval_s)
        if interval_s is None:
            typer.prompt("Enter when the last part has gone by", default="", show_default=False, prompt_suffix="")
    except (KeyboardInterrupt, typer.Abort):
        with suppress(ConfigError):  # it is over already
            abort(line.directory, name, command_user(), "interrupted")
        raise
    return end_challenge(line, name)


def next_turn(line: ChallengedLine, name: str) -> None:
    """Begin the next part's turn.

    Raises:
        VisionLineError: none goes on, or all had their turn.
    """
    challenge = next_part(line.directory, line.target(name).name, command_user())
    now = challenge.begun.passes[len(challenge.parts_utc) - 1]
    left = len(challenge.begun.passes) - len(challenge.parts_utc)
    place = f", {now.position}" if now.position else ""
    _say(f"{now.part}{place}: lay it down now. " + (f"{left} more" if left else f"The last: then {_end_words(name)}"))


def end_challenge(line: ChallengedLine, name: str) -> ExitCode:
    """End, wait until the records reach far enough, and show the result.

    Raises:
        VisionLineError: none goes on, or the records cannot be read.
    """
    ended = end(line.directory, line.target(name).name, command_user())
    result = _result_of(line, ended)
    _show_result(ended, result)
    return OUTCOME_CODES[result.outcome]


def abort_challenge(line: ChallengedLine, name: str, why: str) -> None:
    """Break off.

    Raises:
        VisionLineError: none goes on.
    """
    abort(line.directory, line.target(name).name, command_user(), why)
    _say(f"the challenge of {name} is broken off; it shows nothing")


def show_status(line: ChallengedLine) -> ExitCode:
    """Show what is due, and what goes on; return the worst.

    Raises:
        RunError: `reviews.sqlite` cannot be read.
    """
    enter_results(line.directory)
    found = read_states(line.directory, line.plan.targets, time.time())
    open_now = {one.target: one for one in going_on(line.directory)}
    for one in found:
        _say(f"{one.name}\t{one.state}\t{_due_words(one)}\t{_now_words(open_now.get(one.name)) or one.why}")
    return max((_CODES.get(one.state, ExitCode.DONE) for one in found), default=ExitCode.DONE)


def show_results(line: ChallengedLine, days: float) -> None:
    """Show each challenge of the last days, and what those of a target show together.

    Raises:
        RunError: `reviews.sqlite` cannot be read.
    """
    enter_results(line.directory)
    challenges, now_utc = recent(line.directory, days), time.time()
    for one in challenges:
        if one.result is not None:
            _show_result(one, one.result)
        else:
            _say(f"{moment(one.begun.at_utc)} {one.target}: {outcome_of(one, now_utc)}")
    for target in line.plan.targets:
        pool = pooled(challenges, target.name)
        _say(f"{target.name}, {days:g} days: {pool.says}")
        for part in pool.parts:
            low, high = part.interval
            _say(f"  {part.part}: {part.found} of {part.passes} found, {share(low)} to {share(high)}: {part.zone}")
        _say(f"  {can_show(target.defective_passes)}")


def _result_of(line: ChallengedLine, ended: LineChallenge) -> ResultBody:
    """Wait for the result of a challenge that was just ended.

    Raises:
        RunError: the records cannot be read.
    """
    until_s = time.monotonic() + ended.begun.travel_s + GIVES_UP_S + SETTLES_S + 5.0
    while time.monotonic() < until_s:
        enter_results(line.directory)
        found = next(one for one in recent(line.directory, 1.1) if one.number == ended.number)
        if found.result is not None:
            return found.result
        time.sleep(_ASK_EVERY_S)
    raise RunError(f"the records say nothing of the challenge of {ended.target}: was the clock set?")


def _show_result(challenge: LineChallenge, result: ResultBody) -> None:
    found = shown(result.passes)
    _say(f"{moment(result.at_utc)} {challenge.target}: {result.outcome}" + "".join(f"; {why}" for why in result.why))
    for number, one in enumerate(result.passes, 1):
        lacking = f" (not found: {', '.join(one.missing)})" if one.missing else ""
        _say(f"  {number:>3}  {one.part}  {one.outcome}{lacking}")
    for sentence in _counts_words(found.counts.good, found.counts.falsely_rejected, found.says):
        _say(f"  {sentence}")


def _counts_words(good: int, rejected: int, says: str) -> Iterator[str]:
    yield says
    if good:
        yield f"{rejected} of {good} good passes rejected"


def _now_words(challenge: LineChallenge | None) -> str:
    if challenge is None:
        return ""
    return f"goes on: {len(challenge.parts_utc)} of {len(challenge.begun.passes)} passes, by {challenge.begun.by}"


def _due_words(one: TargetState) -> str:
    return f"due {moment(one.due_utc)}" if one.due_utc else "due"


def _end_words(name: str) -> str:
    return f"vision-line challenge end {name}"


def moment(utc: float) -> str:
    """Return a moment on this machine's clock."""
    return f"{datetime.fromtimestamp(utc).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _say(line: str) -> None:
    say(line, sys.stdout)
