# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line --streams ... --desk`: the desk lives with the run, and the run does not care."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.conftest import LineRun
from tests.fakes.ports import free_port
from tests.fakes.waiting import wait_for

from vision_line.cli.child_process import NICE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def desk_of(address: str) -> int | None:
    """Return the process of the desk that listens there, None where there is none."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile
            continue
        if b"vision_line.cli.desk_child" in words and address.encode() in words:
            return int(command.parent.name)
    return None


def answer_of(address: str) -> int | None:
    """Return the status that the first page has, None where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{address}/", timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        return exc.code
    except OSError:
        return None


def test_the_desk_is_started_again_and_a_killed_run_leaves_none(make_run: Callable[[int], LineRun]) -> None:
    """It asks who is there; its link is in no output that is kept; it has less priority than the line."""
    run, address = make_run(2), f"127.0.0.1:{free_port()}"
    run.start("--desk", "--desk-listen", address)
    wait_for(lambda: answer_of(address) == 401, "the desk asks who is there", 90)
    assert f"the desk is at http://{address};" in run.text()
    first = desk_of(address)
    assert first is not None
    assert os.getpriority(os.PRIO_PROCESS, first) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICE)

    os.kill(first, signal.SIGKILL)
    wait_for(lambda: desk_of(address) not in {None, first}, "another desk", 30)
    wait_for(lambda: answer_of(address) == 401, "it asks who is there", 60)
    run.wait_for_detections()
    assert "the desk has failed (exit code -9) and is started again in 1 s" in run.text()

    run.signal(signal.SIGKILL)
    wait_for(lambda: desk_of(address) is None, "no desk is left behind", 15)
    assert "token" not in run.text()


def test_a_run_that_ends_ends_the_desk(make_run: Callable[[int], LineRun]) -> None:
    """In order, and with the exit code that it has without a desk."""
    run, address = make_run(1), f"127.0.0.1:{free_port()}"
    run.start("--desk", "--desk-listen", address)
    run.wait_for_detections()
    wait_for(lambda: answer_of(address) == 401, "the desk asks who is there", 90)
    run.signal(signal.SIGINT)
    assert run.wait() == 130
    assert desk_of(address) is None
    assert run.summary()["cameras"]
    assert "the desk has" not in run.text()
