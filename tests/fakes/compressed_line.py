# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera over a line whose time is made up: hours pass in a second, and the program's own parts do the rest.

Detections of a frame go through the event tracker, inspections through the ledger, and both through the row maker and
the record file's own writer with its journal: what a run does, but without threads, cameras and waiting.
"""

from __future__ import annotations

from pathlib import Path

from tests.builders import make_frame, make_inspection, scored_detections

from vision_line.config.models import StreamSettings
from vision_line.frames import CameraState, Detections, StateChange
from vision_line.inspection.coverage.ledger import CoverageLedger
from vision_line.inspection.coverage.minutes import CameraCounts
from vision_line.inspection.coverage.window import Need
from vision_line.inspection.tracking.events import EventTracker
from vision_line.records.entries import (
    CameraRecord,
    CamerasEntry,
    CoverageEntry,
    Entry,
    EventsEntry,
    RunRecord,
    StatesEntry,
    inspected_entry,
)
from vision_line.records.lives import inherit, life_now
from vision_line.records.rows import INSERT_RUN, RowMaker, run_row
from vision_line.records.schema import FILE_NAME, open_writer, transaction

CLASSES = ("open", "short")
#: Between two inspections without a defect, and while one is in view.
QUIET_S, FRAME_S = 5.0, 0.2
NEED = Need(12.0)


class CompressedLine:
    """One camera; `utc` is the made-up wall clock. Rows are committed once an hour of it."""

    def __init__(self, records: Path, begins_utc: float) -> None:
        self.utc, self._begins_utc = begins_utc, begins_utc
        self._connection = open_writer(records / FILE_NAME)
        settings = StreamSettings()
        with transaction(self._connection):
            inherit(self._connection, 0.0, life_now(begins_utc))
            run = RunRecord("0", begins_utc, "", "pcb", "1" * 64, "int8", "cpu", "h")
            self._run = self._connection.execute(INSERT_RUN, run_row(run, CLASSES, evidence=False)).lastrowid or 0
        self._maker = RowMaker(self._run, CLASSES, [])
        self._tracker = EventTracker("cam01", CLASSES, settings, 0.25)
        self._ledger = CoverageLedger()
        self._ledger.add_camera("cam01", NEED, 0.0, begins_utc)
        running = StateChange("cam01", CameraState.RUNNING, 0.0, begins_utc)
        self._ledger.state(running)
        camera = CameraRecord("cam01", "line 1", "", "", settings.model_dump_json())
        self._entries: list[Entry] = [CamerasEntry((camera,), begins_utc), StatesEntry((running,))]
        self._sequence = 0

    @property
    def now_s(self) -> float:
        """The monotonic clock, which began with the line."""
        return self.utc - self._begins_utc

    def go_on(self, until_utc: float, parts_utc: list[float], *, blind: bool = False, dark: bool = False) -> None:
        """Let parts with a defect come at `parts_utc`. A blind model finds none, a dark camera sends nothing."""
        coming = iter([*sorted(parts_utc), float("inf")])
        part_utc = next(coming)
        while self.utc < until_utc:
            if self.utc >= part_utc:
                self._pass_part(blind or dark)
                part_utc = next(coming)
            elif dark:
                self._look(QUIET_S, None)
            else:
                self._look(QUIET_S, Detections.empty())
        self.commit()

    def commit(self) -> None:
        """Write what has happened, as alive until now."""
        with transaction(self._connection):
            for entry in self._entries:
                for sql, rows in self._maker.statements(entry):
                    self._connection.executemany(sql, rows)
            self._connection.execute("UPDATE runs SET alive_utc = ? WHERE run = ?", (self.utc, self._run))
        self._entries.clear()

    def close(self) -> None:
        """Let go of the record file."""
        self._connection.close()

    def _pass_part(self, unseen: bool) -> None:
        for step in range(4):
            left = 100.0 + 20.0 * step
            found = scored_detections((left, 100.0, left + 16.0, 116.0, 0.9, 0))
            self._look(FRAME_S, Detections.empty() if unseen else found)

    def _look(self, passed_s: float, found: Detections | None) -> None:
        """Inspect a frame; None: none came."""
        self.utc += passed_s
        if found is not None:
            self._sequence += 1
            frame = make_frame(sequence=self._sequence, at_s=self.now_s, at_utc=self.utc)
            self._ledger.inspected("cam01", self.now_s)
            events = self._tracker.update(frame, found)
            if found.score.size or events:
                self._entries.append(inspected_entry(make_inspection(frame, found), events))
        if expired := self._tracker.expire(self.now_s):
            self._entries.append(EventsEntry(tuple(expired)))
        counts = CameraCounts(arrived=self._sequence, decoded=self._sequence, inspected=self._sequence)
        minutes, intervals = self._ledger.tick(self.now_s, self.utc, {"cam01": counts}, 0.0)
        over = [minute for minute in minutes if not minute.provisional]
        if over or intervals:
            self._entries.append(CoverageEntry(tuple(over), tuple(intervals)))
