# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tells systemd how the run fares (sd_notify): started, alive, in one sentence, ending.

The protocol is a datagram of `NAME=value` lines to a UNIX socket: ten lines, for which no library is needed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

from vision_line.telemetry.liveness import Heartbeats

logger = logging.getLogger(__name__)

#: How often a message goes out, unless the watchdog wants it more often.
NOTIFY_EVERY_S = 2.0
#: An engine for a GPU takes minutes to build: while the device is opened, this much at a time is asked for,
START_EXTENDED_BY_S = 30
#: and in all this much. A device that is not open by then hangs, and a new start is the better bet.
START_TAKES_AT_MOST_S = 1800.0
#: After the last message records are still committed, and the event loop does not run meanwhile.
END_TAKES_S = 90


class SystemdSocket:
    """The socket that `NOTIFY_SOCKET` names; without one, as in a terminal, every message is left out."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{name[1:]}" if name.startswith("@") else name
        self._trouble = ""

    @property
    def is_there(self) -> bool:
        """Whether anybody wants to know."""
        return bool(self._address)

    def send(self, **assignments: str | int) -> None:
        """Send `NAME=value` lines; never blocks. What cannot be sent is logged, once for each reason."""
        message = "\n".join(f"{name}={value}" for name, value in assignments.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(message.encode(), self._address)
        except OSError as exc:
            if self._trouble != (trouble := exc.strerror or str(exc)):
                logger.warning("systemd cannot be told how the run fares: %s", trouble)
                self._trouble = trouble


class ServiceNotifier:
    """Speaks for one run, in the event loop: a loop that stands still says nothing, and the watchdog bites."""

    def __init__(
        self, beats: Heartbeats, status: Callable[[], str], environment: Mapping[str, str] = os.environ
    ) -> None:
        """`status` returns the run's state in one line."""
        self._beats = beats
        self._status = status
        self._systemd = SystemdSocket(environment)
        self._watchdog_s = _watchdog_s(environment)
        self._since_s: float | None = None  # the first message; monotonic
        self._is_ready = False
        self._hung = False

    async def run(self) -> None:
        """Tell systemd until cancelled; ends at once where there is none."""
        while self._systemd.is_there:
            self.tell(time.monotonic())
            await asyncio.sleep(min(NOTIFY_EVERY_S, self._watchdog_s / 4))

    def tell(self, now_s: float) -> None:
        """Send the state; that of the watchdog only while everything that must move does."""
        message: dict[str, str | int] = {"STATUS": self._status()}
        overdue = self._overdue(now_s)
        if self._beats.scheduler_s is not None and not self._is_ready:
            self._is_ready = True
            message["READY"] = 1
        elif self._beats.scheduler_s is None and not overdue:
            message["EXTEND_TIMEOUT_USEC"] = START_EXTENDED_BY_S * 1_000_000
        problems = [*self._beats.problems(now_s), *overdue]
        if problems and not self._hung:
            logger.error("systemd's watchdog is not fed: %s", "; ".join(problems))
        self._hung = bool(problems)
        if not problems:
            message["WATCHDOG"] = 1
        self._systemd.send(**message)

    def _overdue(self, now_s: float) -> list[str]:
        """Return a sentence if the device should have been open long ago."""
        self._since_s = now_s if self._since_s is None else self._since_s
        late = self._beats.scheduler_s is None and now_s - self._since_s > START_TAKES_AT_MOST_S
        return [f"no device was opened in {START_TAKES_AT_MOST_S / 60:.0f} min"] if late else []

    def ending(self) -> None:
        """Say that the run ends, and that its last commits may take their time."""
        if self._systemd.is_there:
            self._systemd.send(STOPPING=1, STATUS="ending", WATCHDOG_USEC=END_TAKES_S * 1_000_000)


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Return how long systemd waits for a sign of life; infinite without its watchdog, or if that is another's."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return float("inf")
    return int(environment.get("WATCHDOG_USEC", 0)) / 1e6 or float("inf")
