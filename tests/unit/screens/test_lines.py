# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lines for readers that are slow, stuck, gone, or on a full disk: nobody waits, and what was lost is said."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vision_line.screens.lines import LineWriter, say, sink_on
from vision_line.screens.logs import logging_to_file, logging_to_stream

#: The smallest pipe that Linux makes.
PIPE_BYTES = 4096
_F_SETPIPE_SZ = 1031


class Pipe:
    """A small pipe whose reading end is read on demand."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        fcntl.fcntl(writer, _F_SETPIPE_SZ, PIPE_BYTES)
        self.stream = os.fdopen(writer, "w")

    def fill(self) -> None:
        """Have it take no more."""
        os.write(self.stream.fileno(), b"x" * PIPE_BYTES)

    def read_until(self, words: str) -> str:
        """Read until `words` came; return all that came."""
        text = ""
        while words not in text:
            text += os.read(self.reader, 65536).decode()
        return text


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe that is closed afterwards."""
    made = Pipe()
    yield made
    os.close(made.reader)
    made.stream.close()


def test_lines_come_out_in_order(pipe: Pipe) -> None:
    """All that was put is written before a close returns."""
    writer = LineWriter(sink_on(pipe.stream))
    for number in range(100):
        writer.put(str(number))
    writer.close()

    assert pipe.read_until("99\n") == "".join(f"{number}\n" for number in range(100))


def test_a_stuck_reader_loses_the_oldest_lines_and_learns_how_many(pipe: Pipe) -> None:
    """Putting takes no time; when the reader goes on, it reads what was lost where, and then the newest lines."""
    pipe.fill()
    writer = LineWriter(sink_on(pipe.stream), capacity=3)
    started_s = time.monotonic()
    for number in range(1000):
        writer.put(f"line {number}")
    assert time.monotonic() - started_s < 5
    assert writer.problem == "nobody reads them"
    text = pipe.read_until("line 999\n")
    writer.put("more")
    pipe.read_until("more\n")
    writer.close()

    assert "lines were lost here: nobody reads them)\nline 997\nline 998\nline 999\n" in text
    assert writer.problem == ""


def test_a_close_does_not_wait_for_a_stuck_reader(pipe: Pipe) -> None:
    """A program can end."""
    pipe.fill()
    started_s = time.monotonic()
    say("good-bye", pipe.stream)

    assert time.monotonic() - started_s < 10


class FullDisk:
    """A sink that refuses for a while."""

    def __init__(self) -> None:
        self.full = True
        self.text = ""
        self.asked = threading.Semaphore(0)

    def write(self, text: str) -> None:
        """Take or refuse."""
        full = self.full
        if not full:
            self.text += text
        self.asked.release()
        if full:
            raise OSError(28, "No space left on device")

    def close(self) -> None:
        """Do nothing."""


def test_a_full_disk_is_tried_again() -> None:
    """What was lost is counted, and said as soon as there is room."""
    disk = FullDisk()
    writer = LineWriter(disk)
    for line in ("a", "b"):
        writer.put(line)
        assert disk.asked.acquire(timeout=60)
    disk.full = False
    writer.put("c")
    writer.put("d")
    writer.close()

    assert disk.text == "(2 lines were lost here: No space left on device)\nc\nd\n"


def test_a_pipe_that_does_not_block_is_waited_for_in_the_thread(pipe: Pipe) -> None:
    """Whoever shares the pipe may have made it so; no half lines."""
    os.set_blocking(pipe.stream.fileno(), False)
    pipe.fill()
    writer = LineWriter(sink_on(pipe.stream))
    writer.put("y" * 10_000)

    assert pipe.read_until("\n") == "x" * PIPE_BYTES + "y" * 10_000 + "\n"
    writer.close()


def test_logging_never_waits(pipe: Pipe) -> None:
    """Whoever logs goes on, however many lines nobody reads."""
    pipe.fill()
    logger = logging.getLogger("test")
    started_s = time.monotonic()
    with logging_to_stream(pipe.stream):
        for number in range(3000):
            logger.warning("line %s", number)
    assert time.monotonic() - started_s < 20


def test_a_log_file_that_cannot_be_written_stops_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed over the dashboard, and what was lost is said in the file."""
    with logging_to_file(tmp_path) as path:
        logging.getLogger("test").warning("first")
        logging.getLogger("test").warning("last")

    assert [line.split(": ")[1] for line in path.read_text().splitlines()] == ["first", "last"]
    assert capfd.readouterr() == ("", "")
