# SPDX-License-Identifier: AGPL-3.0-or-later
"""The desk as a run starts it (`--desk`): with less priority than the line, and not longer than the run lives."""

from __future__ import annotations

import sys
from pathlib import Path

from vision_line.cli.child_process import serve_with_run
from vision_line.cli.desk import DeskOptions, serve_desk


def main() -> int:
    """Serve the desk until the standard input ends; return the exit code."""
    record, listen = sys.argv[1:]
    return serve_with_run(lambda: serve_desk(DeskOptions(Path(record), listen)))


if __name__ == "__main__":
    sys.exit(main())
