# SPDX-License-Identifier: AGPL-3.0-or-later
"""Follows which recipes are asked for, in a thread of its own: a disk that hangs holds up nothing that inspects."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vision_line.errors import RunError
from vision_line.parts.order_reader import OrderReader
from vision_line.parts.orders import RECIPE, Order

logger = logging.getLogger(__name__)

#: How often the file is looked at, in seconds: a part must not wait for its recipe.
POLL_EVERY_S = 0.02
#: The same while the configuration has no recipe: no part waits for a wish that can only be refused.
REFUSE_EVERY_S = 0.5
#: How long a file that cannot be read is left alone.
RETRY_EVERY_S = 1.0
_CLOSE_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class RecipeOrders:
    """What is asked for, the newest first; `problem` says why it may not be the newest, "" where it is."""

    orders: tuple[Order, ...] = ()
    problem: str = ""


class RecipeWatch:
    """Owns the thread; `read` may be asked from any."""

    def __init__(self, directory: Path) -> None:
        """Read once, so that a run begins with the recipe that was asked for before it."""
        self._reader = OrderReader(directory, RECIPE)
        self._can_fulfil = True
        self._on_change: Callable[[], None] = lambda: None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recipes", daemon=True)
        self.read = RecipeOrders()
        self._read_news()
        self._reader.close()  # a connection belongs to the thread that opened it

    def start(self, on_change: Callable[[], None]) -> None:
        """Look from now on; `on_change` is called in the thread when `read` has changed."""
        self._on_change = on_change
        self._thread.start()

    @property
    def pause_s(self) -> float:
        """How long to wait for the next look."""
        if self.read.problem:
            return RETRY_EVERY_S
        return POLL_EVERY_S if self._can_fulfil else REFUSE_EVERY_S

    def expect(self, *, fulfilment: bool) -> None:
        """Look as often as wishes that can be fulfilled need, or those that are only refused. Any thread."""
        self._can_fulfil = fulfilment

    def close(self) -> None:
        """Look no more. May be called twice."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        try:
            self._follow()
        except Exception as exc:  # a fault of ours, shown as long as the run lasts
            logger.exception("recipes are not followed any more")
            self.read = RecipeOrders(self.read.orders, f"ended by an internal error: {exc}")
            self._on_change()

    def _follow(self) -> None:
        while not self._closing.wait(self.pause_s):
            before = self.read
            self._read_news()
            if self.read != before:
                self._on_change()
        self._reader.close()

    def _read_news(self) -> None:
        before = self.read
        try:
            news = self._reader.news()
        except RunError as exc:
            if str(exc) != before.problem:
                logger.error("recipes are not followed: %s", exc)
            self.read = RecipeOrders(before.orders, str(exc))
            return
        if news is not None or before.problem:
            self.read = RecipeOrders(before.orders if news is None else news)
