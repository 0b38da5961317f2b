# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keeps each camera under the recipe that was asked for, while wishes and `streams.toml` change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from vision_line.config.load import LoadedConfig
from vision_line.errors import ConfigError
from vision_line.runtime.active_recipes import ActiveRecipes, active_recipes
from vision_line.runtime.recipe_watch import RecipeWatch
from vision_line.telemetry.snapshot import RecipeStatus

logger = logging.getLogger(__name__)

#: Brings a configuration in force with its recipes; `why` is `start`, `reload` or `recipe`.
Apply = Callable[[LoadedConfig, ActiveRecipes, str], Awaitable[None]]


class RecipeFollower:
    """Lives in the event loop's thread. Both kinds of change go one after the other through `apply`."""

    def __init__(self, watch: RecipeWatch, loaded: LoadedConfig, apply: Apply) -> None:
        """Follow `watch` from `run` on; `loaded` is in force at first, under what is asked for now."""
        self._watch = watch
        self._loaded = loaded
        self._apply = apply
        self._one_by_one = asyncio.Lock()
        self._asked = asyncio.Event()
        self._active = ActiveRecipes()

    def status(self) -> RecipeStatus:
        """Return what was asked for, and what is wrong with it."""
        problem = self._watch.read.problem
        unread = (f"recipes are not followed: {problem}",) if problem else ()
        return RecipeStatus(self._active.wishes, (*map(str, self._active.refused), *unread))

    def check(self, loaded: LoadedConfig) -> None:
        """Refuse a file that lacks a recipe which is in force.

        Raises:
            ConfigError: each of them named.
        """
        if missing := self._active.missing_in(loaded.config):
            raise ConfigError(
                *(
                    f"{loaded.path}: recipe.{name}: is in force at {', '.join(cameras)} and not in the file,"
                    " use another recipe before"
                    for name, cameras in missing.items()
                )
            )

    async def begin(self) -> None:
        """Bring the first configuration in force."""
        await self._bring_in_force("start")

    async def reload(self, loaded: LoadedConfig) -> None:
        """Bring another configuration in force."""
        self._loaded = loaded
        await self._bring_in_force("reload")

    async def run(self) -> None:
        """Follow what is asked for until cancelled."""
        loop = asyncio.get_running_loop()

        def notify() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the run is over
                loop.call_soon_threadsafe(self._asked.set)

        self._watch.start(notify)
        self._asked.set()  # for what was asked between the first reading and now
        while True:
            await self._asked.wait()
            self._asked.clear()
            if active_recipes(self._loaded.config, self._watch.read.orders) != self._active:
                await self._bring_in_force("recipe")

    async def _bring_in_force(self, why: str) -> None:
        async with self._one_by_one:
            self._watch.expect(fulfilment=bool(self._loaded.config.recipe))
            known = set(self._active.refused)
            self._active = active_recipes(self._loaded.config, self._watch.read.orders)
            for refusal in self._active.refused:
                if refusal not in known:
                    logger.error("%s", refusal)
            await self._apply(self._loaded, self._active, why)
