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
from vision_line.challenges.measuring import GIVES_UP_S, SETTLES_S, enter_results
from vision_line.challenges.recorded_plan import RecordedPlan, plan_of_records
from vision_line.errors import ConfigError, RunError
from vision_line.parts.line_commands import ChallengeCommand
from vision_line.parts.orders import Asked

logger = logging.getLogger(__name__)

#: Stands before the number of an entry of the reviews' journal, as outputs call it.
_JOURNAL = "reviews"
#: What a busy machine may need beyond that, in seconds.
_SPARE_S = 5.0


class AskedChallenges:
    """Challenges of one record directory, by the plan that its line follows; `do` may be called in any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._waits_until_s = 0.0  # for the result of a challenge that was ended

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
                ended = end(directory, target.name, who)
                wait_s = ended.begun.travel_s + GIVES_UP_S + SETTLES_S + _SPARE_S
                self._waits_until_s = max(self._waits_until_s, time.monotonic() + wait_s)
                return _said(ended, "ended")
            case "abort":
                return _said(abort(directory, target.name, who, asked.why), "broken off")

    @property
    def awaits_result(self) -> bool:
        """Whether a challenge was ended whose result is to be entered."""
        return time.monotonic() < self._waits_until_s

    def enter_results(self) -> None:
        """Enter what challenges showed, as far as the records reach; to be called now and then while one is awaited."""
        try:
            if not enter_results(self._directory):
                self._waits_until_s = 0.0
        except RunError as exc:
            self._waits_until_s = 0.0
            logger.error("the result of a challenge is not entered, `vision-line challenge results` does it: %s", exc)


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
