# SPDX-License-Identifier: AGPL-3.0-or-later
"""The tasks of models: what is inspected with, and what a model of another task is called when it is refused."""

from __future__ import annotations

from enum import StrEnum


class Task(StrEnum):
    """What a model is trained for. Stable: as in Ultralytics' metadata, and written in `bundle.json`."""

    DETECT = "detect"  # boxes
    OBB = "obb"  # rotated boxes


#: What Ultralytics' other tasks are, in words.
_OTHERS = {
    "segment": "segmentation: masks of objects",
    "semantic": "segmentation: a class for each pixel",
    "pose": "poses: keypoints",
    "classify": "classification of whole images",
    "depth": "depth",
}


def task_problem(task: str) -> str:
    """Return why a model for `task` cannot be used, behind the name of its file; "" where it can."""
    if task in set(Task):
        return ""
    words = f" ({_OTHERS[task]})" if task in _OTHERS else ""
    return f"is a model for the task {task!r}{words}, expected {' or '.join(map(repr, map(str, Task)))}"
