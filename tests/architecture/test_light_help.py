# SPDX-License-Identifier: AGPL-3.0-or-later
"""Help and completion answer at once, and no command waits for the libraries of another."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("av", "cv2", "fastapi", "openvino", "pydantic", "torch")
PROGRAM = """
import sys
import vision_line.cli.main
print([name for name in sys.argv[1:] if name in sys.modules])
"""


def test_the_options_of_all_commands_load_nothing_heavy() -> None:
    """A command's libraries are loaded when it is carried out."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *HEAVY], check=True, capture_output=True, text=True)

    assert done.stdout == "[]\n"
