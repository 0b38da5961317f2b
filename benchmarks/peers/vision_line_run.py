# SPDX-License-Identifier: AGPL-3.0-or-later
"""vision-line: the installed command's own program, whole, with a witness where results are handed to the records.

The witness reads the stamp from the pixels that were inspected, as with all contenders, so the program's own times are
not asked. Run by the benchmark: python -m benchmarks.peers.vision_line_run JOB
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders import write_streams
from benchmarks.peers.job import SUMMARY, Job
from benchmarks.peers.witness import Witness, box_rows
from benchmarks.stamps import read_stamp
from vision_line.cli import main as command
from vision_line.errors import ExitCode
from vision_line.frames import DefectEvent, Inspection
from vision_line.ports import HostCopyable
from vision_line.records.log import SqliteLog


def luma_of(data: Any) -> NDArray[np.uint8]:
    """Return a view of a native frame's luma (h, w)."""
    frame = data.to_host() if isinstance(data, HostCopyable) else data
    plane = frame.planes[0]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


def place_witness(witness: Witness) -> None:
    """Have the witness note each result before it is handed to the records."""
    write_inspection = SqliteLog.write_inspection

    def noted(log: SqliteLog, inspection: Inspection, events: Sequence[DefectEvent]) -> None:
        at_s, found = time.monotonic(), inspection.detections
        camera = int(inspection.frame.camera.removeprefix("cam")) - 1
        number = read_stamp(luma_of(inspection.frame.data))
        witness.note(camera, number, lambda: box_rows(found.xyxy, found.score, found.class_id), at_s=at_s)
        write_inspection(log, inspection, events)

    SqliteLog.write_inspection = noted  # type: ignore[method-assign,assignment]


def main() -> None:
    """Inspect the job's cameras."""
    job = Job.read(sys.argv[1])
    os.chdir(job.folder)
    write_streams(Path("streams.toml"), job.urls)
    place_witness(Witness(job, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    sys.argv = ["vision-line", "--streams", "streams.toml", "--headless", "--summary", SUMMARY, "--model", job.bundle]
    try:
        command()
    except SystemExit as exc:
        if exc.code != ExitCode.INTERRUPTED:  # which the witness has asked for
            raise


if __name__ == "__main__":
    main()
