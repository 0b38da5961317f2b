# SPDX-License-Identifier: AGPL-3.0-or-later
"""A process to be killed: draws audits and ends near misses without end; prints a line once rows are committed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from vision_line.config.models import RecordSettings, ReviewSettings
from vision_line.frames import Colour, ColourMatrix, ColourRange, Detections, Frame, Inspection, Observation
from vision_line.inspection.tracking.candidates import Candidate, CandidatePhase
from vision_line.records.entries import CameraRecord, RunRecord
from vision_line.records.log import SqliteLog

COLOUR = Colour(ColourMatrix.BT601, ColourRange.LIMITED)
DATA = np.random.default_rng(1).integers(0, 255, (96, 128, 3), np.uint8)


def review(log: SqliteLog, sequence: int) -> None:
    now_s, now_utc = time.monotonic(), time.time()
    frame = Frame("cam01", sequence, (128, 96), COLOUR, DATA, now_s, now_utc, now_s)
    best = Observation(sequence, 0.5, (1.0, 2.0, 30.0, 40.0))
    phases = [CandidatePhase.SEEN, CandidatePhase.MISSED] if sequence % 5 == 0 else []
    candidates = [
        Candidate(
            f"n{sequence}",
            phase,
            "cam01",
            "open",
            best,
            hits=1,
            size_wh=(128, 96),
            first_seen_s=now_s,
            first_seen_utc=now_utc,
            last_seen_s=now_s,
            last_seen_utc=now_utc,
        )
        for phase in phases
    ]
    log.review.inspected(Inspection(frame, Detections.empty(), now_s, now_s), candidates)


def main() -> None:
    run = RunRecord("0", time.time(), "", "m", "", "int8", "cpu", "h", (CameraRecord("cam01", "", "", ""),))
    log = SqliteLog(Path(sys.argv[1]), run, RecordSettings(min_free_mb=1), ["open"])
    log.review.apply(ReviewSettings(audit_per_hour=3600, max_mb=1))
    sequence = reported = 0
    while True:
        review(log, sequence)
        sequence += 1
        if (committed := log.status().committed) > reported + 20:
            reported = committed
            sys.stdout.write(f"{committed}\n")
            sys.stdout.flush()
        time.sleep(0.002)


if __name__ == "__main__":
    main()
