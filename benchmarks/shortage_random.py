# SPDX-License-Identifier: AGPL-3.0-or-later
"""Random lines that are short of cores: what a change of load shedding must never make worse.

A change that wins on the lines of `benchmarks.shortage` may lose on others, so it is compared with the state before it
on these, seed by seed, by both figures: the share of parts with enough inspections, and the share of time that the
ledger calls not inspected. In virtual time, about 5 s of real time a line.
Run in both trees: python -m benchmarks.shortage_random FIRST_SEED LAST_SEED
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import asdict, replace

from benchmarks.shortage_line import SharedLine, Shown, play, share_with_enough

#: Core seconds to decode and to inspect a frame: from one as dear as the other to engines that take nearly everything.
COSTS = ((0.005, 0.010), (0.0015, 0.040), (0.003, 0.020), (0.008, 0.005), (0.001, 0.080))
LOADS = (0.85, 2.2)
MOST_CAMERAS = 40  # more take minutes to play
SECONDS, SETTLED_S = 80.0, 30.0


def random_line(seed: int) -> SharedLine:
    """Return the line of this seed, always the same."""
    chance = random.Random(seed)
    decode_s, inspect_s = chance.choice(COSTS)
    fps, dwell_s = chance.choice((10.0, 25.0, 25.0)), chance.choice((1.5, 4.0, 8.0))
    one = SharedLine(
        cameras=1,
        cores=2,
        decode_s=decode_s,
        inspect_s=inspect_s,
        fps=fps,
        group=max(1, round(fps * chance.choice((0.04, 0.2, 1, 2, 4, 10)))),
        dwell_s=dwell_s,
        inspections=max(1, round(dwell_s * chance.uniform(0.8, 2.5))),
    )
    return replace(one, cameras=max(1, round(chance.uniform(*LOADS) / one.load)))


def not_inspected_s(shown: Shown) -> Iterator[float]:
    """Yield how long each interval of one camera's ledger was, from when the line had settled."""
    for interval in shown.intervals.values():
        if not interval.withdrawn:
            end_s = SECONDS if interval.ended_s is None else interval.ended_s
            yield max(0.0, end_s - max(SETTLED_S, interval.started_s))


def main() -> None:
    """Play the lines and print one as JSON a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shortage_random", description=__doc__)
    parser.add_argument("first", type=int, help="the first seed")
    parser.add_argument("last", type=int, help="the last seed, included")
    options = parser.parse_args()
    for seed in range(options.first, options.last + 1):
        line = random_line(seed)
        if line.cameras > MOST_CAMERAS:
            continue
        cameras = play(line, SECONDS, seed).values()
        enough = [share_with_enough(shown, line, SETTLED_S, SECONDS - 1.0) for shown in cameras]
        lost_s = sum(second for shown in cameras for second in not_inspected_s(shown))
        row = {
            "seed": seed,
            "load": round(line.load, 2),
            "enough": round(sum(enough) / len(enough), 3),
            "least_of_a_camera": round(min(enough), 3),
            "not_inspected": round(lost_s / line.cameras / (SECONDS - SETTLED_S), 3),
            "line": asdict(line),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
