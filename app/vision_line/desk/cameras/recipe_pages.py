# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which recipe is in force, and to ask for another one: a card on the page of cameras, and the same as JSON."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from vision_line.desk.sent_fields import SentFields
from vision_line.desk.services import DeskServices, Services, require
from vision_line.desk.users.sessions import DeskSession, Role
from vision_line.errors import ConfigError
from vision_line.parts.line_commands import RecipeCommand, checked_command
from vision_line.parts.orders import RECIPE, Asked, Order, order_in_force
from vision_line.parts.recorded_recipes import RecordedRecipes, RecordedWish, read_recipes

router = APIRouter()

Quality = Annotated[DeskSession, Depends(require(Role.QUALITY))]

DOOR = "desk"
#: How long a wish is waited for, in seconds; then the page says that it waits.
_WAITS_S = 2.0
_ASK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class RecipeState:
    """The recipes that the line knows; by lane (`*`: everywhere) what is in force and refused; and what waits."""

    names: tuple[str, ...]
    in_force: dict[str, RecordedWish]
    refused: dict[str, RecordedWish]
    waits: str | None  # a recipe that was asked for and that no run has taken up yet
    note: str = ""  # what nobody could check of what was asked for just now


def read_state(services: DeskServices) -> RecipeState:
    """Return what is in force by the records, and what waits.

    Raises:
        RunError: it cannot be read.
    """
    with services.reader.open() as connection:
        recorded = read_recipes(connection)
    return _state(recorded, order_in_force(services.reader.directory, RECIPE))


@router.get("/api/v1/recipe")
def recipe(services: Services) -> RecipeState:
    """Return which recipes there are, and which is in force where."""
    return read_state(services)


@router.post("/api/v1/recipe")
def use_recipe(services: Services, session: Quality, wanted: RecipeCommand) -> RecipeState:
    """Ask for a recipe, everywhere or at a lane; return what is in force two seconds later at the latest.

    409: the line does not have the recipe, or the lane.
    """
    return _use(services, wanted, session.user)


@router.post("/cameras/recipe", include_in_schema=False)
def change_over(services: Services, session: Quality, sent: SentFields) -> Response:
    """Do what the button says, and show the page again."""
    _use(services, checked_command(RecipeCommand, {"recipe": sent.get("recipe", "")}), session.user)
    return RedirectResponse("/cameras", HTTPStatus.SEE_OTHER)


def _use(services: DeskServices, wanted: RecipeCommand, by: str) -> RecipeState:
    try:
        placed = services.commands.order(wanted, Asked(by, DOOR))
    except ConfigError as exc:
        raise HTTPException(HTTPStatus.CONFLICT, str(exc)) from exc
    order = placed.order
    until_s = time.monotonic() + _WAITS_S
    while True:
        with services.reader.open() as connection:
            recorded = read_recipes(connection)
        if recorded.newest >= order.number or time.monotonic() >= until_s:
            return replace(_state(recorded, order), note=placed.unchecked)
        time.sleep(_ASK_EVERY_S)


def _state(recorded: RecordedRecipes, newest: Order | None) -> RecipeState:
    waits = newest.value if newest is not None and newest.number > recorded.newest else None
    return RecipeState(recorded.names, recorded.in_force, recorded.refused, waits)
