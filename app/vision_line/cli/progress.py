# SPDX-License-Identifier: AGPL-3.0-or-later
"""Progress bars on standard error; where that is no terminal, nothing but the first and the last line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Called with (done, total) from the thread that works.
Report = Callable[[int, int], None]


@contextmanager
def progress_bar(what: str) -> Iterator[Report]:
    """Show `what` with a bar while the block runs; the bar appears with the first report."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=None, visible=False)

        def report(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=True)

        yield report
