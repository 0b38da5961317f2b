# SPDX-License-Identifier: AGPL-3.0-or-later
"""Progress bars on standard error; where that is no terminal, nothing but the first and the last line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vision_line.ports import ProgressCallback
from vision_line.screens.lines import say

#: Called with (done, total) from the thread that works.


@contextmanager
def progress_bar(what: str) -> Iterator[ProgressCallback]:
    """Show `what` with a bar while the block runs; the bar appears with the first report."""
    shown = Console(stderr=True)
    # Elsewhere than on a terminal a bar is a line at the end, for which nobody waits.
    text = None if shown.is_terminal else StringIO()
    with _bar(what, shown if text is None else Console(file=text)) as report:
        yield report
    if text is not None and (line := text.getvalue().rstrip()):
        say(line, sys.stderr)


@contextmanager
def _bar(what: str, console: Console) -> Iterator[ProgressCallback]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=None, visible=False)

        def report(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=True)

        yield report
