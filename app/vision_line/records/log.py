# SPDX-License-Identifier: AGPL-3.0-or-later
"""The detection log: what its callers see of the backlog, the writer and the evidence."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from vision_line.config.models import RecordSettings
from vision_line.errors import RunError
from vision_line.frames import (
    CoverageMinute,
    DefectEvent,
    Detections,
    EventPhase,
    Inspection,
    NotInspected,
    StateChange,
)
from vision_line.ports import LogStatus
from vision_line.records import entries
from vision_line.records.backlog import Backlog, BacklogLimits
from vision_line.records.directory import DirectoryLock
from vision_line.records.entries import CameraRecord, RunRecord
from vision_line.records.evidence import EvidenceKeeper
from vision_line.records.kept import Stock, reconcile
from vision_line.records.picture import PictureReader, bgr_of
from vision_line.records.rows import INSERT_RUN, RowMaker, run_row
from vision_line.records.schema import FILE_NAME, open_writer
from vision_line.records.writer import GroupWriter

#: How long `close` waits for pictures, and then for commits.
CLOSE_EVIDENCE_S = 10.0
CLOSE_COMMIT_S = 20.0


class SqliteLog:
    """A `ports.DetectionLog` in a directory that it owns while it is open: one SQLite file and evidence pictures.

    Every method may be called from any thread and none waits for the disk, save making and closing it.
    """

    def __init__(
        self,
        directory: Path,
        run: RunRecord,
        settings: RecordSettings,
        classes: Sequence[str],
        *,
        read_picture: PictureReader = bgr_of,
        limits: BacklogLimits | None = None,
    ) -> None:
        """Lock `directory`, open its record file, make it agree with its pictures, and enter `run` into it.

        Raises:
            RunError: another run has the directory, or its record file cannot be used.
        """
        self._directory = directory
        with ExitStack() as undo:
            self._lock = DirectoryLock(directory)
            undo.callback(self._lock.close)
            path = directory / FILE_NAME
            connection = open_writer(path)
            undo.callback(connection.close)
            number, stock = _begin(connection, directory, run, classes, evidence=settings.evidence)
            maker = RowMaker(number, classes, run.cameras)
            self._backlog = Backlog(limits or BacklogLimits())
            self._writer = GroupWriter(path, connection, number, maker, self._backlog, settings.min_free_mb)
            undo.pop_all()
        self._evidence: EvidenceKeeper | None = None
        self._old_evidence_bytes = stock.size
        if settings.evidence:
            self._evidence = EvidenceKeeper(
                directory,
                number,
                stock,
                self._backlog.put,
                read_picture,
                max_bytes=settings.evidence_max_mb * 1_000_000,
                quality=settings.evidence_quality,
            )
        self._closed = False
        self._closing = threading.Lock()
        self._writer.start()
        if self._evidence is not None:
            self._evidence.start()
        if run.cameras:
            self.write_cameras(run.cameras)

    def write_inspection(self, inspection: Inspection, detections: Detections, events: Sequence[DefectEvent]) -> None:
        """Accept one inspected frame: its kept detections, its event changes, and the evidence of new events.

        A frame without detections and events leaves no row: the ledger counts it.

        Raises:
            RunError: the log has failed, is full beyond its hard limit, or was closed.
        """
        if not len(detections) and not events:
            return
        self._backlog.put(entries.inspected_entry(inspection, detections, events))
        if events and self._evidence is not None:
            fresh = [event for event in events if event.phase is EventPhase.NEW]
            self._evidence.offer(inspection.frame, detections, fresh)

    def write_events(self, events: Sequence[DefectEvent]) -> None:
        """Accept event changes that no frame brought (tracks that ran out).

        Raises:
            RunError: as for `write_inspection`.
        """
        if events:
            self._backlog.put(entries.EventsEntry(tuple(events)))

    def write_coverage(self, minutes: Sequence[CoverageMinute], intervals: Sequence[NotInspected]) -> None:
        """Accept ledger rows; a row for the same camera and minute, or the same interval id, replaces the earlier.

        Raises:
            RunError: as for `write_inspection`.
        """
        if minutes or intervals:
            self._backlog.put(entries.CoverageEntry(tuple(minutes), tuple(intervals)))

    def write_states(self, changes: Sequence[StateChange]) -> None:
        """Accept camera state changes.

        Raises:
            RunError: as for `write_inspection`.
        """
        if changes:
            self._backlog.put(entries.StatesEntry(tuple(changes)))

    def write_cameras(self, cameras: Sequence[CameraRecord]) -> None:
        """Accept the cameras as configured from now on; later rows bear their stations and recipes.

        Raises:
            RunError: as for `write_inspection`.
        """
        self._backlog.put(entries.CamerasEntry(tuple(cameras), time.time()))

    def status(self) -> LogStatus:
        """Return how the log fares now; costs microseconds."""
        state = self._backlog.state()
        evidence = self._evidence
        reason = self._writer.problem() or (evidence.problem if evidence is not None else "")
        return LogStatus(
            writable=not reason,
            reason=reason,
            pending=state.entries,
            durable_ms=self._writer.durable_ms,
            committed=state.committed,
            evidence_bytes=self._old_evidence_bytes if evidence is None else evidence.kept_bytes,
            evidence_deleted=0 if evidence is None else evidence.deleted,
        )

    def take_latencies_ms(self) -> list[float]:
        """Return result -> committed of every commit since the last call, in milliseconds: its oldest result's.

        One caller; also after `close`.
        """
        return self._writer.take_latencies_ms()

    def close(self) -> None:
        """Write the pictures that wait, commit everything accepted, and let go of the directory; may be called twice.

        Raises:
            RunError: something accepted could not be committed; says how much and why.
        """
        with self._closing:
            if self._closed:
                return
            self._closed = True
            try:
                try:
                    if self._evidence is not None:
                        self._evidence.close(CLOSE_EVIDENCE_S)
                finally:
                    self._writer.close(CLOSE_COMMIT_S)
            finally:
                self._lock.close()


def _begin(
    connection: sqlite3.Connection, directory: Path, run: RunRecord, classes: Sequence[str], *, evidence: bool
) -> tuple[int, Stock]:
    """Enter the run; return its number in this file and what pictures earlier runs left."""
    try:
        stock = reconcile(connection, directory, time.time())
        cursor = connection.execute(INSERT_RUN, run_row(run, classes, evidence=evidence))
    except (sqlite3.Error, OSError) as exc:
        raise RunError(f"record directory {directory}: cannot be written: {exc}") from exc
    if cursor.lastrowid is None:
        raise RunError(f"record directory {directory}: the run could not be entered")
    return cursor.lastrowid, stock
