# SPDX-License-Identifier: AGPL-3.0-or-later
"""Nobody is told that the program runs."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, threading
import vision_line.devices.cpu.backend
print(sorted(name for name, module in sys.modules.items() if "openvino_telemetry" in name and module is not None))
print([thread.name for thread in threading.enumerate() if thread is not threading.main_thread()])
"""


def test_openvino_reports_nothing_to_its_makers() -> None:
    """Its usage statistics are not loaded, and no thread that would send them runs."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)

    assert done.stdout.splitlines() == ["[]", "[]"]
