# SPDX-License-Identifier: AGPL-3.0-or-later
"""The forms of a set of reviewed images; apart from what writes them, for each command's help names them."""

from __future__ import annotations

from enum import StrEnum


class SetFormat(StrEnum):
    """What a set is for."""

    YOLO = "yolo"  # `vision-line-compress`, Ultralytics
    YOLO_OBB = "yolo-obb"  # Ultralytics' models of rotated boxes
    YOLO_SEG = "yolo-seg"  # Ultralytics' segmentation models
    COCO = "coco"  # CVAT, FiftyOne, pycocotools
    LABEL_STUDIO = "label-studio"

    @property
    def is_yolo(self) -> bool:
        """Whether its images are divided into those to train and those to validate with."""
        return self in {SetFormat.YOLO, SetFormat.YOLO_OBB, SetFormat.YOLO_SEG}
