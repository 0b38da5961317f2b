# SPDX-License-Identifier: AGPL-3.0-or-later
"""Break a plant of several boxes, and see what holds: `python -m benchmarks.chaos`.

Boxes are killed, stopped, parted and drained, and servers of their store die, alone, together, with their disks. Each
time no healthy camera may move, what nobody inspected must be in the records, and what two boxes inspected counts once.
Exit code 1: something did not hold.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.chaos import own_network
from benchmarks.chaos.ledgers import Ledgers
from benchmarks.chaos.plant import running_plant
from benchmarks.chaos.saturation import saturated
from benchmarks.chaos.trials import QUICK, TRIALS, WORST_S, Chaos, Finding, Trial, kill_a_node, older_version
from benchmarks.faults.waiting import TooSlowError
from vision_line.fleet.coordination import CoordinationError

#: The goal for nearly all takeovers, in seconds.
P95_S = 8.0
#: What all of it, with thirty deaths, is to take at most, in seconds.
WHOLE_S = 1200.0


def main() -> int:
    """Do what was asked for, print what held and what did not, and return 1 where something did not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three kills and what matters most: about 3 minutes")
    parser.add_argument("--saturated", type=float, metavar="MINUTES", help="nothing but a busy loop on every core")
    parser.add_argument("--kills", type=int, help="how many boxes are killed one after the other; default 30, 3")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--older", type=Path, metavar="PROGRAM", help="a `vision-line` of another version, for a box")
    parser.add_argument("--folder", type=Path, help="keep everything there, to look at")
    options = parser.parse_args()
    own_network.enter("benchmarks.chaos", sys.argv[1:])
    own_network.is_own()
    trials = _wanted(options)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        folder.mkdir(exist_ok=True)
        findings, takeovers_s = break_plant(folder, options.nodes, options.cameras, trials)
    print(_summary(findings, takeovers_s))
    took = f"{time.monotonic() - began_s:.0f} s (all of it: {WHOLE_S:.0f} s at most)"
    print(f"{took}, load {os.getloadavg()[0]:.1f}, {options.nodes} boxes")
    return 0 if all(one.holds for one in findings) else 1


def _wanted(options: argparse.Namespace) -> list[Trial]:
    if options.saturated is not None:
        return [saturated(options.saturated)]
    kills = options.kills if options.kills is not None else 3 if options.quick else 30
    older = [] if options.older is None else [older_version(options.older.resolve())]
    return [*(QUICK if options.quick else TRIALS), *older, *([kill_a_node] * kills)]


def break_plant(folder: Path, nodes: int, cameras: int, trials: Sequence[Trial]) -> tuple[list[Finding], list[float]]:
    """Do all that to a plant; return what was found, and how long each camera of a killed box was not inspected."""
    findings: list[Finding] = []
    only = {f"cam{cameras:02d}": f"n{nodes}"}
    with running_plant(folder, nodes, cameras, only, parted=("n1",)) as plant:
        chaos = Chaos(plant, Ledgers(folder, plant.nodes), [])
        for trial in trials:
            try:
                for finding in trial(chaos):
                    findings.append(finding)
                    _print(finding)
            except (TooSlowError, RuntimeError, CoordinationError) as exc:
                findings.append(Finding(trial.__name__, holds=False, words=str(exc)))
                _print(findings[-1])
    if chaos.takeovers_s:
        p95_s = float(np.percentile(chaos.takeovers_s, 95))
        words = f"p95 {p95_s:.1f} s of {len(chaos.takeovers_s)} cameras"
        findings.append(Finding(f"takeovers: 95 of 100 within {P95_S:g} s", p95_s <= P95_S, words))
        _print(findings[-1])
    return findings, chaos.takeovers_s


def _print(finding: Finding) -> None:
    print(f"{'holds' if finding.holds else 'DOES NOT HOLD':13}  {finding.trial}: {finding.words}", flush=True)


def _summary(findings: Sequence[Finding], takeovers_s: Sequence[float]) -> str:
    broken = sum(not one.holds for one in findings)
    lines = [f"{len(findings) - broken} of {len(findings)} held"]
    if takeovers_s:
        p50_s, p95_s = np.percentile(takeovers_s, [50, 95])
        lines.append(
            f"from the death of a box to the first inspection elsewhere: p50 {p50_s:.1f}, p95 {p95_s:.1f}, worst"
            f" {max(takeovers_s):.1f} s ({len(takeovers_s)} cameras; goal: {P95_S:g} and {WORST_S:g})"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
