# SPDX-License-Identifier: AGPL-3.0-or-later
"""How a command that failed says so: one sentence and an exit code; bugs keep their traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from vision_line.errors import ExitCode, VisionLineError
from vision_line.screens.lines import say


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn an expected error into its message on stderr and its exit code; bugs keep their traceback."""
    try:
        yield
    except VisionLineError as exc:
        say(f"vision-line: {exc}", sys.stderr)
        raise typer.Exit(exc.exit_code) from exc
    except (KeyboardInterrupt, typer.Abort) as exc:  # the latter at a question
        raise typer.Exit(ExitCode.INTERRUPTED) from exc
