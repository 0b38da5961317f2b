# SPDX-License-Identifier: AGPL-3.0-or-later
"""What other systems may ask of the line, by any door: a lot, a recipe, that a part begins to pass, a challenge.

What comes in is data of others: checked for its form, its length and its characters, and never a path or a format. A
lane or recipe that the line does not have is refused here, whatever the door.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from vision_line.errors import ConfigError, RunError
from vision_line.parts.command_words import command_problem
from vision_line.parts.known_names import KnownNames, recorded_names
from vision_line.parts.orders import (
    EVERYWHERE,
    LOT,
    MAX_ID,
    RECIPE,
    Asked,
    Order,
    ask_lot,
    ask_recipe,
    checked_id,
    order_in_force,
)
from vision_line.parts.part_entries import PART
from vision_line.records.formats import iso_utc
from vision_line.words import one_line

logger = logging.getLogger(__name__)

CHALLENGE = "challenge"
#: What may be asked, by the name that a door has for it.
COMMANDS = (LOT, RECIPE, PART, CHALLENGE)
#: Stands before the number of an entry of the parts' journal, as outputs call it.
_JOURNAL = "parts"
#: The version of the answers' format.
SCHEMA = "vision-line.command/1"
#: What is answered where the fault is the line's.
CANNOT = "the line cannot do it now; its log says why"
#: A longer command is refused unread.
_MOST_BYTES = 4096
#: Answers that are kept for who asks the same again.
_KEPT = 256
_LANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TEXT = f"a text of at most {MAX_ID} printable characters"

Answer = dict[str, object]


@dataclass(frozen=True, slots=True)
class PartAsked:
    """A part that begins to pass a lane, at `at_s` of the monotonic clock."""

    lane: str
    at_s: float
    part_id: str
    number: int | None
    lot: str | None
    recipe: str | None


#: Tells the process that decides; returns the part's number at its lane, or raises RunError or ConfigError.
SendPart = Callable[[PartAsked], int]


def _printable(text: str | None) -> str | None:
    try:
        return None if text is None else checked_id(text, "")
    except ConfigError:
        raise ValueError(_TEXT) from None


def _lane(text: str) -> str:
    if not _LANE.fullmatch(text):
        raise ValueError("the name of a lane")
    return text


def _lane_or_all(text: str) -> str:
    return text if text == EVERYWHERE else _lane(text)


_Id = Annotated[str, AfterValidator(_printable), Field(description=_TEXT)]
_IdOrNone = Annotated[str | None, AfterValidator(_printable), Field(description=_TEXT)]
_Lane = Annotated[str, AfterValidator(_lane), Field(description="the name of a lane")]
_LaneOrAll = Annotated[str, AfterValidator(_lane_or_all), Field(description=f"the name of a lane, or {EVERYWHERE}")]


class Command(BaseModel):
    """What every command may have: `request` is the sender's name for it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)
    word: ClassVar[str]

    request: _Id = ""


AnyCommand = TypeVar("AnyCommand", bound=Command)


class LotCommand(Command):
    """Begin a lot, "" none, at a lane or everywhere."""

    word = LOT
    lot: _Id
    lane: _LaneOrAll = EVERYWHERE


class RecipeCommand(Command):
    """Ask for a recipe, "" for the settings without one, at a lane or everywhere."""

    word = RECIPE
    recipe: _Id
    lane: _LaneOrAll = EVERYWHERE


class PartCommand(Command):
    """A part begins to pass a lane; `number` is the PLC's."""

    word = PART
    lane: _Lane
    part_id: _Id = ""
    number: Annotated[int | None, Field(ge=0, lt=2**32, description="a whole number of 32 bits")] = None
    lot: _IdOrNone = None
    recipe: _IdOrNone = None


class ChallengeCommand(Command):
    """Begin a challenge of a camera or station, go on to its next part, end it or break it off."""

    word = CHALLENGE
    target: _Id
    act: Annotated[Literal["start", "next", "end", "abort"], Field(description="one of start, next, end, abort")] = (
        "start"
    )
    why: _Id = ""


