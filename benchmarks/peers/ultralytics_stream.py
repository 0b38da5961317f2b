# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ultralytics' `predict(stream=True)` on its own stream loader.

Run by the benchmark: python -m benchmarks.peers.ultralytics_stream JOB
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

from ultralytics.models import YOLO

from benchmarks.peers.job import BoxRow, Job
from benchmarks.peers.witness import Witness, box_rows, leave
from benchmarks.stamps import read_stamp


def main() -> None:
    """Inspect the job's cameras."""
    job = Job.read(sys.argv[1])
    streams = Path(job.folder) / "cameras.streams"
    streams.write_text("\n".join(job.urls), encoding="utf-8")
    witness = Witness(job, leave)
    results: Any = YOLO(job.openvino, task="detect").predict(
        str(streams), stream=True, imgsz=list(job.shape_hw), conf=job.score, iou=job.nms_iou, verbose=False
    )
    for turn, result in enumerate(results):  # a batch holds a frame of each camera, in the file's order
        witness.note(turn % len(job.urls), read_stamp(result.orig_img), partial(_rows, result.boxes.numpy()))


def _rows(found: Any) -> list[BoxRow]:
    return box_rows(found.xyxy, found.conf, found.cls)


if __name__ == "__main__":
    main()
