# SPDX-License-Identifier: AGPL-3.0-or-later
"""The machines that sort, by the settings. Libraries are imported only for what is configured."""

from __future__ import annotations

from collections.abc import Sequence

from vision_line.config.lane_settings import LaneSettings
from vision_line.config.modbus_settings import CoilSettings, ModbusSettings
from vision_line.errors import ConfigError
from vision_line.lanes.modbus_door import ModbusDoor
from vision_line.lanes.plc_door import PlcDoor
from vision_line.packages import install_extra


def configured_doors(
    lanes: Sequence[LaneSettings], modbus: ModbusSettings | None, coils: Sequence[CoilSettings]
) -> list[PlcDoor]:
    """Return the doors of a file, not yet open.

    Raises:
        ConfigError: more lanes than one has room for, or a library is missing; says how to get it.
    """
    doors: list[PlcDoor] = [] if modbus is None else [ModbusDoor(modbus, lanes)]
    if coils:
        try:
            from vision_line.lanes.coil_door import CoilDoor
        except ImportError:
            raise ConfigError(f"[[coil]]: pymodbus is not installed: {install_extra('outputs')}") from None
        doors.append(CoilDoor(coils))
    return doors
