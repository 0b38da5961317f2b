# SPDX-License-Identifier: AGPL-3.0-or-later
"""Results by their id, from the journals: the server keeps none, so that it has them after a restart too."""

from __future__ import annotations

from pathlib import Path

from vision_line.outputs.cursor import JournalName
from vision_line.outputs.journal_sources import JournalSources
from vision_line.outputs.notification import Notification
from vision_line.outputs.opcua.inspection_results import EVENT, PART, InspectionResult, result_of

_LONGEST_ID = 200


class RecordedResults:
    """The journals of a record directory; used by one thread."""

    def __init__(self, directory: Path) -> None:
        self._sources = JournalSources(directory)

    def find(self, text: str) -> InspectionResult | None:
        """Return the result of an id: a message's (`run:number`, `parts:number`), or an event's, as it is now.

        Raises:
            RunError: a journal cannot be read.
        """
        if len(text) > _LONGEST_ID:
            return None
        said = self._message(text) or self._sources.records.newest_of(EVENT, text)
        return None if said is None else result_of(said)

    def newest(self, kind: str) -> InspectionResult | None:
        """Return the newest result of a kind, None where none was of late.

        Raises:
            RunError: a journal cannot be read.
        """
        source = self._sources.parts if kind == PART else self._sources.records
        said = source.newest_of(kind)
        return None if said is None else result_of(said)

    def alive_utc(self) -> float | None:
        """Return up to when the line accounts for its cameras.

        Raises:
            RunError: the records cannot be read.
        """
        return self._sources.records.alive_utc()

    def close(self) -> None:
        """Let go of the files."""
        self._sources.close()

    def _message(self, text: str) -> Notification | None:
        owner, _, number = text.rpartition(":")
        if not (owner and number.isascii() and number.isdecimal() and len(number) <= 18):
            return None
        source = self._sources.parts if owner == JournalName.PARTS else self._sources.records
        said = source.entry(int(number))
        return said if said is not None and said.id == text else None
