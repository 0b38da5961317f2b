# SPDX-License-Identifier: AGPL-3.0-or-later
"""The progress of a run on a terminal: one bar for the stage that works, one line for each that is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from vision_line_compression.stages import Report


class Screen:
    """Shows stages on standard error, so that results on standard output stay clean."""

    def __init__(self) -> None:
        """Write to standard error."""
        self._console = Console(stderr=True, highlight=False)

    @contextmanager
    def stage(self, title: str) -> Iterator[Report]:
        """Show a stage while the block runs, and how long it took when it is done."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        begin = time.monotonic()
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(title, total=None)

            def report(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total or None)

            yield report
        self._console.print(f"{title}: done in {time.monotonic() - begin:.0f} s")

    def unchanged(self, title: str) -> None:
        """Say that a stage was done before."""
        self._console.print(f"{title}: unchanged", style="dim")
