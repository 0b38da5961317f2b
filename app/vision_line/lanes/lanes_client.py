# SPDX-License-Identifier: AGPL-3.0-or-later
"""A client of `vision-line lanes`, for doors and programs on the same machine.

Example:
    with LanesClient(Path("records")) as lanes:
        lanes.follow()
        sequence = lanes.part("lane-1", part_id="B-00017", number=17)
        decision = lanes.next_decision(timeout_s=1.0)

It blocks, is for one thread, and does not come back by itself: who wants that connects anew.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from vision_line.errors import ConfigError, RunError
from vision_line.feed.feed_socket import socket_address
from vision_line.feed.protocol import FeedFormatError, FeedMessage, Header, Unpacker, packed
from vision_line.lanes.lanes_protocol import EVERY_LANE, LANES_LIMITS, LANES_SOCKET

#: How long an answer may take, in seconds.
ANSWER_S = 2.0
_READ_BYTES = 1 << 16


class LanesClient:
    """A connection to the `vision-line lanes` of a record directory.

    Each method raises `RunError` where the process has gone or does not answer, and `ConfigError` with its words where
    it refuses.
    """

    def __init__(self, directory: Path, timeout_s: float = ANSWER_S) -> None:
        """Connect.

        Raises:
            RunError: no such process is there.
        """
        self._timeout_s = timeout_s
        self._unpacker = Unpacker(LANES_LIMITS)
        self._answers: deque[FeedMessage] = deque()
        self._decisions: deque[Header] = deque()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(timeout_s)
        try:
            with socket_address(directory, LANES_SOCKET) as address:
                self._socket.connect(address)
        except OSError as exc:
            self._socket.close()
            raise RunError(f"{directory}: no vision-line lanes runs there: {exc.strerror or exc}") from exc

    def part(
        self,
        lane: str,
        *,
        part_id: str = "",
        number: int | None = None,
        at_s: float | None = None,
        lot: str | None = None,
        recipe: str | None = None,
        encoder: int | None = None,
    ) -> int:
        """Say that a part begins to pass a lane, at `at_s` of the monotonic clock or now; return its `sequence`."""
        at_s = time.monotonic() if at_s is None else at_s  # however late this is read
        asked = {"number": number, "at_s": at_s, "lot": lot, "recipe": recipe, "encoder": encoder}
        given = {key: value for key, value in asked.items() if value is not None}
        return int(self._ask({"kind": "part", "lane": lane, "part_id": part_id, **given})["sequence"])

    def encoder(self, lane: str, count: int, at_s: float | None = None) -> None:
        """Say where the belt of a lane is, at `at_s` of the monotonic clock or now."""
        at_s = time.monotonic() if at_s is None else at_s
        self._ask({"kind": "encoder", "lane": lane, "count": count, "at_s": at_s})

    def enable(self, lane: str, *, is_enabled: bool) -> None:
        """Have a lane decide, or divert everything."""
        self._ask({"kind": "enable", "lane": lane, "is_enabled": is_enabled})

    def counted(self, lane: str, parts: int, rejects: int) -> None:
        """Say what the machine counted since its start, to be compared."""
        self._ask({"kind": "counted", "lane": lane, "parts": parts, "rejects": rejects})

    def follow(self, lanes: Sequence[str] = (EVERY_LANE,)) -> None:
        """Be sent the decisions of these lanes from now on."""
        self._ask({"kind": "follow", "lanes": list(lanes)})

    def status(self) -> Header:
        """Return how the lanes are."""
        return self._ask({"kind": "status"})

    def next_decision(self, timeout_s: float) -> Header | None:
        """Return the next decision of the lanes that are followed, None: there was none in that time."""
        ends_s = time.monotonic() + timeout_s
        while not self._decisions:
            if not self._read(max(0.0, ends_s - time.monotonic())):
                return None
        return self._decisions.popleft()

    def close(self) -> None:
        """End the connection; may be called twice."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, header: Header) -> Header:
        try:
            self._socket.settimeout(self._timeout_s)
            self._socket.sendall(packed(header))
        except OSError as exc:
            raise RunError(f"vision-line lanes has gone: {exc.strerror or exc}") from exc
        ends_s = time.monotonic() + self._timeout_s
        while not self._answers:
            if not self._read(max(0.0, ends_s - time.monotonic())):
                self.close()  # an answer that comes later would be taken for the next one's
                raise RunError("vision-line lanes does not answer")
        answer = self._answers.popleft()
        if answer.kind == "refused":
            raise ConfigError(str(answer.header.get("reason", "")))
        return answer.header

    def _read(self, timeout_s: float) -> bool:
        """Take what comes within `timeout_s`; return whether anything did."""
        self._socket.settimeout(timeout_s or 1e-6)
        try:
            data = self._socket.recv(_READ_BYTES)
        except TimeoutError:
            return False
        except OSError as exc:
            raise RunError(f"vision-line lanes has gone: {exc.strerror or exc}") from exc
        if not data:
            raise RunError("vision-line lanes has ended")
        try:
            for message in self._unpacker.push(data):
                self._take(message)
        except FeedFormatError as exc:
            raise RunError(f"lanes: {exc}") from exc
        return True

    def _take(self, message: FeedMessage) -> None:
        if message.kind == "decision":
            self._decisions.append(message.header)
        else:
            self._answers.append(message)
