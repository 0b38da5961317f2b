# SPDX-License-Identifier: AGPL-3.0-or-later
"""A process to be killed: writes numbered detections and events without end, and says how many are committed.

It prints `<records committed>` whenever that changes. Detections are numbered by `sequence` from 0, one a record after
the first, which is the cameras'.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from vision_line.config.models import RecordSettings
from vision_line.frames import (
    Colour,
    ColourMatrix,
    ColourRange,
    DefectEvent,
    Detections,
    EventPhase,
    Frame,
    Inspection,
    Verdict,
)
from vision_line.records import pending_evidence
from vision_line.records.entries import CameraRecord, RunRecord
from vision_line.records.log import SqliteLog

COLOUR = Colour(ColourMatrix.BT601, ColourRange.LIMITED)
FOUND = Detections(np.array([[1, 2, 30, 40]], np.float32), np.array([0.9], np.float32), np.array([0], np.int32))
DATA = np.zeros((48, 64, 3), np.uint8)


def write(log: SqliteLog, sequence: int) -> None:
    now_s, now_utc = time.monotonic(), time.time()
    frame = Frame("cam01", sequence, (64, 48), COLOUR, DATA, now_s, now_utc, now_s)
    event = DefectEvent(
        *(f"e{sequence}", EventPhase.NEW, "cam01", 0, "open", Verdict.REJECT, 0.9, 0.9, (1, 2, 30, 40), sequence, 3),
        *(now_s, now_utc, now_s, now_utc),
    )
    log.write_inspection(Inspection(frame, FOUND, now_s, now_s), [event] if sequence % 25 == 0 else [])


def main() -> None:
    pending_evidence.BETTER_OBSERVATION_S = 0.0  # else a process that lives for less than that leaves hardly an image
    run = RunRecord("0", time.time(), "", "m", "", "int8", "cpu", "h", (CameraRecord("cam01", "", "", ""),))
    log = SqliteLog(Path(sys.argv[1]), run, RecordSettings(min_free_mb=1), ["open"])
    reported = 0
    sequence = 0
    while True:
        write(log, sequence)
        sequence += 1
        if (committed := log.status().committed) != reported:
            reported = committed
            sys.stdout.write(f"{reported} {run.run_id}\n")
            sys.stdout.flush()
        time.sleep(0.001)


if __name__ == "__main__":
    main()
