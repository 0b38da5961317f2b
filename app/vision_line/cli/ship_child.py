# SPDX-License-Identifier: AGPL-3.0-or-later
"""The shipper as a run starts it (`--ship`): with less priority than the line, no longer than the run."""

from __future__ import annotations

import sys
from pathlib import Path

from vision_line.cli.child_process import serve_with_run
from vision_line.cli.ship import serve_shipping


def ship_command(streams: Path, record: Path) -> list[str]:
    """Return the command of a shipper that ends with its standard input."""
    return [sys.executable, "-m", "vision_line.cli.ship_child", str(streams), str(record)]


def main() -> int:
    """Ship until the standard input ends; return the exit code."""
    streams, record = map(Path, sys.argv[1:])
    return serve_with_run(lambda: serve_shipping(streams, record))


if __name__ == "__main__":
    sys.exit(main())
