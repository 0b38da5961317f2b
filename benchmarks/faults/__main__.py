# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every fault with every subject: `python -m benchmarks.faults [--quick] [NAME ...]`; 15 minutes, 2 with `--quick`.

Writes `benchmarks/results/faults.json` and the table in `docs/reliability.md`; exits with 1 where vision-line did not
hold what it promises.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from benchmarks.faults.bench import SUBJECTS, Fault, broken_promises, run
from benchmarks.faults.faults import FAULTS
from benchmarks.faults.site import Site, can_make_networks, open_site
from benchmarks.faults.table import Row, publish
from benchmarks.faults.verdict import Verdict
from benchmarks.faults.videos import ensure_stamped_video

QUICK = ("camera killed", "program stopped", "program killed")


def main() -> int:
    """Run, publish, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(f.name for f in FAULTS)}")
    parser.add_argument("--quick", action="store_true", help="vision-line alone, three faults; nothing is published")
    parser.add_argument("--keep", type=Path, help="a folder for logs and records that stays")
    options = parser.parse_args()
    wanted = options.names or (QUICK if options.quick else [fault.name for fault in FAULTS])
    faults = [fault for fault in FAULTS if fault.name in wanted]
    networks, mounts = can_make_networks(), os.geteuid() == 0
    started_s, rows, console = time.monotonic(), [], Console(stderr=True)
    video = ensure_stamped_video()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        for fault in faults:
            if (fault.needs_networks and not networks) or (fault.needs_mount and not mounts):
                console.print(f"{fault.name}: left out, it needs the rights of root here", highlight=False)
                continue
            row = _row(
                fault, SUBJECTS[:1] if options.quick or not fault.for_peers else SUBJECTS, video, folder, networks
            )
            rows.append(row)
            console.print(f"{fault.name}: {'; '.join(row.broken) or 'held'}  {row.verdicts}", highlight=False)
    if not options.quick and not options.names:
        publish(rows, time.monotonic() - started_s)
    return 1 if any(row.broken for row in rows) else 0


def _row(fault: Fault, subjects: tuple[str, ...], video: Path, folder: Path, networks: bool) -> Row:
    verdicts = {}
    for subject in subjects:
        with open_site(networks=networks and fault.raw is None) as site:
            verdicts[subject] = _verdict(fault, subject, site, video, folder)
    return Row(fault, verdicts, broken_promises(fault, verdicts["vision-line"]))


def _verdict(fault: Fault, subject: str, site: Site, video: Path, folder: Path) -> Verdict:
    name = f"{fault.name}-{subject}".replace(" ", "-")
    return run(fault, subject, site, video, folder / name)


if __name__ == "__main__":
    sys.exit(main())
