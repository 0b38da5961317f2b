# SPDX-License-Identifier: AGPL-3.0-or-later
"""A run of the command as systemd's service: what it tells through a real notify socket."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import service_filter
from tests.fakes.waiting import wait_for

pytestmark = pytest.mark.e2e


def test_a_service_says_when_it_inspects_lives_and_ends(
    make_run: Callable[[int], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """READY comes after the device is open, the watchdog is fed all the time, STOPPING is the last word."""
    run, address = make_run(1), str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(0.2)
        heard: list[dict[str, str]] = []

        def hear(word: str) -> bool:
            """Whether a message with `word` has come, now or before."""
            with suppress(TimeoutError):
                heard.append(dict(line.split("=", 1) for line in systemd.recv(65536).decode().split("\n")))
            return any(word in message for message in heard)

        run.start()
        wait_for(lambda: hear("READY"), f"READY; output: {run.text()[-2000:]}")
        run.wait_for_detections()
        ready = next(number for number, message in enumerate(heard) if "READY" in message)
        wait_for(lambda: len(heard) > ready + 5 or hear("none"), "more messages")
        run.signal(signal.SIGTERM)
        wait_for(lambda: hear("STOPPING"), "STOPPING")
        assert run.wait() == 130

    assert all("EXTEND_TIMEOUT_USEC" in message for message in heard[:ready])
    assert all(message["WATCHDOG"] == "1" for message in heard if "STOPPING" not in message)
    assert any("1/1 running" in message["STATUS"] for message in heard[ready:])
    assert sum("READY" in message for message in heard) == 1


def test_a_run_and_its_seal_need_no_call_that_the_unit_forbids(make_run: Callable[[int], Any]) -> None:
    """Under the unit's filter, that here kills at the first other call, a run records and seals; the clock is read."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze (apt install systemd)")
    run = make_run(1)
    run.prefix = [sys.executable, service_filter.__file__]
    run.start()
    run.wait_for_detections()
    run.signal(signal.SIGTERM)

    assert run.wait() == 130, run.text()[-2000:]
    sealed = [json.loads(body) for (body,) in run.query("SELECT body FROM journal WHERE kind = 'seal'")]
    assert [seal["clock"]["synchronised"] is None for seal in sealed] == [False]
