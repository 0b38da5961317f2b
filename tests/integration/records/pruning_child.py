# SPDX-License-Identifier: AGPL-3.0-or-later
"""A prune to be killed: `pruning_child.py RECORDS KEY STEP`, where a step is a statement or a file that goes.

It kills itself as `kill -9` does, before step STEP; with 0 it ends and prints how many steps there were.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from pathlib import Path

from vision_line.records import removal
from vision_line.records.schema import RecordConnection, open_writer

DAY_S = 86_400
_numbers = itertools.count(1)


def step(*_: object) -> None:
    """Count, and perhaps die."""
    if next(_numbers) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)


def watched(path: Path) -> RecordConnection:
    """Open the record file so that each statement is a step."""
    connection = open_writer(path)
    connection.set_trace_callback(step)
    return connection


def main() -> None:
    """Prune."""
    vars(removal)["open_writer"] = watched
    sys.addaudithook(lambda name, _: step() if name == "os.remove" else None)
    later_utc = time.time() + 9 * DAY_S
    removal.prune(Path(sys.argv[1]), 1, 0, later_utc, dry_run=False, signing_key=Path(sys.argv[2]))
    sys.stdout.write(f"{next(_numbers) - 1}\n")


if __name__ == "__main__":
    main()
