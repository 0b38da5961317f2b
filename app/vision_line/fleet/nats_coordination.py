# SPDX-License-Identifier: AGPL-3.0-or-later
"""The coordination store on NATS JetStream: the key-value bucket `fleet`, of one value a key, on three servers.

It lies in files: a bucket in memory that has lost its majority answers again only when the last server is back.
A server that is away holds nobody up: the connection is made when it is needed, and again for ever. Requests that were
not answered in time count as unknown, never as "nothing there".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import KeyValueConfig, StorageType
from nats.js.client import JetStreamContext
from nats.js.errors import BucketNotFoundError, KeyWrongLastSequenceError, NoStreamResponseError, NotFoundError
from nats.js.kv import KeyValue

from vision_line.errors import mask_credentials
from vision_line.fleet.coordination import CoordinationError, StoreEntry
from vision_line.fleet.store_users import BUCKET
from vision_line.task_ending import end_tasks

logger = logging.getLogger(__name__)

#: A request that is not answered within this is given up, in seconds.
REQUEST_S = 1.5
#: A watch to which nothing came for this long may be dead and is begun anew: nodes renew their keys more often.
SILENT_S = 1.0
#: The pause before a watch or a connection that failed is tried again.
RETRY_S = 0.3
#: How long the end of a watch that was given up may take: two more requests, and its end.
LATE_S = 2 * REQUEST_S + RETRY_S
#: How long the end of a connection is waited for: the client waits for ever for that of some that are encrypted.
CLOSE_S = 1.0
#: Servers forget a watch of a client that is gone after this.
_INACTIVE_S = 30.0
#: As JetStream numbers what it answers: there is no such message in the stream.
_NO_MESSAGE = 10037

_NO_KEY, _NO_RIGHT = "authorization violation", "permissions violation"

_T = TypeVar("_T")


class NatsCoordination:
    """A `Coordination` over NATS servers that know each other; used by one event loop, which it is closed in."""

    def __init__(
        self, servers: Sequence[str], name: str, *, seed_file: Path | None = None, replicas: int | None = None
    ) -> None:
        """Use `servers` (`nats://` or `tls://`) under the name of a node; nothing is connected yet.

        `seed_file` holds this node's nkey seed. `replicas`: on how many servers a new bucket lies; default: 3 where
        that many are named, else 1.
        """
        self._servers = list(servers)
        self._name = name
        self._seed_file = seed_file
        self._replicas = replicas or (3 if len(self._servers) >= 3 else 1)
        self._client: Client | None = None
        self._js: JetStreamContext | None = None
        self._bucket: KeyValue | None = None
        self._opening = asyncio.Lock()
        self._is_closed = False
        self._late = set[asyncio.Task[None]]()  # each ends a watch that came after it was given up
        self._refusal = self._met = ""  # what a server has refused since it answered last, and what else went wrong

    async def put(self, key: str, value: bytes) -> int:
        """As the port says."""
        bucket = await self._answer(self._opened())
        return await self._answer(bucket.put(key, value))

    async def swap(self, key: str, value: bytes, expected: int) -> int | None:
        """As the port says."""
        bucket = await self._answer(self._opened())
        try:
            return await self._answer(bucket.update(key, value, last=expected))
        except KeyWrongLastSequenceError:
            return None

    async def get(self, key: str) -> StoreEntry | None:
        """As the port says; the leader of the bucket is asked, because a copy may be behind and have nothing."""
        await self._answer(self._opened())
        if self._js is None:
            raise CoordinationError("the store's connection is closed")
        try:
            found = await self._answer(self._js.get_last_msg(f"KV_{BUCKET}", f"$KV.{BUCKET}.{key}"))
        except NotFoundError as exc:
            if exc.err_code != _NO_MESSAGE:
                self._bucket = None
                raise CoordinationError(f"the store has no bucket {BUCKET} at the moment") from exc
            return None
        return StoreEntry(key, found.data or b"", found.seq or 0, _in_seconds(found.time))

    async def watch(self) -> AsyncIterator[StoreEntry]:
        """As the port says."""
        while True:
            watcher: KeyValue.KeyWatcher | None = None
            try:
                bucket = await self._answer(self._opened())
                watcher = await self._watcher(bucket)
                async for entry in _entries(watcher):
                    yield entry
            except (CoordinationError, NatsError, TimeoutError) as exc:
                logger.debug("the watch of the store is begun anew: %s", exc)
                await asyncio.sleep(RETRY_S)
            finally:
                if watcher is not None:
                    await _stop(watcher)

    async def close(self) -> None:
        """As the port says."""
        self._is_closed = True
        if self._late:  # the client ends what a watch has only while it is connected
            await asyncio.wait(self._late, timeout=LATE_S)
        client, self._client, self._bucket, self._js = self._client, None, None, None
        if client is not None:
            await _end(client)
        for task in (late := list(self._late)):
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _watcher(self, bucket: KeyValue) -> KeyValue.KeyWatcher:
        """Return a new watch.

        It is not cancelled: the client would leave its subscription, its tasks and the servers' consumer behind.
        """
        coming = asyncio.ensure_future(bucket.watchall(inactive_threshold=_INACTIVE_S))
        try:
            return await self._answer(asyncio.shield(coming))
        except BaseException:
            late = asyncio.ensure_future(_stop_late(coming))
            self._late.add(late)
            late.add_done_callback(self._late.discard)
            raise

    async def _answer(self, request: Awaitable[_T]) -> _T:
        """Wait for an answer, which is also "no"; what the caller does not expect is unknown.

        Raises:
            NotFoundError, KeyWrongLastSequenceError: the store's own "no".
            CoordinationError: no answer.
        """
        try:
            async with asyncio.timeout(REQUEST_S):
                answer = await request
        except KeyWrongLastSequenceError:
            raise
        except NotFoundError:
            raise
        except (NatsError, OSError, TimeoutError) as exc:
            if isinstance(exc, NoStreamResponseError):
                self._bucket = None  # perhaps the servers began anew, without it
            why = self._refusal or str(exc) or self._met or f"nothing came within {REQUEST_S:g} s"
            raise CoordinationError(f"the store did not answer: {why}") from exc
        self._refusal = self._met = ""
        return answer

    async def _opened(self) -> KeyValue:
        """Return the bucket, connected and made where that is needed."""
        async with self._opening:
            if self._is_closed:
                raise CoordinationError("the store's connection is closed")
            if self._client is not None and self._client.is_closed:  # as a server may tell it to be, for good
                self._client = self._js = self._bucket = None
            client = self._client = self._client or await self._connect()
            if not client.is_connected:
                raise CoordinationError("no server of the store can be reached")
            if self._bucket is None:
                self._js = client.jetstream(timeout=REQUEST_S)
                self._bucket = await self._found_or_made(self._js)
            return self._bucket

    async def _connect(self) -> Client:
        """Connect to one of the servers; from then on the client finds others by itself, for ever."""
        client = Client()
        connecting = asyncio.ensure_future(
            client.connect(
                self._servers,
                name=self._name,
                error_cb=self._note,
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RETRY_S,  # type: ignore[arg-type]  # it is slept for
                connect_timeout=1,
                ping_interval=1,
                max_outstanding_pings=2,
                nkeys_seed=None if self._seed_file is None else str(self._seed_file),
            )
        )
        try:
            # In a task of its own: a client that swallows the cancellation of who gave up would try for ever.
            await asyncio.wait({connecting})
            connecting.result()
        except BaseException:
            await end_tasks(connecting, again_s=CLOSE_S)
            await _end(client)
            raise
        return client

    async def _note(self, error: Exception) -> None:
        """Take in what the client meets. What is not permitted stays so until somebody hears: once, not each time."""
        said = mask_credentials(str(error) or type(error).__name__)
        if _NO_KEY in said.lower():
            said += ": the servers do not know this key, see --seed"
        is_news = said != self._refusal and any(word in said.lower() for word in (_NO_KEY, _NO_RIGHT))
        self._met = said
        if is_news:
            self._refusal = said
        logger.log(logging.WARNING if is_news else logging.DEBUG, "the store's connection: %s", said)

    async def _found_or_made(self, js: JetStreamContext) -> KeyValue:
        try:
            return await js.key_value(BUCKET)
        except BucketNotFoundError:
            config = KeyValueConfig(BUCKET, history=1, storage=StorageType.FILE, replicas=self._replicas)
            return await js.create_key_value(config)


async def _entries(watcher: KeyValue.KeyWatcher) -> AsyncIterator[StoreEntry]:
    """Yield what a watch brings; deletions, which nobody makes, are left out.

    Raises:
        TimeoutError: nothing came for `SILENT_S`.
    """
    while True:
        # Not by the client's own time limit: it is `asyncio.wait_for`, which up to Python 3.11 swallows a cancellation
        # that comes together with an entry. Who was to end then went on for ever.
        async with asyncio.timeout(SILENT_S):
            entry = await watcher.updates(timeout=None)  # type: ignore[no-untyped-call]
        if entry is not None and entry.operation is None:
            yield StoreEntry(entry.key, entry.value or b"", entry.revision or 0, _in_seconds(entry.created))


def _in_seconds(moment: object) -> float:
    """Return a time of the store's as seconds since the epoch, 0 where there is none: not all answers have one."""
    return moment.timestamp() if isinstance(moment, datetime) else 0.0


async def _stop(watcher: KeyValue.KeyWatcher) -> None:
    with suppress(NatsError, TimeoutError):
        async with asyncio.timeout(RETRY_S):
            await watcher.stop()  # type: ignore[no-untyped-call]


async def _stop_late(coming: asyncio.Future[KeyValue.KeyWatcher]) -> None:
    """End a watch that nobody waits for any more, once it has come, if it does."""
    (watcher,) = await asyncio.gather(coming, return_exceptions=True)
    if isinstance(watcher, BaseException):
        logger.debug("a watch of the store that was given up did not come: %s", watcher)
    else:
        await _stop(watcher)


async def _end(client: Client) -> None:
    """Close a connection, and let go of one whose end does not come."""
    closing = asyncio.ensure_future(client.close())
    await asyncio.wait({closing}, timeout=CLOSE_S)
    await end_tasks(closing, again_s=CLOSE_S)


def _is_worth_saying(record: logging.LogRecord) -> bool:
    """Whether the event loop's words are: at the end of each encrypted connection the client makes it say some."""
    return "eof_received() has no effect" not in record.getMessage()


logging.getLogger("asyncio").addFilter(_is_worth_saying)
