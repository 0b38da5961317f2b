# SPDX-License-Identifier: AGPL-3.0-or-later
"""The detection log: what its callers see of the backlog, the writer and the evidence."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from vision_line.config.models import ClipSettings, RecordSettings
from vision_line.encoded import EncodedTap
from vision_line.errors import RunError
from vision_line.frames import (
    ClockStep,
    CoverageMinute,
    DefectEvent,
    Inspection,
    NotInspected,
    StateChange,
    Verdict,
)
from vision_line.ports import DeviceDescription, LogStatus
from vision_line.records import entries
from vision_line.records.annotate import ImageReader, bgr_of
from vision_line.records.backlog import Backlog, BacklogLimits
from vision_line.records.clips.plan import verdicts_from
from vision_line.records.clips.recorder import ClipRecorder
from vision_line.records.directory import DirectoryLock
from vision_line.records.entries import CameraRecord, ConfigurationEntry, RunRecord
from vision_line.records.evidence import EvidenceWriter
from vision_line.records.evidence_files import reconcile
from vision_line.records.file_tables import CLIPS, EVIDENCE
from vision_line.records.lives import EndCause, Inheritance, boot_id, inherit, life_now
from vision_line.records.reconciliation import reconcile_files
from vision_line.records.retention import Retention, RowAge
from vision_line.records.review.images import ReviewImages
from vision_line.records.review.review_recorder import ReviewRecorder
from vision_line.records.rows import INSERT_CLOCK_STEP, INSERT_RUN, RowMaker, clock_step_row, run_row
from vision_line.records.schema import FILE_NAME, open_writer, transaction
from vision_line.records.seal import Sealer, load_signing_key, sealed_end
from vision_line.records.stored_files import StorageUsage
from vision_line.records.unattended_files import UnattendedFiles
from vision_line.records.writer import GroupWriter

logger = logging.getLogger(__name__)

#: How long `close` waits for images, for clips, and then for commits.
CLOSE_EVIDENCE_S = 10.0
CLOSE_REVIEW_S = 5.0
CLOSE_CLIPS_S = 10.0
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
        on_commit: Callable[[int], None] | None = None,
        clips: ClipSettings | None = None,
    ) -> None:
        """Lock `directory`, open its record file, make it agree with its images, and enter `run` into it.

        `on_commit` gets the number of the journal's newest entry after each commit, in the writer's thread.

        Raises:
            RunError: another run has the directory, or its record file cannot be used.
            ConfigError: the key that signs cannot be used.
        """
        self._directory = directory
        self._labels: dict[str, entries.CameraLabels] = {}  # of cameras as configured now
        sealer = Sealer(None if settings.signing_key is None else load_signing_key(Path(settings.signing_key)))
        with ExitStack() as undo:
            self._lock = DirectoryLock(directory)
            undo.callback(self._lock.close)
            path = directory / FILE_NAME
            connection = open_writer(path)
            undo.callback(connection.close)
            number, usages, self._inherited = _begin(connection, directory, run, classes, settings, clips)
            maker = RowMaker(number, classes, run.cameras)
            self._backlog = Backlog(limits or BacklogLimits())
            retention = Retention(settings.keep_days, settings.max_mb)
            self._writer = GroupWriter(
                *(path, connection, number, maker, self._backlog),
                min_free_mb=settings.min_free_mb,
                retention=retention,
                sealer=sealer,
                on_commit=on_commit,
            )
            undo.pop_all()
        self._evidence: EvidenceWriter | None = None
        self._old_evidence_bytes = usages[EVIDENCE.table].size
        if settings.evidence:
            self._evidence = EvidenceWriter(
                directory,
                number,
                usages[EVIDENCE.table],
                self._backlog.put,
                read_image,
                max_bytes=settings.evidence_max_mb * 1_000_000,
                quality=settings.evidence_quality,
                age=RowAge(settings.keep_days),
            )
        images = ReviewImages(
            *(directory, number, usages, self._backlog.put, read_image), age=RowAge(settings.keep_days)
        )
        #: Keeps audits and near misses once its `apply` was called.
        self.review = ReviewRecorder(run.run_id, images, self._backlog.put, self._labels_of)
        self._clips: ClipRecorder | None = None
        if clips is not None:
            self._clips = ClipRecorder(
                *(directory, number, usages[CLIPS.table], self._backlog.put, clips),
                age=RowAge(settings.keep_days),
                min_free_mb=settings.min_free_mb,
            )
        off = [table for table, kept in ((EVIDENCE, self._evidence), (CLIPS, self._clips)) if kept is None]
        self._unattended = UnattendedFiles(off, directory, usages, self._backlog.put, settings.keep_days)
        self._closed = False
        self._closing = threading.Lock()
        self._writer.start()
        if self._evidence is not None:
            self._evidence.start()
        if self._clips is not None:
            self._clips.start()
        if settings.keep_days:
            images.start()
        self._unattended.start()
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
        if events and self._clips is not None:
            self._clips.note(events, self._labels_of(events[0].camera))

    def write_events(self, events: Sequence[DefectEvent]) -> None:
        """Accept event changes that no frame brought (tracks that ran out)."""
        if events:
            self._backlog.put(entries.EventsEntry(tuple(events)))
            if self._evidence is not None:
                self._evidence.ended(events)
            if self._clips is not None:
                self._clips.note(events, self._labels_of(events[0].camera))

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
        for camera in cameras:
            self._labels[camera.name] = camera.labels
        self._backlog.put(entries.CamerasEntry(tuple(cameras), time.time()))

    def _labels_of(self, camera: str) -> entries.CameraLabels:
        return self._labels.get(camera, entries.CameraLabels())

    def write_first_inspection(self, camera: str, inspected_utc: float) -> None:
        """Accept when a camera was inspected first since it was given to this box."""
        self._backlog.put(entries.FirstInspectionEntry(camera, inspected_utc))

    def write_configuration(self, entry: ConfigurationEntry) -> None:
        """Accept what is in force; what has changed is entered into the journal."""
        self._backlog.put(entry)

    def write_doubt(self, since_utc: float, until_utc: float, why: str) -> None:
        """Accept that what was inspected between two moments of the wall clock may be wrong: the journal says so."""
        self._backlog.put(entries.DoubtEntry(since_utc, until_utc, why))

    def write_device(self, device: DeviceDescription) -> None:
        """Accept what inspects, once it is open and again when its variant changes."""
        self._backlog.put(
            entries.DeviceEntry(device.precision, device.instruction_set, device.variant, device.variant_reason)
        )

    def tap_for(self, camera: str) -> EncodedTap | None:
        """Return what keeps a camera's encoded frames for clips; None: there are no clips."""
        return None if self._clips is None else self._clips.tap_for(camera)

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
                    self._unattended.close()
                    if self._evidence is not None:
                        self._evidence.close(CLOSE_EVIDENCE_S)
                    self.review.close(CLOSE_REVIEW_S)
                    if self._clips is not None:
                        self._clips.close(CLOSE_CLIPS_S)
                finally:
                    self._writer.close(CLOSE_COMMIT_S, end_cause)
            finally:
                self._lock.close()


