# SPDX-License-Identifier: AGPL-3.0-or-later
"""What other systems may ask of the line, by any door: a lot, a recipe, and that a part begins to pass.

What comes in is data of others: checked for its form, its length and its characters, and never a path or a format.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from vision_line.errors import ConfigError, RunError
from vision_line.parts.orders import EVERYWHERE, LOT, MAX_ID, RECIPE, Asked, ask_lot, ask_recipe, checked_id
from vision_line.parts.part_entries import PART
from vision_line.records.formats import iso_utc
from vision_line.words import one_line

logger = logging.getLogger(__name__)

#: What may be asked, by the name that a door has for it.
COMMANDS = (LOT, RECIPE, PART)
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


def _printable(text: str) -> str:
    try:
        return checked_id(text, "")
    except ConfigError:
        raise ValueError(f"expected at most {MAX_ID} printable characters") from None


def _lane(text: str) -> str:
    if not _LANE.fullmatch(text):
        raise ValueError("expected the name of a lane")
    return text


def _lane_or_all(text: str) -> str:
    return text if text == EVERYWHERE else _lane(text)


_Id = Annotated[str, AfterValidator(_printable)]


class Command(BaseModel):
    """What every command may have: `request` is the sender's name for it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)
    word: ClassVar[str]

    request: _Id = ""


class LotCommand(Command):
    """Begin a lot, "" none, at a lane or everywhere."""

    word = LOT
    lot: _Id
    lane: Annotated[str, AfterValidator(_lane_or_all)] = EVERYWHERE


class RecipeCommand(Command):
    """Ask for a recipe, "" for the settings without one, at a lane or everywhere."""

    word = RECIPE
    recipe: _Id
    lane: Annotated[str, AfterValidator(_lane_or_all)] = EVERYWHERE


class PartCommand(Command):
    """A part begins to pass a lane; `number` is the PLC's."""

    word = PART
    lane: Annotated[str, AfterValidator(_lane)]
    part_id: _Id = ""
    number: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    lot: _Id | None = None
    recipe: _Id | None = None


class LineCommands:
    """Carries out what one door brings, in any thread, one at a time.

    A `request` that was carried out is not carried out again: its answer is. So who is not sure asks again.
    """

    def __init__(self, directory: Path, send_part: SendPart) -> None:
        self._directory = directory
        self._send_part = send_part
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

    def _carried_out(self, found: Command, asked: Asked, at_s: float) -> Mapping[str, object]:
        if isinstance(found, PartCommand):
            part = PartAsked(found.lane, at_s, found.part_id, found.number, found.lot, found.recipe)
            return {"lane": found.lane, "part_id": found.part_id, "sequence": self._send_part(part)}
        if isinstance(found, LotCommand):
            order = ask_lot(self._directory, found.lot, asked, found.lane)
        elif isinstance(found, RecipeCommand):
            order = ask_recipe(self._directory, found.recipe, asked, found.lane)
        else:
            raise TypeError(type(found).__name__)
        return {"lane": order.lane, order.kind: order.value, "id": f"{_JOURNAL}:{order.number}"}

    def _keep(self, name: tuple[str, str], answer: Answer) -> None:
        self._answers[name] = answer
        if len(self._answers) > _KEPT:
            self._answers.popitem(last=False)


_READ: Mapping[str, type[Command]] = {one.word: one for one in (LotCommand, RecipeCommand, PartCommand)}


def _read(command: str, payload: bytes) -> Command:
    """Return a command as it was meant.

    Raises:
        ConfigError: it is none; in words that do not quote it.
    """
    if len(payload) > _MOST_BYTES:
        raise ConfigError(f"expected at most {_MOST_BYTES} bytes, found {len(payload)}")
    try:
        return _READ[command].model_validate_json(payload)
    except ValidationError as exc:
        raise ConfigError(_said(exc)) from None


def checked_command(command: str, values: Mapping[str, object]) -> Command:
    """Return a command of values that came one by one.

    Raises:
        ConfigError: it is none; in words that do not quote it.
    """
    try:
        return _READ[command].model_validate(values)
    except ValidationError as exc:
        raise ConfigError(_said(exc)) from None


def _said(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ascii(".".join(map(str, first["loc"])))[1:-1]
    return f"{place}: {first['msg']}" if place else first["msg"]


def _answer(command: str, request: str, said: Mapping[str, object]) -> Answer:
    return {"schema": SCHEMA, "command": command, "request": request, "time": iso_utc(time.time()), **said}
