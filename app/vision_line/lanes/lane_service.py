# SPDX-License-Identifier: AGPL-3.0-or-later
"""The process of the lanes: doors, recording and the line, from its start to its end; follows the configuration."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from vision_line.config.file_signature import SettledChange
from vision_line.config.lane_load import LoadedLanes, load_lanes
from vision_line.errors import ConfigError, RunError
from vision_line.lanes.configured_doors import configured_doors
from vision_line.lanes.deciding import Deciding
from vision_line.lanes.lane_plan import LanePlan, plan_of
from vision_line.lanes.lanes_off import LanesOff
from vision_line.lanes.lanes_server import THE_SOCKET, LanesServer
from vision_line.lanes.line_link import LineLink
from vision_line.lanes.modbus_registers import THE_PLC
from vision_line.lanes.parts_recorder import PartsRecorder
from vision_line.lanes.plc_door import PlcDoor

logger = logging.getLogger(__name__)

#: How often time is looked at, doors hear how the lanes are, and the configuration's file is checked, in seconds.
TICK_S = 0.02
SHOW_S = 0.1
RELOAD_S = 1.0

#: Makes the doors that a file asks for.
MakeDoors = Callable[[LoadedLanes], Sequence[PlcDoor]]


def doors_of(loaded: LoadedLanes) -> Sequence[PlcDoor]:
    """Return the machines that sort, beside the socket, which is always there.

    Raises:
        ConfigError: as `configured_doors`.
    """
    return configured_doors(loaded.lanes, loaded.modbus, loaded.coils)


class LaneService:
    """Decides the parts of a record directory, which is locked by this process. Used by one task."""

    def __init__(self, directory: Path, loaded: LoadedLanes, make_doors: MakeDoors = doors_of) -> None:
        """Take what `loaded` says."""
        self._directory = directory
        self._loaded = loaded
        self._make_doors = make_doors
        self._doors: list[PlcDoor] = []  # the socket first
        self._shut: list[PlcDoor] = []  # those that could not be opened yet
        self._is_adopted = True
        self._problem = ""  # why not all is as the file says

    async def run(self, asked: asyncio.Event, on_ready: Callable[[], None] = lambda: None) -> None:
        """Decide until cancelled; `asked` has the configuration read again at once.

        Raises:
            ConfigError: a door cannot be made.
            RunError: at the start: parts cannot be recorded, or read which lanes are off, or a door cannot be opened.
            Exception: a fault of ours.
        """
        loop = asyncio.get_running_loop()
        plans = plans_of(self._loaded)
        others = self._make_doors(self._loaded)
        off = LanesOff(self._directory, (THE_PLC, THE_SOCKET))
        recorder = PartsRecorder(self._directory, list(plans), lambda do: _in_loop(loop, do), self._loaded.keep_days)
        deciding = Deciding(recorder, self._doors, off, is_simulated=self._loaded.is_simulated)
        self._doors += [LanesServer(self._directory, deciding.status), *others]
        link = LineLink(self._directory, cameras_of(plans), deciding)
        try:
            deciding.awaited = plans.keys()
            self._release_the_plc(deciding)
            for plan in plans.values():
                deciding.add(plan)
            for door in self._doors:
                await door.open(deciding)
            on_ready()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(link.run(), name="line")
                tasks.create_task(_every(TICK_S, deciding.tick), name="time")
                tasks.create_task(_every(SHOW_S, deciding.show), name="doors")
                tasks.create_task(self._follow(asked, deciding, recorder, link), name="configuration")
        finally:
            deciding.end()
            for door in self._doors:
                await door.close()
            await asyncio.to_thread(recorder.close)

    async def _follow(self, asked: asyncio.Event, deciding: Deciding, recorder: PartsRecorder, link: LineLink) -> None:
        """Follow the file, until cancelled; what could not be adopted is tried again."""
        # not the file's signature now: it may have changed while this process began
        change = SettledChange(self._loaded.path, self._loaded.signature)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RELOAD_S):
                    await asked.wait()
            if change.is_due(asked=asked.is_set()):
                asked.clear()
                try:
                    await self._reload(deciding, recorder, link)
                except ConfigError as exc:
                    logger.error("the changed lanes have errors and are not used, those before stay in force:\n%s", exc)
            if not self._is_adopted:
                await self._adopt(deciding, recorder, link)

    async def _reload(self, deciding: Deciding, recorder: PartsRecorder, link: LineLink) -> None:
        """Read what the file says now, and have it adopted.

        Raises:
            ConfigError: it is not valid; nothing has changed.
        """
        loaded = load_lanes(self._loaded.path)
        plans, doors = plans_of(loaded), self._make_doors(loaded)
        has_other_doors = _doors_are_of(loaded) != _doors_are_of(self._loaded)
        self._loaded, self._is_adopted = loaded, False
        recorder.follow(list({**deciding.plans, **plans}))  # those that end have parts to enter still
        recorder.keep(loaded.keep_days)
        link.want(cameras_of(plans))
        if has_other_doors:
            gone, self._doors[1:] = self._doors[1:], []
            for door in gone:
                await door.close()
            self._shut = list(doors)
        self._release_the_plc(deciding)

    def _release_the_plc(self, deciding: Deciding) -> None:
        """Have no lane be off by a PLC that cannot switch it on again."""
        modbus = self._loaded.modbus
        if modbus is None or not modbus.accept_writes:
            deciding.release(THE_PLC)

    async def _adopt(self, deciding: Deciding, recorder: PartsRecorder, link: LineLink) -> None:
        """Have the lanes and the doors be those of the file, as far as that goes now; say what does not."""
        before = deciding.plans.keys()
        troubles = list(self._change_lanes(deciding))
        recorder.follow(list(plans_of(self._loaded)))
        if deciding.plans.keys() - before:  # a lane believes results only from an answer on that came behind its begin
            link.want(cameras_of(plans_of(self._loaded)))
        problem = "; ".join([*troubles, *[each async for each in self._open_doors(deciding)]])
        if problem and problem != self._problem:
            logger.error("not all is as the changed file says, it is tried again each second: %s", problem)
        elif self._problem and not problem:
            logger.info("all is as the changed file says")
        self._problem, self._is_adopted = problem, not problem

    async def _open_doors(self, deciding: Deciding) -> AsyncIterator[str]:
        """Open the doors that are shut; yield why one cannot be, which is no matter of the others."""
        for door in list(self._shut):
            try:
                await door.open(deciding)
            except RunError as exc:
                yield str(exc)
            else:
                self._shut.remove(door)
                self._doors.append(door)

    def _change_lanes(self, deciding: Deciding) -> Iterator[str]:
        """End the lanes that are gone or otherwise now, and begin what is new; yield why one cannot begin."""
        plans = plans_of(self._loaded)
        deciding.awaited = plans.keys()
        for name, plan in deciding.plans.items():
            if plans.get(name) != plan:
                deciding.remove(name)
                logger.info("lane %s: ended, its parts on their way are not inspected", name)
        for name in plans.keys() - deciding.plans.keys():
            try:
                deciding.add(plans[name])
            except RunError as exc:
                yield f"lane {name}: {exc}"
            else:
                logger.info("lane %s: begun", name)


def plans_of(loaded: LoadedLanes) -> dict[str, LanePlan]:
    """Return the plan of each lane.

    Raises:
        ConfigError: a recipe does not fit a camera.
    """
    return {lane.name: plan_of(lane, loaded.cameras, loaded.recipes) for lane in loaded.lanes}


def cameras_of(plans: Mapping[str, LanePlan]) -> frozenset[str]:
    """Return the cameras of all lanes."""
    return frozenset(camera for plan in plans.values() for camera in plan.cameras)


def _doors_are_of(loaded: LoadedLanes) -> tuple[object, ...]:
    """Return what of a file the doors are made of."""
    return loaded.lanes, loaded.modbus, loaded.coils


def _in_loop(loop: asyncio.AbstractEventLoop, do: Callable[[], None]) -> None:
    """Run a function in the loop; one that is closed has no use for it."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(do)


async def _every(period_s: float, do: Callable[[], None]) -> None:
    while True:
        do()
        await asyncio.sleep(period_s)
