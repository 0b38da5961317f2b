# SPDX-License-Identifier: AGPL-3.0-or-later
"""The lanes as a run starts them (`--lanes`): they end with the run, and go before what else is beside it."""

from __future__ import annotations

import sys
from pathlib import Path

from vision_line.cli.child_process import serve_with_run
from vision_line.cli.lanes import serve_lanes


def lanes_command(streams: Path, record: Path) -> list[str]:
    """Return the command of a lanes' process that ends with its standard input."""
    return [sys.executable, "-m", "vision_line.cli.lanes_child", str(streams), str(record)]


def main() -> int:
    """Decide parts until the standard input ends; return the exit code."""
    streams, record = map(Path, sys.argv[1:])
    return serve_with_run(lambda: serve_lanes(streams, record), nice=0)


if __name__ == "__main__":
    sys.exit(main())
