# SPDX-License-Identifier: AGPL-3.0-or-later
"""The outputs as a run starts them (`--outputs`): with less priority than the line, no longer than the run."""

from __future__ import annotations

import sys
from pathlib import Path

from vision_line.cli.child_process import serve_with_run
from vision_line.cli.outputs import serve_outputs


def outputs_command(streams: Path, record: Path) -> list[str]:
    """Return the command of an outputs' process that ends with its standard input."""
    return [sys.executable, "-m", "vision_line.cli.outputs_child", str(streams), str(record)]


def main() -> int:
    """Serve the outputs until the standard input ends; return the exit code."""
    streams, record = map(Path, sys.argv[1:])
    return serve_with_run(lambda: serve_outputs(streams, record))


if __name__ == "__main__":
    sys.exit(main())
