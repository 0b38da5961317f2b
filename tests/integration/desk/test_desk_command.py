# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line desk` as a process: its link, its signals, what it refuses."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.fakes.ports import free_port

from vision_line.errors import ExitCode


def started(record: Path, port: int) -> subprocess.Popen[str]:
    """Start the command."""
    command = [sys.executable, "-m", "vision_line", "desk", "--record", str(record), "--listen", f"127.0.0.1:{port}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def link_of(process: subprocess.Popen[str]) -> str:
    """Return the address that the command prints next."""
    assert process.stdout is not None
    found = re.fullmatch(r"open once in a browser: (http://\S+)\n", process.stdout.readline())
    assert found is not None
    return found[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """Also while a browser holds a connection open."""
    port = free_port()
    with started(tmp_path, port) as process:
        link_of(process)
        with socket.create_connection(("127.0.0.1", port)):
            process.send_signal(number)
            assert process.wait(60) == ExitCode.INTERRUPTED
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_the_printed_link_opens_it_once(tmp_path: Path) -> None:
    with started(tmp_path, free_port()) as process:
        link = link_of(process)
        assert httpx.get(link, follow_redirects=True, timeout=60).status_code == 503  # signed in, and no records yet
        assert httpx.get(link, follow_redirects=True, timeout=60).status_code == 401
        assert link_of(process) != link
        process.terminate()


def test_a_busy_port_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, started(tmp_path, server.getsockname()[1]) as process:
        _, said = process.communicate(timeout=60)
        assert process.returncode == ExitCode.FAILED
        assert "cannot listen: Address already in use" in said


@pytest.mark.parametrize(
    ("listen", "says"),
    [
        ("0.0.0.0:8080", "others need users"),
        ("192.0.2.1:8080", "others need users"),
        ("8080", "expected an IP address"),
    ],
)
def test_only_this_machine_without_users(tmp_path: Path, listen: str, says: str) -> None:
    command = [sys.executable, "-m", "vision_line", "desk", "--record", str(tmp_path), "--listen", listen]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.CONFIG
    assert says in done.stderr


def test_a_missing_extra_is_one_sentence(tmp_path: Path) -> None:
    """The runtime's core does without a web server."""
    program = (
        "import sys; sys.modules['fastapi'] = None\n"
        "from vision_line.cli.desk import DeskOptions, serve_desk; from pathlib import Path\n"
        f"serve_desk(DeskOptions(Path({str(tmp_path)!r})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "run pip install '.[desk]' in the clone of vision-line" in done.stderr
