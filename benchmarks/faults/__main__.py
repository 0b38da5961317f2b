# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every fault with every subject: `python -m benchmarks.faults [--quick] [NAME ...]`; 15 minutes, 1 with `--quick`.

Writes `benchmarks/results/faults.json` and the table in `docs/reliability.md`; exits with 1 where vision-line did not
hold what it promises. What is measured in seconds does not count while other programs use the processors: it is tried
again, and if they still do, the fault is called unclear. What must be in the ledger counts always.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.faults.bench import LINE, SUBJECTS, run
from benchmarks.faults.fault import Broken, Fault, broken_promises
from benchmarks.faults.faults import FAULTS
from benchmarks.faults.outcome import Outcome
from benchmarks.faults.quiet import foreign_share, usage
from benchmarks.faults.site import can_make_networks, open_site
from benchmarks.faults.table import Row, publish
from benchmarks.faults.videos import ensure_stamped_video
from benchmarks.faults.waiting import EndedError, TooSlowError

#: The stopped program has tests that wait no longer than they must: `tests/e2e/test_late_frames.py`.
QUICK = ("camera killed", "program killed")
TRIES = 3
CONSOLE = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Bench:
    """What this machine allows, and what is asked for."""

    folder: Path
    video: Path
    networks: bool
    mounts: bool
    subjects: tuple[str, ...]

    def can_play(self, fault: Fault) -> bool:
        """Whether the rights and tools for a fault are there."""
        return (self.networks or not fault.needs_networks) and (self.mounts or not fault.needs_mount)

    def row(self, fault: Fault) -> Row:
        """Play a fault, again where the machine may be the cause of what did not hold."""
        for number in range(1, TRIES + 1):
            row = self._try(fault, number)
            CONSOLE.print(_row_words(row), highlight=False)
            if not row.is_unclear:
                break
        return row

    def _try(self, fault: Fault, number: int) -> Row:
        before, broken = usage(), Broken()
        outcomes: dict[str, Outcome] = {}
        groups = [(name,) for name in self.subjects] if fault.alone else [self.subjects]
        for names in groups:
            try:
                outcomes |= self._play(fault, names, f"{fault.name}-{number}-{names[0]}".replace(" ", "-"))
            except TooSlowError as exc:
                broken.timed.append(str(exc))
            except EndedError as exc:
                (broken.silent if exc.subject == LINE else broken.timed).append(str(exc))
        if LINE in outcomes:
            broken += broken_promises(fault, outcomes[LINE])
        return Row(fault, outcomes, broken, foreign_share(before, usage()))

    def _play(self, fault: Fault, names: Sequence[str], folder: str) -> dict[str, Outcome]:
        with open_site(networks=self.networks and fault.raw is None and not fault.needs_relay) as site:
            return run(fault, names, site, self.video, self.folder / folder)


def main() -> int:
    """Run, publish, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(f.name for f in FAULTS)}")
    parser.add_argument("--quick", action="store_true", help="vision-line alone, two faults; nothing is published")
    parser.add_argument("--keep", type=Path, help="a folder for logs and records that stays")
    options = parser.parse_args()
    wanted = options.names or (QUICK if options.quick else [fault.name for fault in FAULTS])
    unknown = set(wanted) - {fault.name for fault in FAULTS}
    if unknown:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        subjects = (LINE,) if options.quick else SUBJECTS
        bench = Bench(folder, ensure_stamped_video(), can_make_networks(), os.geteuid() == 0, subjects)
        return _run(
            bench, [fault for fault in FAULTS if fault.name in wanted], publishes=not (options.quick or options.names)
        )


def _run(bench: Bench, faults: Sequence[Fault], *, publishes: bool) -> int:
    started_s, rows = time.monotonic(), []
    left_out = [fault.name for fault in faults if not bench.can_play(fault)]
    for fault in faults:
        if fault.name in left_out:
            CONSOLE.print(f"{fault.name}: left out, it needs the rights of root here", highlight=False)
            continue
        rows.append(bench.row(fault))
    if publishes:
        publish(rows, left_out, time.monotonic() - started_s)
    return 1 if any(row.is_broken for row in rows) else 0


def _row_words(row: Row) -> str:
    """Return one fault's result in a line."""
    if row.is_broken:
        outcome = f"BROKEN: {row.broken}"
    elif row.is_unclear:
        outcome = f"unclear, other programs used {row.foreign:.0%} of the machine: {row.broken}"
    else:
        outcome = "held"
    return f"{row.fault.name}: {outcome}  ({row.foreign:.0%} used by others)  {row.outcomes}"


if __name__ == "__main__":
    sys.exit(main())