def _begin(
    connection: sqlite3.Connection,
    directory: Path,
    run: RunRecord,
    classes: Sequence[str],
    settings: RecordSettings,
    clips: ClipSettings | None,
) -> tuple[int, dict[str, StorageUsage], Inheritance]:
    """Enter the run; return its number in this file, what files earlier runs left, and what nobody inspected since.

    Raises:
        RunError: the record directory cannot be read or written.
    """
    _warn_of_an_open_end(connection)
    try:
        usages = {EVIDENCE.table: reconcile(connection, directory, time.time())}
        usages |= reconcile_files(connection, directory, time.time())
        with transaction(connection):
            inherited = inherit(connection, time.monotonic(), life_now(time.time()))
            verdicts = None if clips is None else " ".join(verdicts_from(Verdict(clips.verdict)))
            row = run_row(run, classes, boot_id(), evidence=settings.evidence, clips=verdicts)
            cursor = connection.execute(INSERT_RUN, row)
            number = cursor.lastrowid
            if number is None:
                raise RunError(f"record directory {directory}: the run could not be entered")
            if inherited.step is not None:
                logger.warning("since the last run %s", inherited.step)
                connection.execute(INSERT_CLOCK_STEP, clock_step_row(number, inherited.step))
    except (sqlite3.Error, OSError) as exc:
        raise RunError(f"record directory {directory}: cannot be written: {exc}") from exc
    return number, usages, inherited


def _warn_of_an_open_end(connection: sqlite3.Connection) -> None:
    """Say so where somebody wrote behind the last signed seal: this run's first seal signs it with the rest.

    That is no reason not to inspect.
    """
    try:
        end = sealed_end(connection)
    except (RunError, sqlite3.OperationalError) as exc:
        logger.error("how the journal ends cannot be read: %s", exc)
        return
    if end.signer is not None and end.is_open:
        logger.error(
            "somebody wrote behind the journal's last signed seal, after the last run; keep a copy of these records"
        )
