# SPDX-License-Identifier: AGPL-3.0-or-later
"""Methods by which clients ask something of the line: a lot, a recipe, and that a part begins to pass.

Who may is found out at each call: a user's role may be taken while their client is connected.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial

from asyncua import ua

from vision_line.errors import ConfigError, RunError
from vision_line.outputs.opcua.published_nodes import PublishedNodes, argument
from vision_line.outputs.opcua.sign_in_of_clients import ASKING, ClientSignIn
from vision_line.parts.line_commands import Command, LineCommands, checked_command
from vision_line.parts.orders import LOT, RECIPE, Asked
from vision_line.parts.part_entries import PART

logger = logging.getLogger(__name__)

DOOR = "opcua"
_TEXT = ua.NodeId(ua.ObjectIds.String)
_INTEGER = ua.NodeId(ua.ObjectIds.Int64)
_SEQUENCE = ua.VariantType.UInt64
#: The methods: what each asks for, and its arguments with the names that they have there.
_METHODS = {
    "SetLot": (LOT, {"lane": _TEXT, "lot": _TEXT}),
    "SetRecipe": (RECIPE, {"lane": _TEXT, "recipe": _TEXT}),
    "TriggerPart": (PART, {"lane": _TEXT, "partId": _TEXT, "number": _INTEGER}),
}


class ClientCommands:
    """Carries out what clients call."""

    def __init__(self, output: str, commands: LineCommands, sign_in: ClientSignIn) -> None:
        self._output = output
        self._commands = commands
        self._sign_in = sign_in
        self._turned_away: set[str] = set()

    async def publish(self, nodes: PublishedNodes) -> None:
        """Make the methods."""
        for name, (command, arguments) in _METHODS.items():
            inputs = [argument(key, kind) for key, kind in arguments.items()]
            outputs = [argument("sequence", ua.NodeId(ua.ObjectIds.UInt64))] if command == PART else []
            await nodes.add_method(name, partial(self._call, name), inputs, outputs)

    async def _call(self, method: str, _parent: ua.NodeId, *arguments: ua.Variant) -> list[ua.Variant] | ua.StatusCode:
        """Answer a call; a part begins to pass at this moment. Others are served meanwhile."""
        values = [one.Value for one in arguments]
        return await asyncio.to_thread(self._answer, method, values, ASKING.get(), time.monotonic())

    def _answer(
        self, method: str, values: Sequence[object], user: str, at_s: float
    ) -> list[ua.Variant] | ua.StatusCode:
        command, names = _METHODS[method]
        if len(values) != len(names):
            is_short = len(values) < len(names)
            return _code(ua.StatusCodes.BadArgumentsMissing if is_short else ua.StatusCodes.BadTooManyArguments)
        try:
            if not self._sign_in.may_command(user):
                return self._turn_away(method, user)
            found = _command(command, dict(zip(names, values, strict=True)))
            answer = self._commands.carry_out(found, Asked(user, DOOR), at_s)
        except (ConfigError, RunError) as exc:
            logger.warning("output %r: %s by %r was not carried out: %s", self._output, method, user, exc)
            is_wrong = isinstance(exc, ConfigError)
            return _code(ua.StatusCodes.BadInvalidArgument if is_wrong else ua.StatusCodes.BadResourceUnavailable)
        return [ua.Variant(answer["sequence"], _SEQUENCE)] if command == PART else []

    def _turn_away(self, method: str, user: str) -> ua.StatusCode:
        """Say it once of each user: whoever reaches the port could fill the disk."""
        if user not in self._turned_away:
            self._turned_away.add(user)
            who = repr(user) if user else "a client without a user"
            logger.warning("output %r: %s by %s was refused: it needs the role quality", self._output, method, who)
        return _code(ua.StatusCodes.BadUserAccessDenied)


def _command(command: str, values: dict[str, object]) -> Command:
    """Return what is asked: a part may have no id (null), and no number (below 0).

    Raises:
        ConfigError: it cannot be meant.
    """
    if command == PART:
        values["part_id"] = values.pop("partId") or ""
        number = values["number"]
        values["number"] = None if isinstance(number, int) and number < 0 else number
    return checked_command(command, values)


def _code(number: int) -> ua.StatusCode:
    return ua.StatusCode(number)
