# SPDX-License-Identifier: AGPL-3.0-or-later
"""All journals of a record directory that outputs follow."""

from __future__ import annotations

from pathlib import Path

from vision_line.config.output_settings import OutputSettings
from vision_line.outputs.chained_source import ChainedSource
from vision_line.outputs.journal_source import JournalSource
from vision_line.outputs.message_sink import ShownState
from vision_line.outputs.notification import CHALLENGE
from vision_line.outputs.parts_source import PartsSource
from vision_line.outputs.reviews_source import ReviewsSource


class JournalSources:
    """The journals; used by one thread."""

    def __init__(self, directory: Path) -> None:
        self.records = JournalSource(directory)
        self.parts = PartsSource(directory)
        self.reviews = ReviewsSource(directory)

    @property
    def all(self) -> tuple[ChainedSource, ...]:
        """Every journal."""
        return self.records, self.parts, self.reviews

    def followed(self, settings: OutputSettings) -> tuple[ChainedSource, ...]:
        """Return the journals that an output follows: that of the reviews, which few may read, only where it asks."""
        return self.all if CHALLENGE in settings.kinds else (self.records, self.parts)

    def shown_state(self) -> ShownState:
        """Return how the line is now.

        Raises:
            RunError: a file cannot be read.
        """
        states, intervals = self.records.line_state()
        return ShownState(tuple(states), tuple(intervals), tuple(self.parts.orders()))

    def close(self) -> None:
        """Let go of the files; may be called twice."""
        for source in self.all:
            source.close()
