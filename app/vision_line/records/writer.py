# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one writer: a thread that commits the backlog in groups, and knows whether it still can."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from vision_line.errors import RunError
from vision_line.records.backlog import Backlog
from vision_line.records.configuration_journal import enter_configuration
from vision_line.records.database_files import DatabaseFiles, database_files
from vision_line.records.directory import free_mb
from vision_line.records.entries import ConfigurationEntry, DoubtEntry, Entry, InspectedEntry
from vision_line.records.journal import Kind
from vision_line.records.lives import EndCause, Life, end_run
from vision_line.records.retention import Retention
from vision_line.records.rows import RowMaker
from vision_line.records.schema import RecordConnection, open_writer, transaction
from vision_line.records.seal import SEAL_S, Sealer
from vision_line.wakefulness import Wakefulness

logger = logging.getLogger(__name__)

#: Entries gather for this long before they are committed together; with the commit itself this stays below 250 ms.
GATHER_S = 0.2
#: The largest group: about what a slow disk commits in the same time.
GROUP_ENTRIES = 4000
#: How long to leave a failing disk alone before trying again.
RETRY_S = 0.25
#: How often free space, and the file itself, are checked.
WATCH_S = 1.0
#: Commits remembered until they are asked for: several minutes.
REMEMBERED_COMMITS = 4096
#: How often a sign of life is committed when nothing else is.
ALIVE_S = 1.0
#: An entry that waits for longer means that the writer is stalled.
STALLED_AFTER_S = 2.0
#: Somebody asks for the problem at least as often as this, unless the whole program stands still.
ASKED_EVERY_S = 1.5

_STILL_ALIVE = "UPDATE runs SET alive_utc = ?, alive_boot_s = ? WHERE run = ?"


