# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sort boards while things break: `python -m benchmarks.virtual_plc [--quick] [--boards N] [--lanes N] [--add]`.

A real line and `vision-line lanes`, simulated cameras whose boards and defects are known, a PLC with a scan of 10 ms.
Exits with 1 where a board was accepted late, or passed without having been inspected. What is measured in seconds
counts only on a machine that nothing else uses: it is written down with the share that other programs had. Where the
machine becomes too slow, or somebody ends it, what was counted until then is written down, and `--add` goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from benchmarks.faults.quiet import foreign_share, usage
from benchmarks.rounds import machine, percentile
from benchmarks.virtual_plc.faults import FAULTS, QUICK, Fault
from benchmarks.virtual_plc.outcome import Outcome, counted
from benchmarks.virtual_plc.site import Site

CONSOLE = Console(stderr=True)
RESULT = Path(__file__).parents[1] / "results" / "virtual_plc.json"
#: Of the small disk that is filled: to begin with, and for each thousand boards.
DISK_MB, DISK_MB_PER_1000 = 48, 40


class Bench:
    """Plays faults one after the other, and counts."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._counted = 0
        self.outcomes: dict[str, Outcome] = {}
        self.stopped = ""  # why it did not go on
        self.seen_s: dict[str, list[float]] = {}

    @property
    def all(self) -> Outcome:
        """Every board so far."""
        total = Outcome()
        for outcome in self.outcomes.values():
            total += outcome
        return total

    def play(self, fault: Fault) -> None:
        """Break, mend, wait until boards pass again, and count those that went by."""
        site = self._site
        site.wait_until_ready()
        began_s = time.monotonic()
        fault.play(site)
        seen = [at_s - began_s for at_s, why in list(site.plc.faults) if at_s >= began_s and why]
        site.wait_until_ready()
        time.sleep(4)
        if seen and fault.seen_s is not None:
            self.seen_s.setdefault(fault.name, []).append(seen[0])
        done = site.plc.done[self._counted :]
        self._counted += len(done)
        outcome = counted(done, site.records, site.kills_s, site.witness)
        words = f", seen after {1000 * seen[0]:.0f} ms" if seen else ""
        CONSOLE.print(f"{fault.name}: {_words(outcome)}{words}", highlight=False)
        self.outcomes.setdefault(fault.name, Outcome())
        self.outcomes[fault.name] += outcome


def _words(outcome: Outcome) -> str:
    return ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in asdict(outcome).items() if value)


@contextmanager
def _records(folder: Path, boards: int, *, mounts: bool) -> Iterator[Path]:
    """Yield where the records are: a small disk of their own, where that may be mounted, with room for `boards`."""
    records = folder / "disk"
    records.mkdir()
    if not mounts:
        yield records
        return
    size_mb = DISK_MB + boards * DISK_MB_PER_1000 // 1000
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(records)], check=True)
    try:
        yield records
    finally:
        subprocess.run(["umount", "--lazy", str(records)], check=True)


def main() -> int:
    """Play, print and write what came of it; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few faults, once; about a minute")
    parser.add_argument("--boards", type=int, default=10_000, help="play all faults again and again for so many")
    parser.add_argument("--lanes", type=int, default=4, help="1 to 7")
    parser.add_argument("--add", action="store_true", help="add to what the result file has")
    options = parser.parse_args()
    mounts = os.geteuid() == 0 and not options.quick  # a container may be root and must not mount
    faults = [each for each in FAULTS if not options.quick or each.name in QUICK]
    faults = [each for each in faults if mounts or not each.needs_mount]
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background has the first one ignored
        signal.signal(number, signal.default_int_handler)
    before = usage()
    lanes, frames = (2, 250) if options.quick else (options.lanes, 500)
    with (
        tempfile.TemporaryDirectory() as name,
        _records(Path(name), options.boards, mounts=mounts) as records,
        Site(Path(name), records, lanes, frames) as site,
    ):
        bench = Bench(site)
        try:
            while True:
                for fault in faults:
                    bench.play(fault)
                if options.quick or bench.all.boards >= options.boards:
                    break
        except (TimeoutError, KeyboardInterrupt) as exc:
            CONSOLE.print(f"stopped: {exc}", highlight=False, markup=False)
            bench.stopped = str(exc).partition("\n")[0] or "by hand"
        answers_s = site.plc.answers_s
    sittings = _before(bench) if options.add else []
    return _publish(bench, sittings, answers_s, foreign_share(before, usage()), write=not options.quick)


def _before(bench: Bench) -> list[dict[str, object]]:
    """Add what the result file has to what was counted; return its sittings."""
    found = json.loads(RESULT.read_text(encoding="utf-8"))
    for name, counts in found["by_fault"].items():
        bench.outcomes.setdefault(name, Outcome())
        bench.outcomes[name] += Outcome(**counts)
    for name, seen_ms in found["seen_after_ms"].items():
        bench.seen_s[name] = [each / 1000 for each in seen_ms] + bench.seen_s.get(name, [])
    return list(found["sittings"])


def _publish(
    bench: Bench, sittings: list[dict[str, object]], answers_s: list[float], others: float, *, write: bool
) -> int:
    total = bench.all
    sittings.append(
        {"machine": machine(), "share_of_other_programs": round(others, 2), "stopped": bench.stopped}
        | {"two_reads_p99_ms": round(1000 * percentile(answers_s, 0.99), 2), "boards_until_then": total.boards}
    )
    result = {
        "boards": total.boards,
        "sittings": sittings,
        "by_fault": {name: asdict(outcome) for name, outcome in bench.outcomes.items()},
        "all": asdict(total),
        "seen_after_ms": {name: [round(1000 * each) for each in found] for name, found in bench.seen_s.items()},
    }
    if write:
        RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    CONSOLE.print(f"all: {_words(total)}", highlight=False)
    CONSOLE.print_json(json.dumps(result["seen_after_ms"]))
    return 1 if total.late_accepts or total.not_inspected_accepts or bench.stopped else 0


if __name__ == "__main__":
    sys.exit(main())
