# SPDX-License-Identifier: AGPL-3.0-or-later
"""The lanes' connection to the run, by its feed; comes back by itself. In the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from vision_line.feed.feed_socket import socket_address
from vision_line.feed.protocol import FROM_RUN, PROTOCOL, FeedFormatError, FeedMessage, Unpacker, packed
from vision_line.feed.wants import Want

logger = logging.getLogger(__name__)

#: How long a run has to say hello, and how long it is left alone after it was not there, in seconds.
HELLO_S = 5.0
RETRY_S = 0.1
_READ_BYTES = 1 << 18


class LineListener(Protocol):
    """Who hears what the run says."""

    def line_came(self, run_id: str, classes: Sequence[str]) -> None:
        """Hear that from now on all results come, and the classes of the run's model."""

    def line_said(self, message: FeedMessage) -> None:
        """Hear a message."""

    def line_went(self, why: str) -> None:
        """Hear that the run is gone."""


class LineLink:
    """Follows one record directory's run, and the next one, until cancelled."""

    def __init__(self, directory: Path, cameras: Collection[str], listener: LineListener) -> None:
        """Want the results of `cameras`."""
        self._directory = directory
        self._listener = listener
        self._wanted = _want_of(cameras)
        self._writer: asyncio.StreamWriter | None = None

    def want(self, cameras: Collection[str]) -> None:
        """Want the results of these cameras from now on."""
        self._wanted = _want_of(cameras)
        if self._writer is not None:
            self._writer.write(self._wanted)

    async def run(self) -> None:
        """Follow; a run that is not there, or goes, is looked for again.

        Raises:
            Exception: a fault of the listener's.
        """
        said = ""
        while True:
            why = await self._follow()
            self._listener.line_went(why)
            if why != said:
                logger.warning("the line is away: %s", why)
            said = why
            await asyncio.sleep(RETRY_S)

    async def _follow(self) -> str:
        """Follow one run; return why that ended."""
        try:
            reader, writer = await self._connected()
        except OSError as exc:
            return f"no run has a live feed in {self._directory}: {exc.strerror or exc}"
        with closing(writer):
            try:
                self._writer = writer
                writer.write(self._wanted)
                return await self._listen(reader)
            except TimeoutError:
                return "the run does not answer"
            except FeedFormatError as exc:
                return f"the run's feed cannot be read: {exc}"
            except OSError as exc:
                return f"the connection was lost: {exc.strerror or exc}"
            finally:
                self._writer = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        with socket_address(self._directory) as address:
            return await asyncio.open_unix_connection(address, limit=_READ_BYTES)

    async def _listen(self, reader: asyncio.StreamReader) -> str:
        unpacker, run_id, classes = Unpacker(FROM_RUN), "", list[str]()
        while True:
            async with asyncio.timeout(None if run_id else HELLO_S):
                data = await reader.read(_READ_BYTES)
            if not data:
                return "the run ended without a word"
            for message in unpacker.push(data):
                match message.kind:
                    case "hello":
                        run_id, classes = _run_of(message), [str(name) for name in message.header["classes"]]
                    case "wanted":
                        logger.info("the line is there: run %s", run_id)
                        self._listener.line_came(run_id, classes)
                    case "bye":
                        return str(message.header.get("reason", "")) or "no reason given"
                    case _:
                        self._listener.line_said(message)


def _want_of(cameras: Collection[str]) -> bytes:
    want = Want(snapshots=True, decisions=True, beats=True, results=frozenset(cameras))
    return packed(want.header)


def _run_of(hello: FeedMessage) -> str:
    if hello.header.get("protocol") != PROTOCOL:
        raise FeedFormatError(f"expected version {PROTOCOL} of its protocol, found {hello.header.get('protocol')}")
    return str(hello.header["run"])
