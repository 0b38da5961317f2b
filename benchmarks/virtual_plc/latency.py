# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a decision until a PLC that reads without pause has it: `python -m benchmarks.virtual_plc.latency`; 15 s.

The door decides in an event loop, another program's client reads over loopback in a thread.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time

from pymodbus.client import ModbusTcpClient
from tests.fakes.ports import free_port

from benchmarks.rounds import percentile
from vision_line.config.lane_settings import LaneSettings
from vision_line.config.modbus_settings import ModbusSettings
from vision_line.lanes import modbus_map as plc
from vision_line.lanes.modbus_door import ModbusDoor
from vision_line.lanes.plc_door import LaneState, PartDecision, Trigger
from vision_line.parts.part import PartCause, PartVerdict

DECISIONS = 500
LANE = LaneSettings(name="a", cameras=["cam1"], window_ms=[0.0, 300.0], ejector_ms=800.0)
STATE = LaneState(is_enabled=True, fault="", cause=PartCause.NONE, parts=0, rejects=0, not_inspected=0)


class Nobody:
    """A lane control that takes nothing."""

    def trigger(self, trigger: Trigger) -> int:
        """Take no part."""
        raise AssertionError(trigger)

    def encoder(self, lane: str, count: int, at_s: float) -> None:
        """Take nothing."""

    def begin_anew(self, lane: str) -> None:
        """Take nothing."""

    def enable(self, lane: str, *, is_enabled: bool, by: str) -> None:
        """Take nothing."""

    def is_off(self, lane: str, *, by: str) -> bool:  # noqa: ARG002  as the port
        """Nothing is off."""
        return False

    def release(self, by: str) -> None:
        """Take nothing."""

    def counted(self, lane: str, parts: int, rejects: int) -> None:
        """Take nothing."""


def read_on(port: int, came_s: dict[int, float], over: threading.Event) -> None:
    """Note when each result is first read."""
    with ModbusTcpClient("127.0.0.1", port=port) as client:
        while not over.is_set():
            words = client.read_input_registers(plc.LANE_AT, count=plc.LANE_WORDS).registers
            came_s.setdefault(int(plc.decode(plc.LANE, words)["result"]), time.monotonic())


async def measure() -> list[float]:
    """Return how long each decision took, in seconds."""
    port, over = free_port(), threading.Event()
    door = ModbusDoor(ModbusSettings(listen=f"127.0.0.1:{port}"), [LANE])
    await door.open(Nobody())
    came_s: dict[int, float] = {}
    decided_s = {}
    reading = asyncio.create_task(asyncio.to_thread(read_on, port, came_s, over))
    for number in range(1, DECISIONS + 1):
        await asyncio.sleep(random.uniform(0.01, 0.05))
        door.show({"a": STATE}, is_line_well=True)
        now_s = decided_s[number] = time.monotonic()
        verdict, cause = PartVerdict.ACCEPT, PartCause.NONE
        door.decide(PartDecision("a", number, Trigger("a", now_s, number), verdict, cause, "", 0.0, now_s, now_s + 1))
    await asyncio.sleep(0.5)
    over.set()
    await reading
    await door.close()
    return [came_s[number] - at_s for number, at_s in decided_s.items()]


def main() -> None:
    """Print the median and the slowest of a hundred."""
    took_s = asyncio.run(measure())
    shares = ", ".join(f"p{100 * share:g} {1000 * percentile(took_s, share):.2f} ms" for share in (0.5, 0.99, 0.999))
    print(f"{len(took_s)} decisions: {shares}")


if __name__ == "__main__":
    main()
