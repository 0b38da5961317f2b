# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line` with the names of its threads in the kernel, so that what each costs can be read from outside.

Run: python -m benchmarks.named_threads ARGUMENTS, as those of vision-line.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
from collections import defaultdict
from pathlib import Path

#: What the kernel keeps of a name, in bytes.
_NAME_BYTES = 15


def cpu_times(process: int) -> defaultdict[str, float]:
    """Return the processor time of a process so far, in seconds, by its threads' names; of those that live."""
    times: defaultdict[str, float] = defaultdict(float)
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            name, spent = (task / "comm").read_text().strip(), (task / "schedstat").read_text()
        except OSError:  # it has ended meanwhile
            continue
        times[name] += int(spent.split()[0]) / 1e9
    return times


def main() -> None:
    """Name each Python thread as it begins, and go on as `vision-line`."""
    threading.settrace(_name)
    sys.argv[0] = "vision-line"
    runpy.run_module("vision_line", run_name="__main__")


def _name(*_: object) -> None:
    """Be called at a thread's first call of a function, and trace nothing from then on."""
    sys.settrace(None)
    name = threading.current_thread().name.encode()[:_NAME_BYTES]
    Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/comm").write_bytes(name)


if __name__ == "__main__":
    main()
