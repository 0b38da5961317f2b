# SPDX-License-Identifier: AGPL-3.0-or-later
"""The socket of the lanes: what waited in it while nobody came by has no moment unless it says which."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.integration.lanes.test_coil_door import Enabled

from vision_line.feed.protocol import Header, Unpacker, packed
from vision_line.lanes.lanes_protocol import LANES_LIMITS, LANES_SOCKET
from vision_line.lanes.lanes_server import LanesServer
from vision_line.lanes.plc_door import Trigger
from vision_line.lanes.promptness import ASLEEP_S


class Taking(Enabled):
    """A lane control that takes each part."""

    def trigger(self, trigger: Trigger) -> int:
        return int(trigger.at_s > 0)


async def test_a_part_that_waited_must_say_when_it_passed(tmp_path: Path) -> None:
    server = LanesServer(tmp_path, dict)
    await server.open(Taking())
    reader, writer = await asyncio.open_unix_connection(tmp_path / LANES_SOCKET)
    unpacker = Unpacker(LANES_LIMITS)

    async def asked(header: Header) -> Header:
        writer.write(packed(header))
        async with asyncio.timeout(30):
            while True:
                for message in unpacker.push(await reader.read(4096)):
                    return message.header

    try:
        time.sleep(ASLEEP_S + 0.05)  # noqa: ASYNC251  the loop is busy with something else
        for kind in ({"kind": "part", "lane": "l1"}, {"kind": "encoder", "lane": "l1", "count": 5}):
            refused = await asked(kind)
            assert "at_s: expected the moment" in str(refused["reason"])
            assert (await asked(kind | {"at_s": time.monotonic()}))["kind"] in {"taken", "noted"}
        async with asyncio.timeout(30):
            while (await asked({"kind": "part", "lane": "l1"}))["kind"] != "taken":
                server.show({}, is_line_well=True)
    finally:
        writer.close()
        await server.close()
