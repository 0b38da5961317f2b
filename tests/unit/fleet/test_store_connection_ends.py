# SPDX-License-Identifier: AGPL-3.0-or-later
"""A connection to the store that is given up ends, though the client swallows a cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats.aio.client import Client

from vision_line.fleet import nats_coordination
from vision_line.fleet.coordination import CoordinationError
from vision_line.fleet.nats_coordination import NatsCoordination


async def stubborn() -> None:
    """Wait for ever, as the client does for a server that does not let it in; a first cancellation is swallowed."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


@pytest.mark.parametrize("what", ["connect", "close"])
async def test_a_request_is_given_up(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves no task behind."""

    async def waits(*_: Any, **__: Any) -> None:
        await stubborn()

    for name in {"connect", what}:
        monkeypatch.setattr(Client, name, waits)
    monkeypatch.setattr(nats_coordination, "REQUEST_S", 0.01)
    monkeypatch.setattr(nats_coordination, "CLOSE_S", 0.01)
    store = NatsCoordination(["nats://127.0.0.1:9"], "box")
    async with asyncio.timeout(60):
        with pytest.raises(CoordinationError, match="did not answer"):
            await store.get("plan")
        await store.close()

    assert asyncio.all_tasks() == {asyncio.current_task()}
