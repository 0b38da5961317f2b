# SPDX-License-Identifier: AGPL-3.0-or-later
"""A client of the feed, for programs on the same machine.

Example:
    with FeedClient(Path("records")) as feed:
        feed.want(snapshots=True, frames={"*": "keyframes"})
        for message in feed:
            print(message.kind, message.header)

It blocks, is for one thread, and does not come back by itself: who wants that connects anew.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from vision_line.errors import RunError
from vision_line.feed.feed_socket import socket_address
from vision_line.feed.protocol import FROM_RUN, PROTOCOL, FeedFormatError, FeedMessage, Unpacker, packed
from vision_line.feed.wants import Want

#: How long a run has to answer, in seconds.
ANSWER_S = 5.0
_READ_BYTES = 1 << 18
_RETRY_S = 0.01
#: What a run of an earlier version refuses.
_LATER_KEYS = frozenset({"keyframe_results", "beats", "patience_s", "frames_wait", "snapshots_apart_s", "brief"})


class FeedClient:
    """A connection to the run that writes to a record directory.

    `hello` is the header of the run's first message. `reason` is why the feed has ended, "" while it lasts.
    """

    def __init__(self, directory: Path, timeout_s: float = ANSWER_S) -> None:
        """Connect, and wait for the run's hello.

        Raises:
            RunError: no run has a feed there, it does not answer, or speaks another version of the protocol.
        """
        self.reason = ""
        self._unpacker = Unpacker(FROM_RUN)
        self._received: deque[FeedMessage] = deque()
        self._chunk = memoryview(bytearray(_READ_BYTES))  # kept: another for each read costs more than the read
        self._socket = _connect(directory, timeout_s)
        try:
            self.hello = self._greeting(directory, timeout_s).header
        except BaseException:
            self._socket.close()
            raise

    def want(
        self,
        *,
        snapshots: bool = False,
        decisions: bool = False,
        journal: bool = False,
        beats: bool = False,
        results: Iterable[str] = (),
        keyframe_results: Iterable[str] = (),
        frames: Mapping[str, str] | None = None,
        patience_s: float = 0.0,
        frames_wait: bool = False,
        snapshots_apart_s: float = 0.0,
        brief: bool = False,
    ) -> None:
        """Say what is wanted from now on, in place of what was wanted before; the run answers with `wanted`.

        A run that has ended meanwhile cannot: `receive` then gives what it still said, and why.

        Args:
            snapshots: the run's state, four times a second.
            decisions: changes of events at once, before they are committed.
            journal: the number of the newest entry after each commit.
            beats: a message ten times a second, so that silence is noticed soon.
            results: cameras whose inspected frames are wanted, `*` for all.
            keyframe_results: cameras of which those inspected frames are wanted that come as keyframes, `*` for all;
                a run that does not know this sends them with all the others.
            frames: cameras, `*` for all others, and of each `keyframes` or `all`.
            patience_s: how long results, snapshots and keyframes may wait to come with something else, at most 1 s; a
                run that does not know this sends them at once.
            frames_wait: whether the frames of cameras of which all are wanted may wait as long, too.
            snapshots_apart_s: how long after a snapshot the next one is wanted, at most 2 s.
            brief: whether boxes are all that is wanted of results, without events and followed objects. A run that does
                not know these three does not do so.

        Raises:
            ValueError: `frames` has another choice, or a time is too long.
            RunError: the run hangs.
        """
        known = self.hello.get("wants", ())
        is_known = "keyframe_results" in known
        want = Want.model_validate(
            {
                "snapshots": snapshots,
                "decisions": decisions,
                "journal": journal,
                "beats": beats,
                "results": [*results, *(() if is_known else keyframe_results)],
                "keyframe_results": list(keyframe_results) if is_known else [],
                "frames": dict(frames or {}),
                "patience_s": patience_s,
                "frames_wait": frames_wait,
                "snapshots_apart_s": snapshots_apart_s,
                "brief": brief,
            }
        )
        unknown = _LATER_KEYS.difference(known)
        asked = packed({key: said for key, said in want.header.items() if key not in unknown})
        try:
            with suppress(ConnectionError):  # the run has gone: `receive` says so, after what it still said
                self._socket.sendall(asked)
        except TimeoutError as exc:
            raise RunError("feed: the run hangs: it does not take what is wanted") from exc

    def receive(self, timeout_s: float | None = None) -> FeedMessage | None:
        """Return the next message, None when the feed has ended: then `reason` says why.

        Raises:
            TimeoutError: none came within `timeout_s`. With snapshots a second without one means that the run hangs.
            RunError: what came is no message.
        """
        ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._received:
            if self.reason:
                return None
            self._read(None if ends_s is None else max(0.0, ends_s - time.monotonic()))
        message = self._received.popleft()
        if message.kind != "bye":
            return message
        self.reason = str(message.header.get("reason", "")) or "no reason given"
        return None

    def waiting(self) -> list[FeedMessage]:
        """Return the messages that came together with the last one; the end of the feed is left to `receive`."""
        came = len(self._received)
        count = next((n for n, message in enumerate(self._received) if message.kind == "bye"), came)
        return [self._received.popleft() for _ in range(count)]

    def __iter__(self) -> Iterator[FeedMessage]:
        """Yield messages until the feed has ended."""
        while (message := self.receive()) is not None:
            yield message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; may be called twice."""
        self._socket.close()

    def _greeting(self, directory: Path, timeout_s: float) -> FeedMessage:
        try:
            hello = self.receive(timeout_s)
        except TimeoutError as exc:
            raise RunError(f"{directory}: the run does not answer") from exc
        if hello is None:
            raise RunError(f"{directory}: {self.reason}")
        if hello.kind != "hello" or hello.header.get("protocol") != PROTOCOL:
            found = hello.header.get("protocol", "none")
            raise RunError(f"{directory}: expected version {PROTOCOL} of the feed's protocol, found {found}")
        return hello

    def _read(self, timeout_s: float | None) -> None:
        """Wait for bytes, and take the messages that they complete."""
        self._socket.settimeout(timeout_s or 1e-6 if timeout_s is not None else None)
        try:
            size = self._socket.recv_into(self._chunk)
        except TimeoutError:
            raise
        except OSError as exc:
            self.reason = f"the connection was lost: {exc.strerror or exc}"
            return
        if not size:
            self.reason = "the run ended without a word"
            return
        try:
            self._received.extend(self._unpacker.push(self._chunk[:size]))
        except FeedFormatError as exc:
            raise RunError(f"feed: {exc}") from exc


def _connect(directory: Path, timeout_s: float) -> socket.socket:
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    connecting.settimeout(timeout_s)
    try:
        with socket_address(directory) as address:
            _connect_in_turn(connecting, address, time.monotonic() + timeout_s)
    except OSError as exc:
        connecting.close()
        raise RunError(f"{directory}: no run has a live feed there: {exc.strerror or exc}") from exc
    return connecting


def _connect_in_turn(connecting: socket.socket, address: str, ends_s: float) -> None:
    """Connect; while many others do, the kernel does not wait by itself."""
    while True:
        try:
            connecting.connect(address)
        except BlockingIOError:
            if time.monotonic() >= ends_s:
                raise
            time.sleep(_RETRY_S)
        else:
            return
