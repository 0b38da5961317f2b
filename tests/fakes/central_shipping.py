# SPDX-License-Identifier: AGPL-3.0-or-later
"""Records of boxes in a database, brought there by the shipper itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.fakes.shipping_box import until

from vision_line.central.database_url import parsed
from vision_line.config.central_settings import CentralSettings
from vision_line.shipping.shipping_service import ShippingService


def ship_boxes(url: str, boxes: Mapping[str, Path]) -> None:
    """Ship all that record directories have, one after the other, each as a box of its name."""
    asyncio.run(shipped(url, boxes))


async def shipped(url: str, boxes: Mapping[str, Path]) -> None:
    """Do the same in a loop that runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vision_line.shipping.shipping_service.POLL_S", 0.02)
        patch.setattr("vision_line.shipping.shipping_service.SEEN_EVERY_S", 0.02)
        for node, directory in boxes.items():
            await _shipped(ShippingService(directory, CentralSettings(database=SecretStr(url), node=node), parsed(url)))


async def _shipped(service: ShippingService) -> None:
    """Ship until the database has every entry, and after that what comes without one."""

    def is_there() -> bool:
        state = service.status().state
        assert state.error is None, state.error
        return state.behind == 0

    def is_seen_again(offset_s: float | None) -> bool:
        return service.status().clock_offset_s != offset_s

    task = asyncio.create_task(service.run())
    try:
        await until(is_there)
        for _ in range(2):  # the first one may have begun before
            await until(partial(is_seen_again, service.status().clock_offset_s))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
