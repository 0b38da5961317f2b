# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whose a SQLite file is, and which version of its tables it has."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from vision_line.errors import RunError


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What a file of ours is called in messages, its SQLite application id, and the newest version of its tables."""

    name: str
    application_id: int
    newest: int

    def version_of(self, connection: sqlite3.Connection, path: Path) -> int:
        """Return the version of the tables, 0: there are none yet.

        Raises:
            RunError: another program's file, or one of a newer version.
            sqlite3.Error: as it comes.
        """
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if not tables:
            return 0
        if application != self.application_id:
            raise RunError(f"{path}: expected {self.name}, found another program's SQLite file")
        if version > self.newest:
            raise RunError(f"{path}: written by a newer vision-line (schema {version}; this one knows {self.newest})")
        if version < 1:
            raise RunError(f"{path}: schema {version} is too old for this vision-line; its tables have no version")
        return int(version)
