# SPDX-License-Identifier: AGPL-3.0-or-later
"""The five minutes of docs/outputs/modbus.md as they stand: real processes, a PLC of ten lines, and no line."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from tests.fakes.ports import free_port

PAGE = Path(__file__).parents[3] / "docs/outputs/modbus.md"
FENCE = 3 * chr(96)
STREAMS = """config_version = 1
[[stream]]
name = "cam1"
url = "rtsp://127.0.0.1/cam1"
[[lane]]
name = "lane-1"
cameras = ["cam1"]
window_ms = [0.0, 300.0]
ejector_ms = 1500.0
"""


def block(language: str) -> str:
    """Return the first piece of code of the page in a language."""
    found = re.search(
        rf"^{FENCE}{language}\n(.*?)^{FENCE}$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert found is not None
    return found[1]


def test_a_part_is_triggered_and_without_a_line_it_is_not_inspected(tmp_path: Path) -> None:
    port = free_port()
    streams = STREAMS + block("toml").replace("1502", str(port), 1)
    (tmp_path / "streams.toml").write_text(streams, encoding="utf-8")
    (tmp_path / "plc.py").write_text(block("python"), encoding="utf-8")
    command = [sys.executable, "-m", "vision_line", "lanes", "--streams", "streams.toml", "--record", "records"]
    with (tmp_path / "log").open("wb") as log:
        lanes = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        ends_s = time.monotonic() + 60
        asked = [sys.executable, "plc.py", "127.0.0.1", str(port), "17"]
        while True:
            plc = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False)
            if plc.returncode == 0 or time.monotonic() > ends_s:
                break
            time.sleep(0.2)
    finally:
        lanes.terminate()
        lanes.wait(20)
    log_text = (tmp_path / "log").read_text(encoding="utf-8")
    assert plc.stdout.splitlines() == ["map version 1", "verdict not inspected"], log_text + plc.stderr
