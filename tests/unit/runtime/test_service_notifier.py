# SPDX-License-Identifier: AGPL-3.0-or-later
"""What systemd is told, through a real datagram socket."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from vision_line.runtime.service_notifier import ServiceNotifier
from vision_line.telemetry.liveness import Heartbeats

NOW_S = 1000.0


class Systemd:
    """systemd's end of the socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def heard(self) -> list[dict[str, str]]:
        """Return the messages that came since the last call."""
        messages = []
        with suppress(BlockingIOError):
            while True:
                lines = self._socket.recv(65536).decode().split("\n")
                messages.append(dict(line.split("=", 1) for line in lines))
        return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[tuple[Systemd, dict[str, str]]]:
    """Give systemd's end and the environment that it gives its services."""
    name = str(tmp_path / "notify")
    found = Systemd(name)
    yield found, {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    found.close()


def test_ready_is_said_once_when_the_line_is_inspected(systemd: tuple[Systemd, dict[str, str]]) -> None:
    """Until then the start is given more time, and is watched already."""
    end, environment = systemd
    beats = Heartbeats(NOW_S)
    notifier = ServiceNotifier(beats, lambda: "0/2 running", environment)
    notifier.tell(NOW_S)
    beats.scheduler_s = NOW_S
    notifier.tell(NOW_S)
    notifier.tell(NOW_S)

    assert end.heard() == [
        {"STATUS": "0/2 running", "EXTEND_TIMEOUT_USEC": "30000000", "WATCHDOG": "1"},
        {"STATUS": "0/2 running", "READY": "1", "WATCHDOG": "1"},
        {"STATUS": "0/2 running", "WATCHDOG": "1"},
    ]


def test_a_device_that_never_opens_is_not_waited_for_forever(
    systemd: tuple[Systemd, dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    """For half an hour an engine may build; then systemd gets nothing that keeps it waiting, and the log says why."""
    end, environment = systemd
    beats = Heartbeats(NOW_S)
    notifier = ServiceNotifier(beats, str, environment)
    for now_s in (NOW_S, NOW_S + 1800, NOW_S + 1801, NOW_S + 1803):
        beats.loop_s = now_s
        notifier.tell(now_s)
    beats.scheduler_s = NOW_S + 1804
    notifier.tell(NOW_S + 1804)

    heard = end.heard()
    assert ["EXTEND_TIMEOUT_USEC" in message for message in heard] == [True, True, False, False, False]
    assert ["WATCHDOG" in message for message in heard] == [True, True, False, False, True]
    assert [record.getMessage() for record in caplog.records] == [
        "systemd's watchdog is not fed: no device was opened in 30 min"
    ]


def test_the_watchdog_is_fed_only_while_everything_moves(
    systemd: tuple[Systemd, dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    """A scheduler that hangs is told once, and is a restart's business; one that moves again feeds it again."""
    end, environment = systemd
    beats = Heartbeats(NOW_S, NOW_S)
    notifier = ServiceNotifier(beats, str, environment)
    for scheduler_s in (NOW_S, NOW_S - 60, NOW_S - 61, NOW_S):
        beats.scheduler_s = scheduler_s
        notifier.tell(NOW_S)

    assert ["WATCHDOG" in message for message in end.heard()] == [True, False, False, True]
    assert [record.getMessage() for record in caplog.records] == [
        "systemd's watchdog is not fed: the scheduler's thread has not moved for 60 s"
    ]


def test_the_end_is_announced_and_gets_its_time(systemd: tuple[Systemd, dict[str, str]]) -> None:
    """The last commits may take longer than the watchdog's period."""
    end, environment = systemd
    ServiceNotifier(Heartbeats(NOW_S), str, environment).ending()

    assert end.heard() == [{"STOPPING": "1", "STATUS": "ending", "WATCHDOG_USEC": "90000000"}]


async def test_an_event_loop_that_stands_still_says_nothing(systemd: tuple[Systemd, dict[str, str]]) -> None:
    """The messages come from the loop itself, four to a watchdog's period."""
    end, environment = systemd
    now_s = time.monotonic()
    notifier = ServiceNotifier(Heartbeats(now_s, now_s), str, environment | {"WATCHDOG_USEC": "80000"})
    task = asyncio.create_task(notifier.run())
    while len(end.heard()) == 0:  # noqa: ASYNC110  the socket has no event to wait for
        await asyncio.sleep(0.01)
    time.sleep(0.3)  # noqa: ASYNC251  it is the loop that is to stand still
    during = end.heard()
    while len(end.heard()) == 0:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    task.cancel()

    assert len(during) <= 1


async def test_without_systemd_nothing_is_sent() -> None:
    """In a terminal the task ends at once; a status would cost something."""

    def status() -> str:
        raise AssertionError("nobody asked")

    notifier = ServiceNotifier(Heartbeats(NOW_S), status, {})
    await asyncio.wait_for(notifier.run(), 60)
    notifier.ending()


def test_abstract_sockets_are_spoken_to() -> None:
    """A name that begins with `@` lies in no folder."""
    name = f"vision-line-test-{os.getpid()}"
    end = Systemd(f"\0{name}")
    ServiceNotifier(Heartbeats(NOW_S), str, {"NOTIFY_SOCKET": f"@{name}"}).tell(NOW_S)

    assert len(end.heard()) == 1
    end.close()


def test_a_socket_that_is_gone_ends_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, not every two seconds."""
    notifier = ServiceNotifier(Heartbeats(NOW_S), str, {"NOTIFY_SOCKET": str(tmp_path / "gone")})
    with caplog.at_level(logging.WARNING):
        notifier.tell(NOW_S)
        notifier.tell(NOW_S)

    assert [record.getMessage() for record in caplog.records] == [
        "systemd cannot be told how the run fares: No such file or directory"
    ]


def test_another_processes_watchdog_is_not_ours(systemd: tuple[Systemd, dict[str, str]]) -> None:
    """Who inherits the variables does not speak any faster."""
    _, environment = systemd
    notifier = ServiceNotifier(Heartbeats(NOW_S), str, environment | {"WATCHDOG_PID": "1"})

    assert notifier._watchdog_s == float("inf")
