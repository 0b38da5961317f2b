# SPDX-License-Identifier: AGPL-3.0-or-later
"""Libraries print into the log, and not over the dashboard; never do they hold up the program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from vision_line.screens.logs import LOG_NAME
from vision_line.screens.printed_lines import LINES

#: Prints as the screen, as a library, and as one that keeps all other threads from running; argument 1 is a folder.
PROGRAM = """
import ctypes, os, sys
from pathlib import Path
from rich.console import Console
from vision_line.screens.logs import logging_to_file
from vision_line.screens.printed_lines import printed_lines_logged

with logging_to_file(Path(sys.argv[1])), printed_lines_logged(Console()) as console:
    console.print("the screen")
    for number in range(100):
        os.write(1, b"Decode Error occurred for picture %d\\n" % number)
    flood = b"x" * (1 << 20)
    ctypes.PyDLL(None).write(1, flood, len(flood))
    console.print("the screen again")
print("afterwards")
"""


def test_what_libraries_print_is_in_the_log(tmp_path: Path) -> None:
    """The first lines of many, and how many there were; what finds no room is lost instead of waited for."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=120)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "the screen\nthe screen again\nafterwards\n"
    log = (tmp_path / LOG_NAME).read_text(encoding="utf-8")
    assert "a library printed: Decode Error occurred for picture 0\n" in log
    assert log.count("a library printed:") == LINES
    assert "libraries printed" in log


def test_a_screen_elsewhere_leaves_the_standard_output_alone(tmp_path: Path) -> None:
    """Where the dashboard is on standard error, nothing is led away."""
    program = PROGRAM.replace("Console()", "Console(stderr=True)").replace("flood, len(flood)", "flood, 1")
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=120)

    assert done.stderr == "the screen\nthe screen again\n"
    assert done.stdout.startswith("Decode Error occurred for picture 0\n")
    assert "a library printed" not in (tmp_path / LOG_NAME).read_text(encoding="utf-8")
