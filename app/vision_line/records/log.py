# SPDX-License-Identifier: AGPL-3.0-or-later
"""The detection log: what its callers see of the backlog, the writer and the evidence."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from vision_line.config.models import RecordSettings
from vision_line.errors import RunError
from vision_line.frames import (
    ClockStep,
    CoverageMinute,
    DefectEvent,
    Inspection,
    NotInspected,
    StateChange,
)
from vision_line.ports import DeviceDescription, LogStatus
from vision_line.records import entries
from vision_line.records.annotate import ImageReader, bgr_of
from vision_line.records.backlog import Backlog, BacklogLimits
from vision_line.records.directory import DirectoryLock
from vision_line.records.entries import CameraRecord, ConfigurationEntry, RunRecord
from vision_line.records.evidence import EvidenceWriter
from vision_line.records.evidence_files import StorageUsage, reconcile
from vision_line.records.lives import EndCause, Inheritance, boot_id, inherit, life_now
from vision_line.records.retention import Retention, RowAge
from vision_line.records.rows import INSERT_CLOCK_STEP, INSERT_RUN, RowMaker, clock_step_row, run_row
from vision_line.records.schema import FILE_NAME, open_writer, transaction
from vision_line.records.seal import Sealer, load_signing_key
from vision_line.records.writer import GroupWriter

logger = logging.getLogger(__name__)

#: How long `close` waits for images, and then for commits.
CLOSE_EVIDENCE_S = 10.0
CLOSE_COMMIT_S = 20.0


class SqliteLog:
    """A `ports.DetectionLog` in a directory that it owns while it is open: one SQLite file and evidence images.

    Every method may be called from any thread and none waits for the disk, save making and closing it.
    """

    def __init__(
        self,
        directory: Path,
        run: RunRecord,
        settings: RecordSettings,
        classes: Sequence[str],
        *,
        read_image: ImageReader = bgr_of,
        limits: BacklogLimits | None = None,
    ) -> None:
        """Lock `directory`, open its record file, make it agree with its images, and enter `run` into it.

        Raises:
            RunError: another run has the directory, or its record file cannot be used.
            ConfigError: the key that signs cannot be used.
        """
        self._directory = directory
        sealer = Sealer(None if settings.signing_key is None else load_signing_key(Path(settings.signing_key)))
        with ExitStack() as undo:
            self._lock = DirectoryLock(directory)
            undo.callback(self._lock.close)
            path = directory / FILE_NAME
            connection = open_writer(path)
            undo.callback(connection.close)
            number, usage, self._inherited = _begin(connection, directory, run, classes, evidence=settings.evidence)
            maker = RowMaker(number, classes, run.cameras)
            self._backlog = Backlog(limits or BacklogLimits())
            retention = Retention(settings.keep_days, settings.max_mb)
            self._writer = GroupWriter(
                *(path, connection, number, maker, self._backlog),
                min_free_mb=settings.min_free_mb,
                retention=retention,
                sealer=sealer,
            )
            undo.pop_all()
        self._evidence: EvidenceWriter | None = None
        self._old_evidence_bytes = usage.size
        if settings.evidence:
            self._evidence = EvidenceWriter(
                directory,
                number,
                usage,
                self._backlog.put,
                read_image,
                max_bytes=settings.evidence_max_mb * 1_000_000,
                quality=settings.evidence_quality,
                age=RowAge(settings.keep_days),
            )
        self._closed = False
        self._closing = threading.Lock()
        self._writer.start()
        if self._evidence is not None:
            self._evidence.start()
        if run.cameras:
            self.write_cameras(run.cameras)

    def write_inspection(self, inspection: Inspection, events: Sequence[DefectEvent]) -> None:
        """Accept one inspected frame: its detections, its event changes, and the evidence of new events.

        A frame without detections and events leaves no row: the ledger counts it.
        """
        if not len(inspection.detections) and not events:
            return
        self._backlog.put(entries.inspected_entry(inspection, events))
        if events and self._evidence is not None:
            self._evidence.offer(inspection.frame, inspection.detections, events)

    def write_events(self, events: Sequence[DefectEvent]) -> None:
        """Accept event changes that no frame brought (tracks that ran out)."""
        if events:
            self._backlog.put(entries.EventsEntry(tuple(events)))
            if self._evidence is not None:
                self._evidence.ended(events)

    def write_coverage(self, minutes: Sequence[CoverageMinute], intervals: Sequence[NotInspected]) -> None:
        """Accept ledger rows; a row for the same camera and minute, or the same interval id, replaces the earlier.

        While nothing can be committed, provisional minutes are let go: they would only fill the backlog.
        """
        if any(minute.provisional for minute in minutes) and self._backlog.is_stuck:
            minutes = [minute for minute in minutes if not minute.provisional]
        if minutes or intervals:
            self._backlog.put(entries.CoverageEntry(tuple(minutes), tuple(intervals)))

    def write_clock_steps(self, steps: Sequence[ClockStep]) -> None:
        """Accept steps of the wall clock."""
        if steps:
            self._backlog.put(entries.ClockStepsEntry(tuple(steps)))

    def write_states(self, changes: Sequence[StateChange]) -> None:
        """Accept camera state changes."""
        if changes:
            self._backlog.put(entries.StatesEntry(tuple(changes)))

    def write_cameras(self, cameras: Sequence[CameraRecord]) -> None:
        """Accept the cameras as configured from now on; later rows bear their stations and recipes."""
        self._backlog.put(entries.CamerasEntry(tuple(cameras), time.time()))

    def write_configuration(self, entry: ConfigurationEntry) -> None:
        """Accept what is in force; what has changed is entered into the journal."""
        self._backlog.put(entry)

    def write_device(self, device: DeviceDescription) -> None:
        """Accept what inspects, once it is open and again when its variant changes."""
        self._backlog.put(
            entries.DeviceEntry(device.precision, device.instruction_set, device.variant, device.variant_reason)
        )

    @property
    def inherited(self) -> Inheritance:
        """What the runs before left to be accounted for."""
        return self._inherited

    def alive(self, now_utc: float) -> None:
        """Note that up to now the ledger accounts for every camera; after a kill the next run reports the time since.

        Costs microseconds; committed a second later at the latest.
        """
        self._writer.alive(life_now(now_utc))

    def status(self) -> LogStatus:
        """Return how the log fares now; costs microseconds."""
        state = self._backlog.state()
        evidence = self._evidence
        reason = self._writer.problem() or (evidence.problem if evidence is not None else "")
        return LogStatus(
            writable=not reason,
            reason=reason,
            pending=state.entries,
            commit_latency_ms=self._writer.commit_latency_ms,
            committed=state.committed,
            evidence_bytes=self._old_evidence_bytes if evidence is None else evidence.kept_bytes,
            evidence_deleted=0 if evidence is None else evidence.deleted,
        )

    def take_latencies_ms(self) -> list[float]:
        """Return result -> committed of every commit since the last call, in milliseconds: its oldest result's.

        One caller; also after `close`.
        """
        return self._writer.take_latencies_ms()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        """Close it, and note whether the run failed."""
        self.close(EndCause.STOPPED if kind is None else EndCause.FAILED)

    def close(self, end_cause: EndCause = EndCause.STOPPED) -> None:
        """Write the images that wait, commit everything accepted, and let go of the directory; idempotent.

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
                    self._writer.close(CLOSE_COMMIT_S, end_cause)
            finally:
                self._lock.close()


def _begin(
    connection: sqlite3.Connection, directory: Path, run: RunRecord, classes: Sequence[str], *, evidence: bool
) -> tuple[int, StorageUsage, Inheritance]:
    """Enter the run; return its number in this file, what images earlier runs left, and what nobody inspected since.

    Raises:
        RunError: the record directory cannot be read or written.
    """
    try:
        usage = reconcile(connection, directory, time.time())
        with transaction(connection):
            inherited = inherit(connection, time.monotonic(), life_now(time.time()))
            cursor = connection.execute(INSERT_RUN, run_row(run, classes, boot_id(), evidence=evidence))
            number = cursor.lastrowid
            if number is None:
                raise RunError(f"record directory {directory}: the run could not be entered")
            if inherited.step is not None:
                logger.warning("since the last run %s", inherited.step)
                connection.execute(INSERT_CLOCK_STEP, clock_step_row(number, inherited.step))
    except (sqlite3.Error, OSError) as exc:
        raise RunError(f"record directory {directory}: cannot be written: {exc}") from exc
    return number, usage, inherited
