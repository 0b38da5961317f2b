# SPDX-License-Identifier: AGPL-3.0-or-later
"""The dashboard on a real pseudo-terminal: what it shows, and that the terminal is always given back."""

from __future__ import annotations

import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path

import pyte
import pytest

from vision_line.screens.logs import LOG_NAME

COLUMNS, LINES = 100, 30

#: A program with a dashboard; argument 1 says how it ends, argument 2 is a file that grows while its loop is alive.
PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from rich.console import Console
from vision_line.frames import CameraState
from vision_line.screens.dashboard import run_dashboard
from vision_line.screens.logs import logging_to_file
from vision_line.screens.printed_lines import printed_lines_logged
from vision_line.telemetry.snapshot import CameraSnapshot, Snapshot

how, ticks = sys.argv[1], Path(sys.argv[2])
cameras = tuple(CameraSnapshot(f"cam{n:02}", CameraState.RUNNING, sequence=1) for n in range(16))
drawn = 0

def snapshot():
    global drawn
    drawn += 1
    ticks.write_text(str(drawn))
    if how == "prints":
        os.write(1, b"Decode Error occurred for picture 7\\n")
    if how == "error" and drawn > 3:
        raise LookupError("the snapshot failed")
    broken = "no tuple" if how == "draw-error" and drawn > 3 else cameras
    return Snapshot("0.1.0", "cpu int8", "pcb", 0.0, 0.0, drawn, cameras=broken)

async def main():
    with logging_to_file(ticks.parent), printed_lines_logged(Console()) as console:
        task = asyncio.create_task(run_dashboard(snapshot, 50, console))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            pass
    ticks.with_name("drained").touch()
    print("drained")

asyncio.run(main())
"""


class Terminal:
    """A pseudo-terminal with the program on it."""

    def __init__(self, how: str, ticks: Path) -> None:
        self.ticks = ticks
        self.output = b""
        self.master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        environment = os.environ | {"TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(sys.path)}
        environment |= {"COLUMNS": str(COLUMNS), "LINES": str(LINES)}
        alone = how == "prints"  # the standard output is all that it has of the terminal
        if alone:
            del environment["COLUMNS"], environment["LINES"]
        self.program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, how, str(ticks)],
            stdin=subprocess.DEVNULL if alone else slave,
            stdout=slave,
            stderr=subprocess.DEVNULL if alone else slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)

    def read_until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Take the program's output until `condition`; fail after `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline_s, self.output[-2000:]
            self.read()

    def read(self) -> None:
        """Take what is there, waiting a moment for something to come."""
        if select.select([self.master], [], [], 0.05)[0]:
            try:
                self.output += os.read(self.master, 65536)
            except OSError:  # EIO: the other end is closed
                time.sleep(0.01)

    def screen(self) -> str:
        """Return what a terminal shows after all output so far."""
        screen = pyte.Screen(COLUMNS, LINES)
        pyte.ByteStream(screen).feed(self.output)
        return "\n".join(screen.display)

    def drawn(self) -> int:
        """Return how many snapshots the program's event loop has made."""
        text = self.ticks.read_text() if self.ticks.exists() else ""
        return int(text or 0)

    def is_given_back(self) -> bool:
        """Whether the alternate screen was left and the cursor shown, after it had been entered and hidden."""
        left = self.output.rfind(b"\x1b[?1049l") > self.output.rfind(b"\x1b[?1049h") >= 0
        return left and self.output.rfind(b"\x1b[?25h") > self.output.rfind(b"\x1b[?25l") >= 0

    def end(self) -> None:
        """End the program if it is still there, and close the terminal."""
        if self.program.poll() is None:
            self.program.kill()
        self.program.wait(60)
        os.close(self.master)


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Callable[[str], Terminal]]:
    """Return what starts the program on a new terminal; all are ended afterwards."""
    terminals: list[Terminal] = []

    def start(how: str) -> Terminal:
        terminals.append(Terminal(how, tmp_path / "ticks"))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.end()


def test_dashboard_is_shown(open_terminal: Callable[[str], Terminal]) -> None:
    """The terminal shows the whole dashboard, in place, and not one below the other."""
    terminal = open_terminal("run")
    terminal.read_until(lambda: terminal.drawn() > 5 and "cam15" in terminal.screen())

    assert terminal.screen().count("vision-line") == 1
    assert terminal.output.count(b"\x1b[2J") <= 1  # nothing is erased between screens: no flicker


def test_what_a_library_prints_is_not_on_the_screen(open_terminal: Callable[[str], Terminal]) -> None:
    """It is in the log; the screen is as large as the terminal, though the standard output leads elsewhere."""
    terminal = open_terminal("prints")
    log = terminal.ticks.with_name(LOG_NAME)
    terminal.read_until(lambda: terminal.drawn() > 5 and "cam15" in terminal.screen())
    terminal.read_until(lambda: "a library printed: Decode Error occurred for picture 7" in log.read_text())

    assert b"Decode Error" not in terminal.output
    assert max(len(line.rstrip()) for line in terminal.screen().splitlines()) > 80
    terminal.program.send_signal(signal.SIGTERM)
    terminal.read_until(lambda: terminal.program.poll() is not None and b"drained" in terminal.output)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_terminal_is_given_back_on_signals(open_terminal: Callable[[str], Terminal], number: int) -> None:
    """SIGTERM and Ctrl-C leave the alternate screen and show the cursor."""
    terminal = open_terminal("run")
    terminal.read_until(lambda: b"cam15" in terminal.output)
    terminal.program.send_signal(number)
    terminal.read_until(lambda: terminal.program.poll() is not None and terminal.is_given_back())


@pytest.mark.parametrize(("how", "error"), [("error", b"LookupError"), ("draw-error", b"AttributeError")])
def test_terminal_is_given_back_on_errors(open_terminal: Callable[[str], Terminal], how: str, error: bytes) -> None:
    """An error in making or drawing a snapshot ends the program with its traceback on the ordinary screen."""
    terminal = open_terminal(how)
    terminal.read_until(lambda: terminal.program.poll() is not None and error in terminal.output)

    assert terminal.program.returncode == 1
    assert terminal.is_given_back()
    assert terminal.output.rfind(error) > terminal.output.rfind(b"\x1b[?1049l")


def test_paused_terminal_stops_neither_loop_nor_exit(open_terminal: Callable[[str], Terminal]) -> None:
    """While the terminal takes no output (Ctrl-S) the event loop goes on, and the program can still end."""
    terminal = open_terminal("run")
    terminal.read_until(lambda: b"cam15" in terminal.output)
    os.write(terminal.master, b"\x13")
    seen = terminal.drawn()
    terminal.read_until(lambda: terminal.drawn() > seen + 100)
    terminal.program.send_signal(signal.SIGTERM)
    terminal.read_until(terminal.ticks.with_name("drained").exists)
    os.write(terminal.master, b"\x11")
    terminal.read_until(lambda: terminal.program.poll() is not None)

    assert terminal.program.returncode == 0


def test_closed_terminal_ends_only_the_dashboard(open_terminal: Callable[[str], Terminal]) -> None:
    """When the terminal goes away the dashboard ends without an error of its own."""
    terminal = open_terminal("run")
    terminal.read_until(lambda: b"cam15" in terminal.output)
    os.close(terminal.master)
    terminal.master = os.open(os.devnull, os.O_RDONLY)

    assert terminal.program.wait(60) in (0, 1, 120)  # its last print may fail; nothing hangs, nothing aborts
    assert "terminal is gone" in (terminal.ticks.parent / LOG_NAME).read_text()
