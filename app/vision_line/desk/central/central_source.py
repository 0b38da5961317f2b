# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the desk of all boxes shows: the database, of all boxes or of the one that the present answer is about."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from vision_line.central.central_records import FileOfBox, central_records
from vision_line.central.database_url import DatabaseUrl
from vision_line.desk.boxes import present_boxes
from vision_line.desk.record_reader import LIMIT_S
from vision_line.parts.parts_removal import RemovedParts
from vision_line.records.records import Records


class CentralSource:
    """Opens the database anew for each answer. `directory` is the desk's own: its users, and its copies of images."""

    def __init__(self, url: DatabaseUrl, directory: Path, limit_s: float = LIMIT_S) -> None:
        self.url = url
        self.directory = directory
        self._limit_s = limit_s

    def open(self) -> AbstractContextManager[Records]:
        """Return what yields the records; raises RunError where the database cannot be asked, or takes too long."""
        return self._opened(FileOfBox.RECORDS)

    def open_parts(self) -> AbstractContextManager[Records]:
        """Return what yields the parts; raises RunError as `open`."""
        return self._opened(FileOfBox.PARTS)

    def open_reviews(self) -> AbstractContextManager[Records]:
        """Return what yields the reviews; raises RunError as `open`."""
        return self._opened(FileOfBox.REVIEWS)

    def removed_parts(self) -> RemovedParts:
        """Return that none were removed: what boxes removed for age is here."""
        return RemovedParts()

    def _opened(self, file: FileOfBox) -> AbstractContextManager[Records]:
        return central_records(self.url, file, present_boxes().box, self._limit_s)
