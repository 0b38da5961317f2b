# SPDX-License-Identifier: AGPL-3.0-or-later
"""The journals of a record directory as they are shipped."""

from __future__ import annotations

from pathlib import Path

from vision_line.outputs.chained_source import ChainedSource
from vision_line.outputs.cursor import JournalName
from vision_line.outputs.journal_source import JournalSource
from vision_line.outputs.parts_source import PartsSource
from vision_line.outputs.reviews_source import ReviewsSource


class _WholeReviews(ReviewsSource):
    """What people decided, for the plant's own database and not for a broker: with the bodies."""

    _behind = "SELECT number, 0, kind, key, at_utc, body, digest FROM journal WHERE number > ? ORDER BY number LIMIT ?"


class ShippedSources:
    """The journals; used by one thread."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._sources: tuple[ChainedSource, ...] = (
            JournalSource(directory),
            PartsSource(directory),
            _WholeReviews(directory),
        )

    @property
    def all(self) -> tuple[ChainedSource, ...]:
        """Every journal: the records first, to which the others refer."""
        return self._sources

    def __getitem__(self, journal: JournalName) -> ChainedSource:
        """Return a journal by its name."""
        return next(source for source in self._sources if source.journal is journal)

    def close(self) -> None:
        """Let go of the files; may be called twice."""
        for source in self._sources:
            source.close()
