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
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusTcpClient

from vision_line.config.listen import ListenAddress
from vision_line.config.modbus_settings import CoilSettings
from vision_line.lanes.coil_pulse import WRITE_S, CoilPulse
from vision_line.lanes.plc_door import LaneControl, LaneState, PartDecision
from vision_line.lanes.sleeping import asleep_s, elapsed_s
from vision_line.task_ending import end_tasks

logger = logging.getLogger(__name__)

#: How often the outputs are written although nothing changed: what the module's watchdog waits for, in seconds.
REPEAT_S = 0.1
#: How long after a failure the module is connected again, in seconds; sooner while it has just gone.
RETRY_S = 1.0
#: How many of a module's newest writes say how long one takes.
_MEASURED = 20


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
        """Switch the lane's outputs, within `PROMPT_S` or not at all; to let a part pass only before its deadline."""
        for module in self._modules:
            module.decide(decision)

    def show(self, states: Mapping[str, LaneState], *, is_line_well: bool) -> None:
        """Nothing: an output says one verdict, and is written again by itself."""

    async def close(self) -> None:
        """Switch everything off, and end."""
        await end_tasks(*self._tasks)
        self._tasks = []


@dataclass(eq=False, slots=True)
class _Output:
    """One output. `is_on` is what its module has, None: nobody knows."""

    settings: CoilSettings
    pulse: CoilPulse
    is_on: bool | None = None

    def lost(self) -> None:
        """Note that its module is away."""
        self.pulse.lost()
        self.is_on = None


class _Module:
    """One module and its outputs."""

    def __init__(self, address: ListenAddress, coils: Sequence[CoilSettings]) -> None:
        self._address = address
        self._name = f"module {address}"
        self._outputs = [_Output(coil, CoilPulse(coil)) for coil in coils]
        self._changed = asyncio.Event()
        self._is_away = False
        self._went_s = -RETRY_S  # when it was there last, before it was away
        self._took_s: deque[float] = deque(maxlen=_MEASURED)

    def decide(self, decision: PartDecision) -> None:
        """Take a decision of any lane."""
        for output in self._outputs:
            if output.settings.lane == decision.lane:
                output.pulse.decide(decision.verdict, elapsed_s(), decision.deadline_s + asleep_s())
                self._changed.set()

    async def serve(self, control: LaneControl) -> None:
        """Write the outputs until cancelled; lanes whose module is away are not enabled."""
        try:
            await self._serve(control)
        except asyncio.CancelledError:
            control.release(self._name)
            raise

    async def _serve(self, control: LaneControl) -> None:
        while True:
            try:
                async with asyncio.timeout(RETRY_S):
                    client = await self._connected()
                await self._write_on(client, control)
            except (ModbusException, OSError, TimeoutError) as exc:
                self._lose(control, str(exc) or "no answer")
            except Exception as exc:  # nobody would write the outputs, and nobody divert
                if not self._is_away:
                    logger.exception("modbus: module %s: a fault of the program", self._address)
                self._lose(control, f"a fault of the program: {type(exc).__name__}: {exc}")
            # What it was told last it may do all the same, and let a part pass: it is soon told to end that.
            await asyncio.sleep(REPEAT_S if time.monotonic() - self._went_s < RETRY_S else RETRY_S)

    def _lose(self, control: LaneControl, why: str) -> None:
        if not self._is_away:
            self._went_s = time.monotonic()
        self._report(control, is_away=True, why=why)
        for output in self._outputs:
            output.lost()

    def _report(self, control: LaneControl, *, is_away: bool, why: str = "") -> None:
        if is_away == self._is_away:
            return
        self._is_away = is_away
        for lane in dict.fromkeys(output.settings.lane for output in self._outputs):
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

    async def _write_on(self, client: AsyncModbusTcpClient, control: LaneControl) -> None:
        """Write until it fails; the module is back when it has taken all of its outputs."""
        try:
            while True:
                self._changed.clear()
                await self._write(client)
                self._report(control, is_away=False)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause_s()):
                        await self._changed.wait()
        except asyncio.CancelledError:
            for output in self._outputs:
                output.lost()
            with suppress(ModbusException, TimeoutError):
                await self._write(client)
            raise
        finally:
            client.close()

    async def _write(self, client: AsyncModbusTcpClient) -> None:
        """Write each output; always first one that is to change: behind those that are repeated it would be late."""
        waiting = list(self._outputs)
        while waiting:
            now_s = elapsed_s()
            changed = (each for each in self._outputs if each.is_on is not each.pulse.is_on(now_s, self._write_s))
            output = next(changed, waiting[0])
            await self._write_one(client, output)
            waiting = [each for each in waiting if each is not output]

    async def _write_one(self, client: AsyncModbusTcpClient, output: _Output) -> None:
        coil, pulse, now_s = output.settings, output.pulse, elapsed_s()
        began_s = time.monotonic()
        is_on = pulse.is_on(now_s, self._write_s)
        try:
            async with asyncio.timeout(pulse.patience_s(now_s)):
                answer = await client.write_coil(coil.coil, is_on, device_id=coil.unit)
        finally:
            self._took_s.append(time.monotonic() - began_s)
        if answer.isError():
            raise ModbusException(f"output {coil.coil} of unit {coil.unit}: it answers {answer.exception_code}")
        output.is_on = is_on
        pulse.delivered(now_s)

    @property
    def _write_s(self) -> float:
        """How long a write takes here."""
        return max(WRITE_S, *self._took_s) if self._took_s else WRITE_S

    def _pause_s(self) -> float:
        """Return how long nothing is to be written, unless a decision comes."""
        now_s = elapsed_s()
        changes = [at for each in self._outputs if (at := each.pulse.changes_at_s(now_s)) is not None]
        return min([REPEAT_S, *(at - now_s for at in changes)])
