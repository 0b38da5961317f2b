# SPDX-License-Identifier: AGPL-3.0-or-later
"""The tasks of models: what is inspected with, and what a model of another task is called when it is refused."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum


class ModelTask(StrEnum):
    """What a model is trained for. Stable: as in Ultralytics' metadata, and written in `bundle.json`."""

    DETECT = "detect"  # boxes
    OBB = "obb"  # rotated boxes
    SEGMENT = "segment"  # masks of objects


#: What GPUs infer: engines of TensorRT have one output here, and masks need two.
GPU_TASKS = (ModelTask.DETECT, ModelTask.OBB)

#: What tasks are that something here does not take, in words.
_WORDS = {
    "obb": "rotated boxes",
    "segment": "segmentation: masks of objects",
    "semantic": "segmentation: a class for each pixel",
    "pose": "poses: keypoints",
    "classify": "classification of whole images",
    "depth": "depth",
}


def task_problem(task: str, usable: Collection[ModelTask] = tuple(ModelTask)) -> str:
    """Return why a model for `task` cannot be used where `usable` ones can, behind its file's name; "" where it can."""
    if task in usable:
        return ""
    words = f" ({_WORDS[task]})" if task in _WORDS else ""
    return f"is a model for the task {str(task)!r}{words}, expected {' or '.join(map(repr, map(str, usable)))}"
