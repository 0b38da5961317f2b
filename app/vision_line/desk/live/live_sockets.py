# SPDX-License-Identifier: AGPL-3.0-or-later
"""The WebSockets of live video; the guard has checked the origin.

Who listens is asked for anew four times a second, before the next message.
The server's `send` waits while the connection's buffer is full: meanwhile the mailbox drops what is too old.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

import anyio
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from vision_line.desk.live.live_hub import LiveWatcher
from vision_line.desk.live.live_updates import Sent, joined
from vision_line.desk.live.mailboxes import TileMailbox, VideoMailbox
from vision_line.desk.services import NotAllowedError, NotSignedInError, Requirement, require, services_of
from vision_line.desk.users.sessions import Role
from vision_line.errors import VisionLineError

logger = logging.getLogger(__name__)

router = APIRouter()

#: What live video needs of who watches it.
_NEEDS: Requirement = require(Role.READER)
#: Browsers beyond this are sent away: each costs the desk processor time, and the line shares it.
MOST_SOCKETS = 32
#: Codes that close a WebSocket: no right to it (any more), later, and a fault.
_NO_RIGHT, _TRY_LATER, _FAULT = 1008, 1013, 1011
#: How long the answer holds whether somebody may still listen, in seconds: it is read from a file, in another thread.
#: Asked for each frame, it was a quarter of what a video cost.
_HOLDS_S = 0.25


class _Outbox(LiveWatcher, Protocol):
    """A mailbox that says what is to be sent."""

    async def next(self) -> list[Sent]: ...


@router.websocket("/api/v1/live/tiles")
async def tiles(socket: WebSocket, camera: str | None = None) -> None:
    """Send tiles of all cameras, or of one."""
    await _serve(socket, TileMailbox(camera))


@router.websocket("/api/v1/live/video/{camera}")
async def video(socket: WebSocket, camera: str) -> None:
    """Send one camera's video."""
    await _serve(socket, VideoMailbox(camera))


async def _serve(socket: WebSocket, outbox: _Outbox) -> None:
    hub = services_of(socket).live
    await socket.accept()
    if hub.watchers >= MOST_SOCKETS:
        await socket.close(_TRY_LATER, "too many watch already")
        return
    with hub.watched_by(outbox):
        async with anyio.create_task_group() as tasks:  # as the framework's own, which cancels by its scopes

            async def end_with_browser() -> None:
                await socket.receive()  # it has gone; or it sent something, which means nothing, and ends it
                tasks.cancel_scope.cancel()

            tasks.start_soon(end_with_browser)
            await _send(socket, outbox)
            tasks.cancel_scope.cancel()


async def _send(socket: WebSocket, outbox: _Outbox) -> None:
    loop = asyncio.get_running_loop()
    try:
        asked_s = float("-inf")
        while True:
            if not (waiting := await outbox.next()):
                continue
            if loop.time() - asked_s > _HOLDS_S:
                await loop.run_in_executor(None, _NEEDS.still_met, socket)  # a file's disk may take a while
                asked_s = loop.time()
            message = joined(waiting)
            await (socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message))
    except (NotSignedInError, NotAllowedError) as exc:
        await socket.close(_NO_RIGHT, str(exc))
    except VisionLineError as exc:
        logger.warning("live video: %s", exc)
        await socket.close(_FAULT, "the users cannot be read")
    except WebSocketDisconnect:
        return
