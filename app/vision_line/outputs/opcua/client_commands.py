# SPDX-License-Identifier: AGPL-3.0-or-later
"""Methods by which clients ask something of the line: a lot, a recipe, that a part begins to pass, a challenge.

Who may is found out at each call: a user's role may be taken while their client is connected. A status code cannot say
why something was refused, so a variable does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from asyncua import ua

from vision_line.errors import ConfigError, RunError
from vision_line.outputs.opcua.published_nodes import PublishedNodes, argument
from vision_line.outputs.opcua.sign_in_of_clients import ASKING, ClientSignIn
from vision_line.parts.line_commands import (
    CANNOT,
    ChallengeCommand,
    Command,
    LineCommands,
    LotCommand,
    PartCommand,
    RecipeCommand,
    checked_command,
)
from vision_line.parts.orders import Asked
from vision_line.words import one_line

logger = logging.getLogger(__name__)

DOOR = "opcua"
_TEXT = ua.NodeId(ua.ObjectIds.String)
_INTEGER = ua.NodeId(ua.ObjectIds.Int64)
_COUNT = ua.NodeId(ua.ObjectIds.UInt32)
_NUMBER = ua.NodeId(ua.ObjectIds.UInt64)
#: Shows why the newest call that was refused was.
REFUSAL = "LastRefusal"
_SAID = {"state": _TEXT}


@dataclass(frozen=True, slots=True)
class _Method:
    """A method: what it asks for, its arguments and what it returns by name, and what it always asks with."""

    command: type[Command]
    inputs: Mapping[str, ua.NodeId]
    outputs: Mapping[str, ua.NodeId]
    fixed: Mapping[str, object] = field(default_factory=dict)


_METHODS = {
    "SetLot": _Method(LotCommand, {"lane": _TEXT, "lot": _TEXT}, _SAID),
    "SetRecipe": _Method(RecipeCommand, {"lane": _TEXT, "recipe": _TEXT}, _SAID),
    "TriggerPart": _Method(PartCommand, {"lane": _TEXT, "partId": _TEXT, "number": _INTEGER}, {"sequence": _NUMBER}),
    "StartChallenge": _Method(ChallengeCommand, {"target": _TEXT}, {"passes": _COUNT}, {"act": "start"}),
    "NextChallengePart": _Method(
        ChallengeCommand, {"target": _TEXT}, {"part": _TEXT, "position": _TEXT, "left": _COUNT}, {"act": "next"}
    ),
    "EndChallenge": _Method(ChallengeCommand, {"target": _TEXT}, _SAID, {"act": "end"}),
    "AbortChallenge": _Method(ChallengeCommand, {"target": _TEXT, "why": _TEXT}, _SAID, {"act": "abort"}),
}
_VARIANTS = {_TEXT: ua.VariantType.String, _COUNT: ua.VariantType.UInt32, _NUMBER: ua.VariantType.UInt64}


class ClientCommands:
    """Carries out what clients call."""

    def __init__(self, output: str, commands: LineCommands, sign_in: ClientSignIn) -> None:
        self._output = output
        self._commands = commands
        self._sign_in = sign_in
        self._turned_away: set[str] = set()
        self._nodes: PublishedNodes | None = None
        self._refusal: ua.NodeId | None = None

    async def publish(self, nodes: PublishedNodes) -> None:
        """Make the methods, and the variable."""
        self._nodes = nodes
        self._refusal = await nodes.line_variable(REFUSAL, None)
        for name, method in _METHODS.items():
            inputs, outputs = ([argument(*one) for one in each.items()] for each in (method.inputs, method.outputs))
            await nodes.add_method(name, partial(self._call, name), inputs, outputs)

    async def _call(self, method: str, _parent: ua.NodeId, *arguments: ua.Variant) -> list[ua.Variant] | ua.StatusCode:
        """Answer a call; a part begins to pass at this moment. Others are served meanwhile."""
        values, user, at_s = [one.Value for one in arguments], ASKING.get(), time.monotonic()
        try:
            return await asyncio.to_thread(self._answer, method, values, user, at_s)
        except (ConfigError, RunError) as exc:
            is_wrong = isinstance(exc, ConfigError)
            logger.warning("output %r: %s by %r was not carried out: %s", self._output, method, user, exc)
            self._show(f"{method}: {exc if is_wrong else CANNOT}")  # the other's words may name files of this machine
            return _code(ua.StatusCodes.BadInvalidArgument if is_wrong else ua.StatusCodes.BadResourceUnavailable)

    def _answer(
        self, method: str, values: Sequence[object], user: str, at_s: float
    ) -> list[ua.Variant] | ua.StatusCode:
        """Carry a call out.

        Raises:
            ConfigError: it is refused.
            RunError: it cannot be done now.
        """
        asked = _METHODS[method]
        if len(values) != len(asked.inputs):
            is_short = len(values) < len(asked.inputs)
            return _code(ua.StatusCodes.BadArgumentsMissing if is_short else ua.StatusCodes.BadTooManyArguments)
        if not self._sign_in.may_command(user):
            return self._turn_away(method, user)
        found = _command(asked.command, {**dict(zip(asked.inputs, values, strict=True)), **asked.fixed})
        answer = self._commands.carry_out(found, Asked(user, DOOR), at_s)
        said = {**answer, "state": answer.get("note", answer["state"]), "passes": _count(answer.get("passes"))}
        return [ua.Variant(said[name], _VARIANTS[kind]) for name, kind in asked.outputs.items()]

    def _show(self, why: str) -> None:
        if self._nodes is not None and self._refusal is not None:
            self._nodes.set(self._refusal, ua.Variant(one_line(why), ua.VariantType.String), datetime.now(UTC))

    def _turn_away(self, method: str, user: str) -> ua.StatusCode:
        """Say it once of each user: whoever reaches the port could fill the disk."""
        if user not in self._turned_away:
            self._turned_away.add(user)
            who = repr(user) if user else "a client without a user"
            logger.warning("output %r: %s by %s was refused: it needs the role quality", self._output, method, who)
        return _code(ua.StatusCodes.BadUserAccessDenied)


def _command(command: type[Command], values: dict[str, object]) -> Command:
    """Return what is asked: a part may have no id (null), and no number (below 0).

    Raises:
        ConfigError: it cannot be meant.
    """
    if command is PartCommand:
        values["part_id"] = values.pop("partId") or ""
        number = values["number"]
        values["number"] = None if isinstance(number, int) and number < 0 else number
    return checked_command(command, values)


def _count(passes: object) -> int:
    return len(passes) if isinstance(passes, list) else 0


def _code(number: int) -> ua.StatusCode:
    return ua.StatusCode(number)
