# SPDX-License-Identifier: AGPL-3.0-or-later
"""What receiving and decoding 16 cameras takes, at three bit rates: our camera threads beside bare decoding.

Bare decoding is PyAV's: FFmpeg receives, joins and decodes, a thread for each camera, and nobody looks at the frames.
Both are counted in cores used by the whole process, in turns. Run: python -m benchmarks.ingest [PAIRS] [SECONDS]
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.cameras import ensure_encoded, gstreamer_cameras
from benchmarks.contenders import BARE_DECODE, CAMERA_THREADS, run_child
from benchmarks.rounds import Report, interleave
from vision_line.simulator.clips import default_directory, ensure_clips

#: Cameras, their size, and what each sends in Mbit/s. Two cores decode no more of the larger ones.
LOADS = ((16, (640, 360), 1.5), (8, (1280, 720), 4.0), (4, (1920, 1080), 8.0))
MINUTES = 2


def main() -> None:
    """Measure and publish."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    report = Report("ingest")
    clips = ensure_clips(4, 1)
    for cameras, size_wh, mbit_s in LOADS:
        videos = [ensure_encoded(clip, default_directory() / "long", size_wh, mbit_s, MINUTES) for clip in clips]

        def cores(code: str, videos: list[Path] = videos, cameras: int = cameras) -> float:
            with gstreamer_cameras(videos, cameras) as served:
                return run_child(code, str(seconds), *served.urls)

        contenders = {"camera threads": lambda: cores(CAMERA_THREADS), "bare": lambda: cores(BARE_DECODE)}
        rounds = interleave(contenders, pairs, "cores")
        low, middle, high = rounds.ratio("camera threads", "bare")
        report.add(
            load=f"{cameras} x {size_wh[0]}x{size_wh[1]}, {mbit_s:g} Mbit/s",
            camera_threads=f"{rounds.median('camera threads'):.3f} cores",
            bare=f"{rounds.median('bare'):.3f} cores",
            ratio=f"{middle:.2f} ({low:.2f} - {high:.2f})",
        )
    report.publish()


if __name__ == "__main__":
    main()
