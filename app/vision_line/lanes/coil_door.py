# SPDX-License-Identifier: AGPL-3.0-or-later
"""Outputs of remote I/O modules, switched by the verdicts of lanes; by pymodbus, one connection a module.

What could not be told in time is never told: an output that is switched late would sort another part.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusTcpClient

from vision_line.config.listen import ListenAddress
from vision_line.config.modbus_settings import CoilSettings
from vision_line.lanes.plc_door import LaneControl, LaneState, PartDecision
from vision_line.parts.part import PartVerdict

logger = logging.getLogger(__name__)

#: How long a decision may wait for its module, and a module for its answer, in seconds.
PROMPT_S = 0.1
#: How often the outputs are written although nothing changed: what the module's watchdog waits for, in seconds.
REPEAT_S = 0.1
#: How long after a failure the module is connected again, in seconds.
RETRY_S = 1.0
_GOOD = frozenset({PartVerdict.ACCEPT, PartVerdict.WARN})


class CoilPulse:
    """When one output is on. Pure."""

    def __init__(self, settings: CoilSettings) -> None:
        """Begin off."""
        self._is_on_for_good = settings.energised == "good"
        self._pulse_s = settings.pulse_ms / 1000
        self._decided_s = self._off_at_s = -1.0
        self._is_delivered = True

    def decide(self, verdict: PartVerdict, now_s: float) -> None:
        """Take a decision; what diverts wins over what lets pass."""
        is_good = verdict in _GOOD
        if is_good is self._is_on_for_good:
            self._decided_s, self._off_at_s, self._is_delivered = now_s, now_s + self._pulse_s, False
        elif self._is_on_for_good:
            self._off_at_s = now_s

    def is_on(self, now_s: float) -> bool:
        """Return whether it is to be on; a decision that waited too long for its module is dropped."""
        if not self._is_delivered and now_s - self._decided_s > PROMPT_S:
            self._off_at_s = now_s
        return now_s < self._off_at_s

    def delivered(self, asked_s: float) -> None:
        """Note that the module has what `is_on` said at `asked_s`."""
        self._is_delivered = self._is_delivered or self._decided_s <= asked_s

    def lost(self) -> None:
        """Note that the module is away: nothing is on any more."""
        self._off_at_s = -1.0

    def changes_at_s(self, now_s: float) -> float | None:
        """Return when it goes off, None where it is."""
        return self._off_at_s if now_s < self._off_at_s else None


class CoilDoor:
    """A `PlcDoor`: the outputs of all modules."""

    def __init__(self, coils: Sequence[CoilSettings]) -> None:
        """Connect to nothing yet."""
        addresses = dict.fromkeys(coil.module for coil in coils)
        self._modules = [_Module(each, [coil for coil in coils if coil.module == each]) for each in addresses]
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, control: LaneControl) -> None:
        """Begin to connect; a module that is away holds up nothing, its lanes divert everything."""
        self._tasks = [asyncio.create_task(module.serve(control)) for module in self._modules]

    def decide(self, decision: PartDecision) -> None:
        """Switch the lane's outputs, within `PROMPT_S` or not at all."""
        for module in self._modules:
            module.decide(decision)

    def show(self, states: Mapping[str, LaneState], *, is_line_well: bool) -> None:
        """Nothing: an output says one verdict, and is written again by itself."""

    async def close(self) -> None:
        """Switch everything off, and end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []


class _Module:
    """One module and its outputs."""

    def __init__(self, address: ListenAddress, coils: Sequence[CoilSettings]) -> None:
        self._address = address
        self._name = f"module {address}"
        self._coils = [(coil, CoilPulse(coil)) for coil in coils]
        self._changed = asyncio.Event()
        self._is_away = False

    def decide(self, decision: PartDecision) -> None:
        """Take a decision of any lane."""
        for coil, pulse in self._coils:
            if coil.lane == decision.lane:
                pulse.decide(decision.verdict, time.monotonic())
                self._changed.set()

    async def serve(self, control: LaneControl) -> None:
        """Write the outputs for ever; lanes whose module is away are not enabled."""
        try:
            await self._serve(control)
        finally:
            control.release(self._name)

    async def _serve(self, control: LaneControl) -> None:
        while True:
            try:
                async with asyncio.timeout(RETRY_S):
                    client = await self._connected()
                self._report(control, is_away=False)
                await self._write_on(client)
            except (ModbusException, OSError, TimeoutError) as exc:
                self._report(control, is_away=True, why=str(exc) or "no answer")
            for _, pulse in self._coils:
                pulse.lost()
            await asyncio.sleep(RETRY_S)

    def _report(self, control: LaneControl, *, is_away: bool, why: str = "") -> None:
        if is_away == self._is_away:
            return
        self._is_away = is_away
        for lane in dict.fromkeys(coil.lane for coil, _ in self._coils):
            control.enable(lane, is_enabled=not is_away, by=self._name)
        if is_away:
            logger.error("modbus: module %s is away, its lanes divert everything: %s", self._address, why)
        else:
            logger.info("modbus: module %s is back", self._address)

    async def _connected(self) -> AsyncModbusTcpClient:
        client = AsyncModbusTcpClient(
            self._address.host, port=self._address.port, reconnect_delay=0, timeout=RETRY_S, retries=0
        )
        if not await client.connect():
            raise ConnectionError("cannot connect")
        # What is on its way when the connection is given up is dropped: it would switch something late.
        raw = client.ctx.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return client

    async def _write_on(self, client: AsyncModbusTcpClient) -> None:
        try:
            while True:
                self._changed.clear()
                await self._write(client)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause_s()):
                        await self._changed.wait()
        except asyncio.CancelledError:
            for _, pulse in self._coils:
                pulse.lost()
            with suppress(ModbusException, TimeoutError):
                await self._write(client)
            raise
        finally:
            client.close()

    async def _write(self, client: AsyncModbusTcpClient) -> None:
        for coil, pulse in self._coils:
            now_s = time.monotonic()
            async with asyncio.timeout(PROMPT_S):
                answer = await client.write_coil(coil.coil, pulse.is_on(now_s), device_id=coil.unit)
            if answer.isError():
                raise ModbusException(f"output {coil.coil} of unit {coil.unit}: it answers {answer.exception_code}")
            pulse.delivered(now_s)

    def _pause_s(self) -> float:
        """Return how long nothing is to be written, unless a decision comes."""
        now_s = time.monotonic()
        changes = [at for _, pulse in self._coils if (at := pulse.changes_at_s(now_s)) is not None]
        return min([REPEAT_S, *(at - now_s for at in changes)])
