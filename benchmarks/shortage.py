# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many parts get their inspections when decoding and inspecting share too few cores, beside what is possible.

In virtual time, so the figures are the same on every machine; see `benchmarks.shortage_line`. Load 1 is what the cores
can do: every frame decoded and every part inspected. Run: python -m benchmarks.shortage [SECONDS] [--nice]
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from benchmarks.rounds import Report
from benchmarks.shortage_line import SharedLine, play, share_with_enough
from vision_line.frames import DropCause

#: Two cores; what a frame costs each: 1280x720 with a small model, and 640x360 with a large one.
LINES = {
    "decoding costs most": SharedLine(cameras=0, cores=2, decode_s=0.005, inspect_s=0.010),
    "inspecting costs most": SharedLine(cameras=0, cores=2, decode_s=0.0015, inspect_s=0.040),
}
LOADS = (0.5, 1.0, 2.0, 4.0)
SETTLED_S = 30.0
#: A nice value of 5 in the kernel's table, against 0.
NICE_5 = 335 / 1024


def of_load(line: SharedLine, load: float) -> SharedLine:
    """Return the line with as many cameras as make about this load."""
    return replace(line, cameras=max(1, round(load / replace(line, cameras=1).load)))


def add(report: Report, name: str, line: SharedLine, seconds: float) -> None:
    """Play a line and add its row."""
    shown = play(line, seconds)
    enough = [share_with_enough(one, line, SETTLED_S, seconds - 1.0) for one in shown.values()]
    mean = sum(enough) / len(enough)
    report.add(
        line=name,
        load=f"{line.load:.2f}",
        cameras=line.cameras,
        possible=f"{line.best_share:.2f}",
        enough=f"{mean:.3f}",
        of_possible=f"{mean / line.best_share:.2f}",
        least_of_a_camera=f"{min(enough):.2f}",
        decoded_fps=round(sum(one.decoded for one in shown.values()) / seconds),
        inspected_fps=round(sum(len(one.inspected_s) for one in shown.values()) / seconds, 1),
        shed_fps=round(sum(one.dropped.get(DropCause.SHED, 0) for one in shown.values()) / seconds),
    )


def main() -> None:
    """Play and publish."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shortage", description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=300.0, help="of virtual time, for each line")
    parser.add_argument("--nice", action="store_true", help="also with camera threads at nice 5")
    options = parser.parse_args()
    report = Report("shortage")
    for name, line in LINES.items():
        for load in LOADS:
            add(report, name, of_load(line, load), options.seconds)
            if options.nice:
                nice = replace(of_load(line, load), camera_weight=NICE_5)
                add(report, f"{name}, cameras at nice 5", nice, options.seconds)
    report.publish()


if __name__ == "__main__":
    main()
