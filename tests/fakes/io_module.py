# SPDX-License-Identifier: AGPL-3.0-or-later
"""A remote I/O module, which is pymodbus's own server."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from tests.fakes.ports import free_port


@dataclass
class Module:
    """A module with 16 outputs; `writes` are those it got, (output, is on, when), `functions` what it was asked by.

    It takes `delay_s` for each, and `delay_on_s` to switch one on.
    """

    port: int = field(default_factory=free_port)
    writes: list[tuple[int, bool, float]] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    server: ModbusTcpServer | None = None
    delay_s: float = 0.0
    delay_on_s: float = 0.0
    busy: int = 0

    async def start(self) -> None:
        async def note(function: int, _start: int, at: int, _count: int, _now: list[int], new: object) -> None:
            self.functions.append(function)
            if function == 5 and isinstance(new, list):
                self.busy += 1
                await asyncio.sleep(self.delay_on_s if new[0] else self.delay_s)
                self.busy -= 1
                self.writes.append((at, bool(new[0]), time.monotonic()))

        coils = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        words = [SimData(0, count=1, datatype=DataType.REGISTERS)]
        device = SimDevice(1, simdata=(coils, coils, words, words), action=note)
        self.server = ModbusTcpServer(device, address=("127.0.0.1", self.port))
        await self.server.serve_forever(background=True)

    async def stop(self) -> None:
        while self.busy:  # noqa: ASYNC110  what pymodbus still does has no event
            await asyncio.sleep(0.005)
        if self.server is not None:
            await self.server.shutdown()  # type: ignore[no-untyped-call]
            self.server = None

    def is_on(self, coil: int) -> bool:
        return next((state for at, state, _ in reversed(self.writes) if at == coil), False)
