# SPDX-License-Identifier: AGPL-3.0-or-later
"""The `vision-line` command. Heavy libraries are imported by the command that needs them, so that help is instant."""

from __future__ import annotations

import signal
import sys

from vision_line.errors import ExitCode
from vision_line.leaving import interrupted_by_leaving, leave


def main() -> None:
    """Run the command line and exit with its code.

    From here on SIGTERM ends every command like Ctrl-C: what is open is closed, and the exit code is 130. A run that
    has begun drains first.
    """
    signal.signal(signal.SIGTERM, leave)
    try:
        with interrupted_by_leaving():
            from vision_line.cli.main import main as run_command

        run_command()
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
