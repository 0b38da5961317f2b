# SPDX-License-Identifier: AGPL-3.0-or-later
"""Challenges that other systems lead through: by MQTT and OPC UA, as people do at the desk and in a terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from vision_line.challenges.acts import LineChallenge
from vision_line.challenges.challenge_targets import ChallengeTarget
from vision_line.challenges.doing import abort, begin, end, next_part
from vision_line.challenges.entry_bodies import PlannedPass
from vision_line.challenges.measuring import enter_results
from vision_line.challenges.recorded_plan import RecordedPlan, plan_of_records
from vision_line.config.file_signature import Signature, lasting_signature
from vision_line.errors import ConfigError, RunError
from vision_line.parts.line_commands import ChallengeCommand
from vision_line.parts.orders import Asked
from vision_line.reviews.reviews_file import FILE_NAME

logger = logging.getLogger(__name__)

#: Stands before the number of an entry of the reviews' journal, as outputs call it.
_JOURNAL = "reviews"
#: How often it is tried to enter a result, in seconds.
_ASK_EVERY_S = 2.0


class AskedChallenges:
    """Challenges of one record directory, by the plan that its line follows; `do` may be called in any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: Signature | None = None  # the state of the file in which nothing was left to be entered
        self._ask_at_s = 0.0
        self._problem = ""  # why nothing could be entered, as it was said

    def do(self, asked: ChallengeCommand, by: Asked) -> Mapping[str, object]:
        """Do one act, and return what is answered; the journal has who asked, and by which door.

        Raises:
            ConfigError: it is refused: no such target, none goes on, one goes on already.
            RunError: a file cannot be read or written.
        """
        directory, who = self._directory, f"{by.by} ({by.door})"
        plan = plan_of_records(directory)
        target = _target(plan, asked.target)
        match asked.act:
            case "start":
                begun = begin(directory, target, plan.sha256, who)
                return {**_said(begun, "begun"), "passes": [_pass(planned) for planned in begun.begun.passes]}
            case "next":
                found = next_part(directory, target.name, who)
                at, passes = len(found.parts_utc), found.begun.passes
                return {**_said(found, "goes on"), **_pass(passes[at - 1]), "left": len(passes) - at}
            case "end":
                return _said(end(directory, target.name, who), "ended")
            case "abort":
                return _said(abort(directory, target.name, who, asked.why), "broken off")

    @property
    def awaits_result(self) -> bool:
        """Whether a challenge may have been ended whose result is to be entered, whoever led it and ended it."""
        signature = self._signature()
        return time.monotonic() >= self._ask_at_s and (signature is None or signature != self._read)

    def enter_results(self) -> None:
        """Enter what challenges showed, as far as the records reach; to be called now and then while one is awaited.

        What could not be entered is tried again, and said once.
        """
        self._ask_at_s = time.monotonic() + _ASK_EVERY_S
        signature = self._signature()
        try:
            waiting = enter_results(self._directory)
        except RunError as exc:
            if str(exc) != self._problem:
                logger.error("the result of a challenge is not entered yet, and is tried again: %s", exc)
            self._problem = str(exc)
            return
        self._problem = ""
        self._read = self._read if waiting else signature

    def _signature(self) -> Signature | None:
        return lasting_signature(self._directory / FILE_NAME)


def _target(plan: RecordedPlan, name: str) -> ChallengeTarget:
    found = {target.name: target for target in plan.targets}
    if not found:
        raise ConfigError("the line follows no challenge.toml: nothing can be challenged")
    if name not in found:
        raise ConfigError(f"target: found {name!r}, expected one of {', '.join(found)}")
    return found[name]


def _said(challenge: LineChallenge, state: str) -> dict[str, object]:
    return {"target": challenge.target, "id": f"{_JOURNAL}:{challenge.number}", "state": state}


def _pass(planned: PlannedPass) -> dict[str, object]:
    return {"part": planned.part, "position": planned.position}