#: Does what a challenge's command asks, and returns what is answered; raises ConfigError or RunError.
DoChallenge = Callable[[ChallengeCommand, Asked], Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """A lot or recipe that stands in the journal now; `unchecked` says what nobody could check of it, "" nothing."""

    order: Order
    unchecked: str

    def as_answer(self) -> Answer:
        """Return what a door answers: what is true now, not what the line will make of it."""
        order = self.order
        return {
            "lane": order.lane,
            order.kind: order.value,
            "id": f"{_JOURNAL}:{order.number}",
            "state": "asked" if order.kind == RECIPE else "recorded",
            **_checked("recorded", self.unchecked),
        }


class LineCommands:
    """Carries out what one door brings, in any thread, one at a time.

    A `request` that was carried out is not carried out again: its answer is. So who is not sure asks again.
    """

    def __init__(
        self,
        directory: Path,
        send_part: SendPart,
        do_challenge: DoChallenge | None = None,
        known: Callable[[], KnownNames] | None = None,
    ) -> None:
        """`do_challenge` None: challenges are not begun by this door. `known`: not what the records say is there."""
        self._directory = directory
        self._send_part = send_part
        self._do_challenge = do_challenge
        self._known = partial(recorded_names, directory) if known is None else known
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[str, str], Answer] = OrderedDict()

    def answer(self, command: str, payload: bytes, asked: Asked, at_s: float) -> Answer:
        """Carry out one of `COMMANDS` that came as JSON at `at_s`, and return what is answered, whatever it is."""
        request = ""
        try:
            found = _read(command, payload)
            request = found.request
            return self.carry_out(found, asked, at_s)
        except ConfigError as exc:
            return _answer(command, request, {"accepted": False, "error": one_line(str(exc))})
        except RunError as exc:  # its words may name files of this machine
            logger.warning("the command %s by %s was not carried out: %s", command, asked.door, exc)
            return _answer(command, request, {"accepted": False, "error": CANNOT})

    def carry_out(self, found: Command, asked: Asked, at_s: float) -> Answer:
        """Do what came at `at_s`, and return what is answered: of a part with its `sequence`.

        Raises:
            ConfigError: it is refused.
            RunError: it cannot be done now.
        """
        by = Asked(checked_id(asked.by, "by"), asked.door)
        name = (found.word, found.request)
        with self._lock:
            if found.request and (again := self._answers.get(name)) is not None:
                return again
            made = _answer(*name, {"accepted": True, **self._carried_out(found, by, at_s)})
            if found.request:
                self._keep(name, made)
            return made

    def order(self, found: LotCommand | RecipeCommand, asked: Asked) -> PlacedOrder:
        """Enter a lot or recipe.

        Raises:
            ConfigError: the line does not have the lane or the recipe.
            RunError: it cannot be written.
        """
        if isinstance(found, RecipeCommand):
            unchecked = self._known().check(lane=found.lane, recipe=found.recipe)
            return PlacedOrder(ask_recipe(self._directory, found.recipe, asked, found.lane), unchecked)
        unchecked = "" if self._ends_own_lot(found) else self._known().check(lane=found.lane)
        return PlacedOrder(ask_lot(self._directory, found.lot, asked, found.lane), unchecked)

    def _ends_own_lot(self, found: LotCommand) -> bool:
        """Whether a lot is ended that was begun at this very lane: that must be possible when the lane is gone."""
        made = None if found.lot else order_in_force(self._directory, LOT, found.lane)
        return made is not None and made.lane == found.lane and bool(made.value)

    def _carried_out(self, found: Command, asked: Asked, at_s: float) -> Mapping[str, object]:
        match found:
            case PartCommand():
                return self._part(found, at_s)
            case LotCommand() | RecipeCommand():
                return self.order(found, asked).as_answer()
            case ChallengeCommand():
                if self._do_challenge is None:
                    raise ConfigError("challenges are not begun here")
                return self._do_challenge(found, asked)
            case _:
                raise TypeError(type(found).__name__)

    def _part(self, found: PartCommand, at_s: float) -> Answer:
        """Tell the lanes of a part: they know themselves which of them there are."""
        unchecked = self._known().check(recipe=found.recipe) if found.recipe else ""
        part = PartAsked(found.lane, at_s, found.part_id, found.number, found.lot, found.recipe)
        sequence = self._send_part(part)
        return {
            "lane": found.lane,
            "part_id": found.part_id,
            "sequence": sequence,
            "state": "taken",
            **_checked("taken", unchecked),
        }

    def _keep(self, name: tuple[str, str], answer: Answer) -> None:
        self._answers[name] = answer
        if len(self._answers) > _KEPT:
            self._answers.popitem(last=False)


_READ: Mapping[str, type[Command]] = {
    one.word: one for one in (LotCommand, RecipeCommand, PartCommand, ChallengeCommand)
}


def _read(command: str, payload: bytes) -> Command:
    """Return a command as it was meant.

    Raises:
        ConfigError: it is none; in words that quote nothing but ids.
    """
    if len(payload) > _MOST_BYTES:
        raise ConfigError(f"the message: found {len(payload)} bytes, expected at most {_MOST_BYTES} bytes")
    try:
        return _READ[command].model_validate_json(payload)
    except ValidationError as exc:
        raise ConfigError(command_problem(exc, _READ[command])) from None


def checked_command(model: type[AnyCommand], values: Mapping[str, object]) -> AnyCommand:
    """Return a command of values that came one by one.

    Raises:
        ConfigError: it is none; in words that quote nothing but ids.
    """
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        raise ConfigError(command_problem(exc, model)) from None


def unknown_command(topic: str) -> Answer:
    """Return what is answered to a command that is none, with those that there are."""
    word = topic if len(topic) <= MAX_ID and topic.isprintable() else ""
    error = f"command: found {word!r}, expected one of {', '.join(COMMANDS)}"
    return _answer(word, "", {"accepted": False, "error": error})


def _checked(state: str, unchecked: str) -> Answer:
    return {"checked": not unchecked, **({"note": f"{state}; {unchecked}"} if unchecked else {})}


def _answer(command: str, request: str, said: Mapping[str, object]) -> Answer:
    return {"schema": SCHEMA, "command": command, "request": request, "time": iso_utc(time.time()), **said}
