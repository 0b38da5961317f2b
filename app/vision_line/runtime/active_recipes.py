# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which recipe is in force at each camera: the newest that was asked for and that the file has. Pure.

What is newer and cannot be fulfilled is refused and shown; what was in force before it stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vision_line.config.camera_recipes import under_recipe
from vision_line.config.models import Config, Stream
from vision_line.parts.orders import EVERYWHERE, Order
from vision_line.telemetry.snapshot import RecipeWish


@dataclass(frozen=True, slots=True)
class RefusedRecipe:
    """A recipe that was asked for and is not in force, and why."""

    order: Order
    why: str

    def __str__(self) -> str:
        order = self.order
        where = "" if order.lane == EVERYWHERE else f" at lane {order.lane}"
        return f"recipe {order.value}{where} is not in force: {self.why} (asked for by {order.asked.by})"


@dataclass(frozen=True, slots=True)
class ActiveRecipes:
    """By camera the wish that is in force, where there is one; and those that are refused, the newest first."""

    by_camera: Mapping[str, Order] = field(default_factory=dict)
    refused: tuple[RefusedRecipe, ...] = ()

    @property
    def names(self) -> dict[str, str]:
        """By camera the recipe that is in force; a camera without one is not among them."""
        return {camera: order.value for camera, order in self.by_camera.items() if order.value}

    @property
    def wishes(self) -> tuple[RecipeWish, ...]:
        """What is in force and what is refused, for who shows it; the newest first."""
        cameras: dict[Order, list[str]] = {}
        for camera, order in self.by_camera.items():
            cameras.setdefault(order, []).append(camera)
        shown = [_wish(order, tuple(names), "") for order, names in cameras.items()]
        shown += [_wish(refusal.order, (), refusal.why) for refusal in self.refused]
        return tuple(sorted(shown, key=lambda wish: -wish.number))

    def missing_in(self, config: Config) -> dict[str, list[str]]:
        """Return by recipe the cameras where it is in force although `config` has it not."""
        missing: dict[str, list[str]] = {}
        for camera, name in self.names.items():
            if name not in config.recipe:
                missing.setdefault(name, []).append(camera)
        return missing


def active_recipes(config: Config, orders: Sequence[Order]) -> ActiveRecipes:
    """Return what is in force of `orders`, the newest first."""
    lanes = {lane.name: frozenset(lane.cameras) for lane in config.lane}
    by_camera: dict[str, Order] = {}
    refused: list[RefusedRecipe] = []
    answered: set[str] = set()  # lanes of newer orders: an older refusal of such a lane is settled
    for order in orders:
        why = _why_not(config, order, lanes)
        if not why:
            # Nobody has checked that it fits a camera that is not enabled.
            enabled = (one.name for one in config.enabled_streams)
            cameras = [name for name in enabled if order.lane == EVERYWHERE or name in lanes[order.lane]]
            by_camera = dict.fromkeys(cameras, order) | by_camera
        elif not answered & {order.lane, EVERYWHERE}:
            refused.append(RefusedRecipe(order, why))
        answered.add(order.lane)
    return ActiveRecipes(by_camera, tuple(refused))


def streams_in_force(config: Config, active: ActiveRecipes) -> list[Stream]:
    """Return the enabled cameras, each under the recipe that is in force there."""
    names = active.names
    return [under_recipe(config, stream, names.get(stream.name, "")) for stream in config.enabled_streams]


def _wish(order: Order, cameras: tuple[str, ...], refused: str) -> RecipeWish:
    return RecipeWish(
        number=order.number,
        lane=order.lane,
        recipe=order.value,
        by=order.asked.by,
        door=order.asked.door,
        asked_utc=order.at_utc,
        cameras=cameras,
        refused=refused,
    )


def _why_not(config: Config, order: Order, lanes: Mapping[str, frozenset[str]]) -> str:
    if order.lane != EVERYWHERE and order.lane not in lanes:
        return f"the configuration has no lane {order.lane}"
    if order.value and order.value not in config.recipe:
        return f"the configuration has no recipe {order.value}"
    return ""
