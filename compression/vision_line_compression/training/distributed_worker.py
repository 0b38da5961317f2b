# SPDX-License-Identifier: AGPL-3.0-or-later
"""One of the processes that train a phase together; torch's launcher has said in the environment which one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from vision_line.errors import VisionLineError
from vision_line.parents_death import end_with
from vision_line_compression.files import write_whole
from vision_line_compression.network.checkpoint import load_checkpoint
from vision_line_compression.training.distributed import FAILURE, PROGRESS, PhaseOrder, device_count
from vision_line_compression.training.trainer import GivenModelTrainer, Task


def main() -> None:
    """Train what the order says."""
    end_with(os.getppid())
    path = Path(sys.argv[1])
    order, folder, is_first = PhaseOrder.read(path), path.parent, os.environ["RANK"] == "0"

    def report(done: int, total: int) -> None:
        write_whole(folder / PROGRESS, json.dumps({"done": done, "total": total}).encode())

    teacher = None if order.teacher is None else load_checkpoint(order.teacher).model
    task = Task(order.phase, order.train, teacher, order.distill, report if is_first else None)
    try:
        GivenModelTrainer(task, dict(order.arguments), processes=device_count(order.train.device)).carry_out()
    except VisionLineError as exc:
        if not (folder / FAILURE).exists():
            write_whole(folder / FAILURE, str(exc).encode())
        sys.exit(exc.exit_code)


if __name__ == "__main__":
    main()
