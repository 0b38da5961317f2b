# SPDX-License-Identifier: AGPL-3.0-or-later
"""Try what sorts parts once, beside the process that serves it: only reading, nothing is ever switched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusTcpClient

from vision_line.config.listen import ListenAddress
from vision_line.config.modbus_settings import CoilSettings
from vision_line.lanes.modbus_wire import ExceptionCode

#: How long a module may take for a connection, and for each answer, in seconds.
PATIENCE_S = 3.0


async def coil_troubles(coils: Sequence[CoilSettings]) -> list[tuple[int, str]]:
    """Read each output back from its module; return what is wrong, by the number of its `[[coil]]`.

    A module that is away says so for each of its outputs. It must serve one connection more than the lanes'.
    """
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what fails is returned
    modules: dict[ListenAddress, list[tuple[int, CoilSettings]]] = {}
    for index, coil in enumerate(coils):
        modules.setdefault(coil.module, []).append((index, coil))
    found = await asyncio.gather(*(_troubles(address, own) for address, own in modules.items()))
    return [trouble for troubles in found for trouble in troubles]


async def _troubles(address: ListenAddress, coils: Sequence[tuple[int, CoilSettings]]) -> list[tuple[int, str]]:
    client = AsyncModbusTcpClient(address.host, port=address.port, reconnect_delay=0, timeout=PATIENCE_S, retries=0)
    try:
        if not await client.connect():
            return [(index, f"module {address} is not reached") for index, _ in coils]
        return [(index, f"module {address}: {why}") for index, coil in coils if (why := await _trouble(client, coil))]
    finally:
        client.close()


async def _trouble(client: AsyncModbusTcpClient, coil: CoilSettings) -> str:
    """Return why an output cannot be read, "" where it can, or where the module only lets it be written."""
    place = f"output {coil.coil} of unit {coil.unit}"
    try:
        answer = await client.read_coils(coil.coil, count=1, device_id=coil.unit)
    except ModbusException as exc:
        return f"{place} gives no answer: {exc}"
    code = answer.exception_code if answer.isError() else 0
    if code == ExceptionCode.ILLEGAL_ADDRESS:
        return f"it has no {place}"
    return (
        "" if code in {0, ExceptionCode.ILLEGAL_FUNCTION} else f"{place}: it answers with the Modbus exception {code}"
    )
