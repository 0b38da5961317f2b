# SPDX-License-Identifier: AGPL-3.0-or-later
"""The progress of a run on a terminal: one bar for the stage that works, one line for each that is done.

Where standard error is no terminal there are only the lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from vision_line.ports import ProgressCallback


class ProgressDisplay:
    """Shows stages on standard error, so that results on standard output stay clean."""

    def __init__(self) -> None:
        """Write to standard error."""
        self._console = Console(stderr=True, highlight=False)

    @contextmanager
    def stage(self, title: str) -> Iterator[ProgressCallback]:
        """Show a stage while the block runs, and how long it took when it is done."""
        with self._bar(title, TimeRemainingColumn()) as (progress, task):

            def report(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total or None)

            yield report

    @contextmanager
    def engine(self, title: str) -> Iterator[Callable[[str, int, int], None]]:
        """Show the build of an engine: the phase that is at work, from the builder's threads.

        Each phase has steps of its own, so that nobody knows how long the rest will take.
        """
        with self._bar(title, TimeElapsedColumn()) as (progress, task):

            def report(phase: str, done: int, total: int) -> None:
                progress.update(task, description=f"{title}: {phase}", completed=done, total=total or None)

            yield report

    @contextmanager
    def _bar(self, title: str, time_column: ProgressColumn) -> Iterator[tuple[Progress, TaskID]]:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            time_column,
        )
        begin = time.monotonic()
        shown = self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=not shown) as progress:
            yield progress, progress.add_task(title, total=None)
        self._console.print(f"{title}: done in {time.monotonic() - begin:.0f} s")

    def say(self, text: str) -> None:
        """Show a line."""
        self._console.print(text, markup=False, soft_wrap=True)

    def unchanged(self, title: str) -> None:
        """Say that a stage was done before."""
        self._console.print(f"{title}: unchanged", style="dim")

    def warn(self, text: str) -> None:
        """Show what the user should not overlook."""
        self._console.print(f"WARNING: {text}", style="bold yellow", markup=False, soft_wrap=True)
