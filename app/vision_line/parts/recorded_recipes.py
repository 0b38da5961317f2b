# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the journal of the records has of recipes: which the line knows, which are in force, which it refused."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from vision_line.errors import RunError
from vision_line.parts.orders import Order
from vision_line.records.configuration_journal import in_force
from vision_line.records.records import Records

#: The keys in the journal: all recipes of the file; then by lane, `*` everywhere, what is in force, and what is not.
RECIPES, IN_FORCE, REFUSED = "section/recipe", "recipe/", "recipe_refused/"


class RecordedWish(BaseModel):
    """A wish as the journal has it. `reason` is why it is refused, "" where it is in force."""

    model_config = ConfigDict(frozen=True)

    recipe: str
    by: str
    door: str
    asked_utc: float
    wish: int
    reason: str = ""


_NAMES = TypeAdapter(dict[str, object])


@dataclass(frozen=True, slots=True)
class RecordedRecipes:
    """The recipes that the line knows, and by lane which wish is in force and which is refused."""

    names: tuple[str, ...]
    in_force: dict[str, RecordedWish]
    refused: dict[str, RecordedWish]

    @property
    def newest(self) -> int:
        """The number of the newest wish that the line has taken up, 0: none."""
        return max((wish.wish for wish in (*self.in_force.values(), *self.refused.values())), default=0)


def recorded_wish(order: Order, reason: str = "") -> dict[str, object]:
    """Return a wish as the journal is to have it."""
    wish = RecordedWish(
        recipe=order.value,
        by=order.asked.by,
        door=order.asked.door,
        asked_utc=order.at_utc,
        wish=order.number,
        reason=reason,
    )
    return wish.model_dump(exclude_defaults=True)


def read_recipes(connection: Records) -> RecordedRecipes:
    """Return what the record file says.

    Raises:
        RunError: an entry was changed.
        sqlite3.Error: as it comes.
    """
    found = in_force(connection)
    try:
        names = tuple(_NAMES.validate_python(found.get(RECIPES, {})))
        return RecordedRecipes(names, _by_lane(found, IN_FORCE), _by_lane(found, REFUSED))
    except ValidationError as exc:
        raise RunError("the recipes in the records are not as the line enters them") from exc


def _by_lane(found: dict[str, object], prefix: str) -> dict[str, RecordedWish]:
    return {
        key.removeprefix(prefix): RecordedWish.model_validate(said)
        for key, said in found.items()
        if key.startswith(prefix)
    }
