# SPDX-License-Identifier: AGPL-3.0-or-later
"""The progress of a run on a terminal: one bar for the stage that works, one line for each that is done.

Where standard error is no terminal there are only lines: one for each stage that is done, and one a minute of how far
the one that works is.
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

#: How often a stage says how far it is where there is no bar.
LINE_EVERY_S = 60.0


class ProgressDisplay:
    """Shows stages on standard error, so that results on standard output stay clean."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Write to standard error; `clock` counts seconds."""
        self._console = Console(stderr=True, highlight=False)
        self._clock = clock

    @contextmanager
    def stage(self, title: str) -> Iterator[ProgressCallback]:
        """Show a stage while the block runs, and how long it took when it is done."""
        with self._bar(title, TimeRemainingColumn()) as (progress, task):
            lines = _MinuteLines(title, self._clock, self.say)

            def report(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total or None)
                if not self._console.is_terminal:
                    lines.report(done, total)

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
        begin = self._clock()
        shown = self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=not shown) as progress:
            yield progress, progress.add_task(title, total=None)
        self._console.print(f"{title}: done in {self._clock() - begin:.0f} s")

    def say(self, text: str) -> None:
        """Show a line."""
        self._console.print(text, markup=False, soft_wrap=True)

    def unchanged(self, title: str) -> None:
        """Say that a stage was done before."""
        self._console.print(f"{title}: unchanged", style="dim")

    def warn(self, text: str) -> None:
        """Show what the user should not overlook."""
        self._console.print(f"WARNING: {text}", style="bold yellow", markup=False, soft_wrap=True)


class _MinuteLines:
    """Says once a minute how far a stage is: in a log, silence for hours is no news."""

    def __init__(self, title: str, clock: Callable[[], float], say: Callable[[str], None]) -> None:
        self._title, self._clock, self._say = title, clock, say
        self._begin = self._last = clock()
        self._first: int | None = None  # what was done before: a training that goes on does not begin at nothing

    def report(self, done: int, total: int) -> None:
        now = self._clock()
        if self._first is None:
            self._first = done
        if now - self._last < LINE_EVERY_S:
            return
        self._last = now
        known = f" of {total}" if total else ""
        left = ""
        if total and done > self._first:
            minutes = (now - self._begin) * (total - done) / (done - self._first) / 60
            left = f", {minutes:.0f} min left"
        self._say(f"{self._title}: {done}{known}{left}")
