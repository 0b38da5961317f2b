# SPDX-License-Identifier: AGPL-3.0-or-later
"""One node's protocol on a real store: the watch goes in, requests go out, and neither waits for the other."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from vision_line.fleet.coordination import CONFIG, NODE_PREFIX, Coordination, CoordinationError, StoreEntry
from vision_line.fleet.fleet_member import FleetMember, Put, Read, Request
from vision_line.fleet.fleet_plan import FleetPlan
from vision_line.fleet.membership import LEASE_S
from vision_line.fleet.node_report import NodeReport
from vision_line.fleet.store_clock import StoreClock

logger = logging.getLogger(__name__)

#: How often the protocol is asked what is due.
TICK_S = 0.25
#: How often the configuration is read again: a watch may have lost it, and a store that began anew lacks it.
CONFIG_EVERY_S = 5.0
#: How long the last word may take.
GOODBYE_S = 2.0
#: What is said of a node whose lease has ended.
NO_SIGN = "gives no sign of life any more"


class FleetLink:
    """Keeps one node in its fleet; lives in the event loop's thread."""

    def __init__(
        self,
        member: FleetMember,
        store: Coordination,
        report: Callable[[], NodeReport],
        on_plan: Callable[[FleetPlan], None],
        on_config: Callable[[bytes], None],
    ) -> None:
        """Speak for `member`, of which `report` says what it is and has.

        `on_plan` gets each plan that it is to obey, `on_config` each value of the configuration; both must be quick.
        """
        self._member = member
        self._store = store
        self._report = report
        self._on_plan = on_plan
        self._on_config = on_config
        self._plan: FleetPlan | None = None
        self._config: bytes | None = None
        self._began_s: float | None = None
        self._clock = StoreClock()
        self._lost = frozenset[str]()  # of which that was said
        self._is_over = False

    @property
    def is_deaf(self) -> bool:
        """Whether this node does not hear its fleet, though it has had a lease's time to."""
        has_had_time = self._began_s is not None and time.monotonic() - self._began_s > LEASE_S
        return has_had_time and not self._member.membership.is_hearing

    @property
    def clock_apart_s(self) -> float | None:
        """How far the store's clock is ahead of this machine's, in seconds, where that is too far."""
        return self._clock.apart_s

    async def run(self) -> None:
        """Take part until cancelled."""
        self._began_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(), name="fleet's watch")
            tasks.create_task(self._keep_config(), name="fleet's configuration")
            try:
                while True:
                    for request in self._member.tick(self._report(), time.monotonic()):
                        tasks.create_task(self._ask(request), name=f"fleet's {request.key}")
                    self._follow()
                    self._say_who_is_lost()
                    await asyncio.sleep(TICK_S)
            finally:
                self._is_over = True  # the others are cancelled now, once, and the client may swallow that

    async def leave(self) -> None:
        """Say goodbye, so that cameras are given away at once; no matter if the store does not hear it."""
        word = self._member.heartbeat(self._report().model_copy(update={"leaving": True, "cameras": {}}))
        with suppress(CoordinationError, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._store.put(word.key, word.value)

    def keep(self, config: bytes) -> None:
        """Bring a configuration back into a store that has none: this one was accepted."""
        self._config = config

    async def _listen(self) -> None:
        async for entry in self._store.watch():
            if self._is_over:
                return
            self._take(entry)
            self._follow()

    def _take(self, entry: StoreEntry) -> None:
        if entry.key == CONFIG:
            self._on_config(entry.value)
            return
        if entry.key == NODE_PREFIX + self._member.name:
            self._clock.note(entry, time.time())
        self._member.saw(entry, time.monotonic())

    def _follow(self) -> None:
        if self._member.plan is not None and self._member.plan is not self._plan:
            self._plan = self._member.plan
            self._on_plan(self._plan)

    def _say_who_is_lost(self) -> None:
        membership = self._member.membership
        lost = frozenset(membership.lost())
        for name in sorted(lost - self._lost):
            logger.warning("node %s %s", name, NO_SIGN)
        for name in sorted((self._lost - lost) & membership.living()):
            logger.info("node %s gives signs of life again", name)
        self._lost = lost

    async def _ask(self, request: Request) -> None:
        """Carry a request out, and report what became of it."""
        try:
            if isinstance(request, Put):
                await self._store.put(request.key, request.value)
            elif isinstance(request, Read):
                entry = await self._store.get(request.key)
                self._member.came(request, entry, time.monotonic())
            else:
                revision = await self._store.swap(request.key, request.value, request.expected)
                self._member.answered(request, revision, time.monotonic())
        except CoordinationError as exc:
            logger.debug("%s: %s", request.key, exc)
            self._member.failed(request)

    async def _keep_config(self) -> None:
        while not self._is_over:
            await asyncio.sleep(CONFIG_EVERY_S)
            with suppress(CoordinationError):
                entry = await self._store.get(CONFIG)
                if entry is not None:
                    self._on_config(entry.value)
                elif self._config is not None and self._member.is_leading:
                    await self._store.swap(CONFIG, self._config, 0)