class GroupWriter:
    """Owns the connection and its thread from `start` to `close`."""

    def __init__(
        self,
        path: Path,
        connection: RecordConnection,
        run: int,
        rows: RowMaker,
        backlog: Backlog,
        *,
        min_free_mb: int,
        retention: Retention | None = None,
        sealer: Sealer | None = None,
        on_commit: Callable[[int], None] | None = None,
    ) -> None:
        """Take over `connection`, an open writer of the record file `path`.

        `on_commit` gets the number of the journal's newest entry after each commit, in this thread.
        """
        self._on_commit = on_commit
        self._retention = retention or Retention(0, 0)
        self._path = path
        self._sealer = sealer or Sealer()
        self._sealed_s = time.monotonic()
        self._connection: RecordConnection | None = connection
        self._files = database_files(path)  # those that the connection writes
        self._run = run
        self._rows = rows
        self._backlog = backlog
        self._min_free_mb = min_free_mb
        self._space_problem = ""
        self._wakefulness = Wakefulness(ASKED_EVERY_S)
        self._commit_problem = ""
        self._fatal = ""
        self._commit_latency_ms = 0.0
        self._latencies_ms: deque[float] = deque(maxlen=REMEMBERED_COMMITS)  # append and popleft are atomic
        self._watched_s = float("-inf")
        self._life: Life | None = None  # the newest sign of life, and the one that is committed
        self._committed_life: Life | None = None
        self._end_cause = EndCause.STOPPED
        self._closing = threading.Event()
        self._deadline_s = float("inf")
        self._thread = threading.Thread(target=self._work, name="detection-log", daemon=True)

    @property
    def commit_latency_ms(self) -> float:
        """Result -> committed of the oldest result in the last group, in milliseconds."""
        return self._commit_latency_ms

    def take_latencies_ms(self) -> list[float]:
        """Return what `commit_latency_ms` was after each commit since the last call; one caller."""
        return [self._latencies_ms.popleft() for _ in range(len(self._latencies_ms))]

    def start(self) -> None:
        """Check the disk once and begin to commit."""
        self._watch()
        self._thread.start()

    def problem(self) -> str:
        """Return why results cannot be recorded now, "" while they can. From any thread."""
        if not self._thread.is_alive():
            return self._fatal or "the writer has stopped"
        state = self._backlog.state()
        now_s = time.monotonic()
        awake_s = self._wakefulness.since_s(
            now_s
        )  # what waited while the program was stopped did not wait for the disk
        waited_s = 0.0 if state.oldest_s is None else now_s - max(state.oldest_s, awake_s)
        if problem := self._fatal or self._space_problem or self._commit_problem:
            return problem
        if waited_s > STALLED_AFTER_S:
            return f"stalled: nothing committed for {waited_s:.1f} s"
        if state.full:
            return f"backlog: {state.entries} records wait to be committed"
        return ""

    def alive(self, life: Life) -> None:
        """Commit with the next group, a second from now at the latest, that the run was alive. From any thread."""
        self._life = life

    def close(self, timeout_s: float, end_cause: EndCause = EndCause.STOPPED) -> None:
        """Commit what is left, note the run's end and close the file.

        Raises:
            RunError: something accepted could not be committed within `timeout_s`.
        """
        self._deadline_s = time.monotonic() + timeout_s
        self._end_cause = end_cause
        self._backlog.refuse("the detection log is closed")  # first: what is accepted after the last check is lost
        self._closing.set()
        # The deadline is the thread's own; the rest is for a disk that hangs in the middle of a call.
        self._thread.join(timeout_s + 5.0)
        left = self._backlog.state().entries
        if left:
            reason = self._fatal or self._commit_problem or "the disk hangs"
            raise RunError(f"{self._path}: {left} records could not be committed: {reason}")
        if self._fatal:
            raise RunError(self._fatal)

    def _work(self) -> None:
        try:
            self._commit_until_closed()
            if not self._backlog.state().entries:
                self._end_run()
        except Exception as exc:  # whatever it is, it is named as the reason
            self._fatal = f"{self._path}: the detection log failed: {_named(exc)}"
            logger.exception("records cannot be written any more, so inspection stops")
        finally:
            self._backlog.refuse(self._fatal or "the detection log has stopped")
            self._disconnect()

    def _commit_until_closed(self) -> None:
        while not self._fatal:
            self._backlog.wait(WATCH_S)
            if time.monotonic() - self._watched_s >= WATCH_S:
                self._watch()
            oldest_s = self._backlog.state().oldest_s
            if oldest_s is not None:
                self._closing.wait(max(0.0, oldest_s + GATHER_S - time.monotonic()))
                self._commit_group()
            elif self._closing.is_set():
                return
            elif self._is_life_due():
                self._commit_group()
            self._tidy()
            if self._closing.is_set() and time.monotonic() > self._deadline_s:
                return

    def _tidy(self) -> None:
        """Remove a few old rows, while entries gather anyway."""
        oldest_s = self._backlog.state().oldest_s
        is_late = oldest_s is not None and time.monotonic() - oldest_s > GATHER_S / 2
        if self._connection is None or self._closing.is_set() or is_late:
            return
        try:
            self._retention.tidy(self._connection, time.monotonic(), time.time())
        except sqlite3.OperationalError as exc:
            self._retreat(exc)

    def _is_life_due(self) -> bool:
        life, committed = self._life, self._committed_life
        return life is not None and (committed is None or life.boot_s - committed.boot_s >= ALIVE_S)

    def _commit_group(self) -> None:
        """Commit the oldest entries together; what fails stays in the backlog and is tried again."""
        life = self._life  # first: it vouches for the rows that were accepted before it
        group = self._backlog.oldest(GROUP_ENTRIES)
        life = life if len(group) < GROUP_ENTRIES else None
        known = self._rows.known
        try:
            if self._connection is None:
                self._connection = self._opened_anew()
            self._execute(self._connection, group, life)
        except (sqlite3.OperationalError, RunError) as exc:
            self._rows.known = known  # what comes before a camera's new label in the group bears the old one
            self._retreat(exc)
            time.sleep(RETRY_S)
            return
        committed_s = time.monotonic()
        self._backlog.acknowledge(len(group))
        self._announce(self._connection)
        if self._commit_problem:
            logger.warning("records are written again")
            self._commit_problem = ""
        finished = [entry.inspection.finished_s for entry in group if isinstance(entry, InspectedEntry)]
        if finished:
            self._commit_latency_ms = (committed_s - min(finished)) * 1e3
            self._latencies_ms.append(self._commit_latency_ms)

    def _announce(self, connection: RecordConnection) -> None:
        if self._on_commit is not None and connection.journal.newest:
            self._on_commit(connection.journal.newest)

    def _execute(self, connection: RecordConnection, group: list[Entry], life: Life | None) -> None:
        now_s = time.monotonic()
        is_seal_due = now_s - self._sealed_s >= SEAL_S
        with transaction(connection):
            for entry in group:
                if isinstance(entry, ConfigurationEntry):
                    enter_configuration(connection, connection.journal, entry, self._run)
                elif isinstance(entry, DoubtEntry):
                    connection.journal.append(Kind.DOUBT, "engine", asdict(entry), self._run)
                for sql, rows in self._rows.statements(entry):
                    connection.executemany(sql, rows)
            if life is not None:
                connection.execute(_STILL_ALIVE, (life.utc, life.boot_s, self._run))
            if is_seal_due:
                self._sealer.seal(connection.journal, self._run)
        self._sealed_s = now_s if is_seal_due else self._sealed_s
        self._committed_life = life or self._committed_life

    def _retreat(self, exc: sqlite3.OperationalError | RunError) -> None:
        """Decide what a failed commit means. Another process's lock passes; all else starts from a fresh connection.

        After a failed fsync the kernel may report success for pages it never wrote; a connection opened anew reads the
        write-ahead log back and believes only what its checksums prove.
        """
        code = getattr(exc, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return  # `problem` says "stalled" if it lasts
        problem = f"disk full: {exc}" if code == sqlite3.SQLITE_FULL else str(exc)
        if not self._commit_problem:
            logger.error("records cannot be written: %s; rows wait in memory, retrying", problem)
        self._commit_problem = problem
        self._disconnect()

    def _watch(self) -> None:
        """Check the free space, and whether the file is still the one that is written."""
        self._watched_s = time.monotonic()
        try:
            free = free_mb(self._path.parent)
            files = database_files(self._path)
        except (OSError, RunError) as exc:
            self._fatal = f"{self._path}: the record directory was removed or is unreadable: {_named(exc)}"
            return
        if files is None:
            self._fatal = f"{self._path}: the record file was removed while it was written"
            return
        if self._are_others(files):
            self._fatal = f"{self._path}: the record file was replaced while it was written"
            return
        low = free < self._min_free_mb
        if low and not self._space_problem:
            logger.error(
                "disk full: %.0f MB free, %d MB must stay free; free disk space, inspection waits",
                free,
                self._min_free_mb,
            )
        self._space_problem = f"disk full: {free:.0f} MB free, {self._min_free_mb} MB must stay free" if low else ""

    def _end_run(self) -> None:
        if self._connection is None or self._fatal:
            return
        with transaction(self._connection):
            life = self._life
            if life is not None:
                self._connection.execute(_STILL_ALIVE, (life.utc, life.boot_s, self._run))
            end_run(self._connection, self._run, time.time(), self._end_cause)
            self._sealer.seal(self._connection.journal, self._run)
        self._announce(self._connection)

    def _opened_anew(self) -> RecordConnection:
        connection = open_writer(self._path)
        files = database_files(self._path)
        if files is not None and self._files is not None:
            self._files = self._files[0], *files[1:]  # SQLite made its log anew; the file itself must be the same
        return connection

    def _are_others(self, files: DatabaseFiles) -> bool:
        """Whether the file was replaced, or its log while it is written to: nobody would ever read what goes there."""
        if self._files is None or self._connection is None:  # SQLite removes a log that nobody has open
            return self._files is None or files[0] != self._files[0]
        return files != self._files

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _named(exc: Exception) -> str:
    """Return what went wrong: what is no error of the disk's needs its kind beside its words."""
    return str(exc) if isinstance(exc, (sqlite3.Error, OSError, RunError)) else f"{type(exc).__name__}: {exc}"
