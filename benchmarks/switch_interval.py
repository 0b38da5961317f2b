# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether the interpreter's switch interval matters with 16 decoding threads: ours against Python's default.

Run: python -m benchmarks.switch_interval [PAIRS] [SECONDS]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.cameras import ensure_long_videos, gstreamer_cameras
from benchmarks.contenders import write_streams
from benchmarks.rounds import Report, add_rounds, interleave
from vision_line.cli.run import SWITCH_INTERVAL_S
from vision_line.simulator.clips import default_directory, ensure_clips

CAMERAS = 16
PYTHONS_S = 0.005

CODE = """
import sys
import vision_line.cli.run as running
running.SWITCH_INTERVAL_S = float(sys.argv.pop(1))
from vision_line.cli import main
main()
"""


def main() -> None:
    """Measure and publish."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    videos = ensure_long_videos(ensure_clips(4, 1), default_directory() / "long", 2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def inspected_fps(interval_s: float) -> float:
            with gstreamer_cameras(videos, CAMERAS) as cameras:
                write_streams(folder / "streams.toml", cameras.urls)
                command = [sys.executable, "-c", CODE, str(interval_s), "--streams", "streams.toml", "--headless"]
                command += ["--duration", str(seconds), "--summary", "s.json"]
                quiet = subprocess.DEVNULL
                subprocess.run(command, cwd=folder, check=True, stdout=quiet, stderr=quiet)
            return float(json.loads((folder / "s.json").read_text(encoding="utf-8"))["totals"]["inspected_fps"])

        contenders = {
            f"{SWITCH_INTERVAL_S * 1000:g} ms (ours)": lambda: inspected_fps(SWITCH_INTERVAL_S),
            f"{PYTHONS_S * 1000:g} ms (Python's)": lambda: inspected_fps(PYTHONS_S),
        }
        rounds = interleave(contenders, pairs, "frames/s")
    report = Report("switch_interval")
    add_rounds(report, rounds, f"{PYTHONS_S * 1000:g} ms (Python's)")
    report.publish()


if __name__ == "__main__":
    main()
