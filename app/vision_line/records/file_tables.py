# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tables whose rows name files in the record directory, described once for all that keeps, checks and removes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from vision_line.records.columns import SqlValue

#: What names a row within its run.
RowKey = tuple[SqlValue, ...]


class DeletedWhy(StrEnum):
    """Why a row's files are not there any more. Stable: in the journal."""

    MAX_MB = "evidence_max_mb"
    CLIPS_MAX_MB = "clips_max_mb"
    REVIEW_MAX_MB = "review_max_mb"
    KEEP_DAYS = "keep_days"
    PRUNE = "prune"
    LOST = "lost"  # at a start they were not there


@dataclass(frozen=True, slots=True)
class FileTable:
    """A table (`t` in SQL) with the columns that every such table has: run, path, bytes, deleted_utc, missing.

    `number` is its primary key, `key` names a row within its run. `paths` are relative to the record directory and
    below `folder`; the first one is written last, so that where it is all are. `hashes` are their SHA-256. `seen` is
    when what they show was seen, by the wall clock of then, and `offset` that minus the same by the monotonic clock.
    `what` one file is called in messages; `max_why` says that it went because they took too much space.
    """

    table: str
    number: str
    key: tuple[str, ...]
    folder: str
    what: str
    max_why: DeletedWhy
    seen: str
    offset: str
    paths: tuple[str, ...] = ("path",)
    hashes: tuple[str, ...] = ("sha256",)
    join: str = ""

    def kept_sql(self, after: str) -> str:
        """Return the query for the rows whose files are kept, behind the one that `after` numbers, in their order.

        By number and not by time: a clock that is set back must not hide files from their removal. Of each row: number,
        run, bytes, seen, offset, key, paths. Its last parameter is how many.
        """
        own = ", ".join(f"t.{column}" for column in (*self.key, *self.paths))
        return (
            f"SELECT t.{self.number}, t.run, t.bytes, {self.seen}, {self.offset}, {own} FROM {self.table} t {self.join}"  # noqa: S608  names, of this package
            f" WHERE t.{self.number} > {after} AND t.path IS NOT NULL AND t.deleted_utc IS NULL"
            f" ORDER BY t.{self.number} LIMIT ?"
        )

    @property
    def files(self) -> str:
        """What a row's files are called in messages."""
        return "images" if len(self.paths) > 1 else "file"

    @property
    def one_of(self) -> str:
        """What one of them is called before the name of the first."""
        return "an image of" if len(self.paths) > 1 else "the file"

    @property
    def number_of_key(self) -> str:
        """The subquery for a row's number: its parameters are run and key."""
        return f"(SELECT {self.number} FROM {self.table} WHERE {self.by_key})"  # noqa: S608  the same

    @property
    def by_key(self) -> str:
        """The condition that names one row: its parameters are run and key."""
        return " AND ".join(f"{column} = ?" for column in ("run", *self.key))

    @property
    def mark_deleted(self) -> str:
        """The statement that notes a removal: its parameters are time, reason, number."""
        return f"UPDATE {self.table} SET deleted_utc = ?, deleted_why = ? WHERE {self.number} = ?"  # noqa: S608  the same

    @property
    def mark_kept(self) -> str:
        """The statement that takes such a note back: its parameter is the number."""
        return f"UPDATE {self.table} SET deleted_utc = NULL, deleted_why = NULL WHERE {self.number} = ?"  # noqa: S608  the same

    @property
    def is_deleted_by_key(self) -> str:
        """The query for whether a removal is noted: its parameters are run, key and run.

        A row that is not there went since, if its run is an older one; of the newest run it may be still to come.
        """
        return (
            f"SELECT coalesce((SELECT deleted_utc IS NOT NULL FROM {self.table} WHERE {self.by_key}),"  # noqa: S608  the same
            " ? < (SELECT max(run) FROM runs))"
        )

    @property
    def mark_deleted_by_key(self) -> str:
        """The same with run and key in place of the number."""
        return f"UPDATE {self.table} SET deleted_utc = ?, deleted_why = ? WHERE {self.by_key}"  # noqa: S608  the same


EVIDENCE = FileTable(
    *("evidence", "evidence", ("event_id",), "evidence", "an evidence image", DeletedWhy.MAX_MB),
    seen="coalesce(v.first_seen_utc, t.created_utc)",  # an image is as old as its event
    offset="v.first_seen_utc - v.first_seen_s",
    paths=("path", "overlay_path", "crop_path"),
    hashes=("sha256", "overlay_sha256", "crop_sha256"),
    join="LEFT JOIN events v ON v.run = t.run AND v.event_id = t.event_id",
)
CLIPS = FileTable(
    *("clips", "clip", ("clip_id",), "clips", "a clip", DeletedWhy.CLIPS_MAX_MB),
    seen="coalesce(t.begins_utc, t.created_utc)",
    offset="t.begins_utc - t.begins_s",
)
#: Images for review of both kinds are one folder; which of them a file belongs to its row says.
NEAR_MISSES = FileTable(
    *("near_misses", "near_miss", ("near_miss_id",), "review", "the image of a near miss", DeletedWhy.REVIEW_MAX_MB),
    seen="t.first_seen_utc",
    offset="t.first_seen_utc - t.first_seen_s",
)
AUDITS = FileTable(
    *("audits", "audit", ("camera", "sequence"), "review", "the image of an audit", DeletedWhy.REVIEW_MAX_MB),
    seen="t.arrived_utc",
    offset="t.arrived_utc - t.arrived_s",
)

FILE_TABLES: Mapping[str, FileTable] = {table.table: table for table in (EVIDENCE, CLIPS, NEAR_MISSES, AUDITS)}
#: All folders of the record directory that hold such files.
FOLDERS = tuple(dict.fromkeys(table.folder for table in FILE_TABLES.values()))
