# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reviewed images as YOLO folders with `data.yaml`, as `vision-line-compress --data` takes them. Pure.

An image without a true defect has an empty label file: it is background, which teaches a model what to leave alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath

from vision_line.frames import Outline
from vision_line.reviews.handoff.reviewed_image import ReviewedImage, TrueDefect
from vision_line.reviews.handoff.set_format import SetFormat
from vision_line.reviews.handoff.train_split import Split

DATA_YAML = "data.yaml"


def image_name(image: ReviewedImage, split: Split) -> str:
    """Return where its file goes."""
    return f"images/{split}/{image.file_name}"


def yolo_files(
    images: Sequence[tuple[ReviewedImage, Split]], classes: Sequence[str], form: SetFormat = SetFormat.YOLO
) -> dict[str, bytes]:
    """Return `data.yaml` and the label files by name; `classes` are those of the model, in its order.

    Of `yolo-obb` a label has each box's four corners, as models of rotated boxes are trained with, of `yolo-seg` the
    polygon around each mask; of an upright box both have its corners.
    """
    label = _LABELS[form]
    labels = {
        f"labels/{split}/{PurePosixPath(image.file_name).stem}.txt": "".join(
            f"{classes.index(one.class_name)} {label(one, image)}\n" for one in image.defects
        ).encode()
        for image, split in images
    }
    splits = [split for split in Split if any(split is own for _, own in images)]
    lines = [*(f"{split}: images/{split}" for split in splits), "names:"]
    lines += [f"  {number}: {_quoted(name)}" for number, name in enumerate(classes)]
    return {DATA_YAML: "\n".join([*lines, ""]).encode(), **labels}


def _quoted(name: str) -> str:
    """Return a name as YAML's string: as JSON's, but for what JSON writes as two halves, which YAML does not join."""
    signs = (rf"\U{ord(sign):08x}" if ord(sign) > 0xFFFF else json.dumps(sign)[1:-1] for sign in name)
    return f'"{"".join(signs)}"'


def _label(defect: TrueDefect, image: ReviewedImage) -> str:
    box, frame = defect.box, image.frame
    shares = (
        (box.x1 + box.x2) / 2 / frame.width,
        (box.y1 + box.y2) / 2 / frame.height,
        (box.x2 - box.x1) / frame.width,
        (box.y2 - box.y1) / frame.height,
    )
    return " ".join(f"{share:.6f}" for share in shares)


def _corners(defect: TrueDefect, image: ReviewedImage) -> str:
    return _in_shares(defect.box.corners, image)


def _polygon(defect: TrueDefect, image: ReviewedImage) -> str:
    return _in_shares(defect.box.polygon, image)


def _in_shares(outline: Outline, image: ReviewedImage) -> str:
    """Return corners in shares of the image, those outside moved to its edge: else Ultralytics drops the image."""
    sides = image.frame.width, image.frame.height
    shares = (min(max(value / sides[n % 2], 0.0), 1.0) for n, value in enumerate(outline))
    return " ".join(f"{share:.6f}" for share in shares)


_LABELS = {SetFormat.YOLO: _label, SetFormat.YOLO_OBB: _corners, SetFormat.YOLO_SEG: _polygon}
