# SPDX-License-Identifier: AGPL-3.0-or-later
"""Help and completion answer at once, and no command waits for the code of another."""

from __future__ import annotations

import subprocess
import sys
from ast import literal_eval

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


def test_a_run_does_not_load_what_may_stand_beside_it() -> None:
    """Lanes, outputs and shipper are processes of their own: a run without them starts sooner and is smaller."""
    program = (
        "import sys, vision_line.cli.run; print([name for name in sys.modules if name.startswith('vision_line.')])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    rooms = {name.split(".")[1] for name in literal_eval(done.stdout)}
    assert "runtime" in rooms
    assert rooms.isdisjoint({"outputs", "shipping", "central", "desk"})
    assert "vision_line.lanes.lane_service" not in done.stdout
