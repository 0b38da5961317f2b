# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reviewed images as YOLO folders with `data.yaml`, as `vision-line-compress --data` takes them. Pure.

An image without a true defect has an empty label file: it is background, which teaches a model what to leave alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath

from vision_line.reviews.handoff.reviewed_image import ReviewedImage, TrueDefect
from vision_line.reviews.handoff.train_split import Split

DATA_YAML = "data.yaml"


def image_name(image: ReviewedImage, split: Split) -> str:
    """Return where its file goes."""
    return f"images/{split}/{image.file_name}"


def yolo_files(images: Sequence[tuple[ReviewedImage, Split]], classes: Sequence[str]) -> dict[str, bytes]:
    """Return `data.yaml` and the label files by name; `classes` are those of the model, in its order."""
    labels = {
        f"labels/{split}/{PurePosixPath(image.file_name).stem}.txt": _labels(image, classes) for image, split in images
    }
    splits = [split for split in Split if any(split is own for _, own in images)]
    lines = [*(f"{split}: images/{split}" for split in splits), "names:"]
    lines += [f"  {number}: {_quoted(name)}" for number, name in enumerate(classes)]
    return {DATA_YAML: "\n".join([*lines, ""]).encode(), **labels}


def _quoted(name: str) -> str:
    """Return a name as YAML's string: as JSON's, but for what JSON writes as two halves, which YAML does not join."""
    signs = (rf"\U{ord(sign):08x}" if ord(sign) > 0xFFFF else json.dumps(sign)[1:-1] for sign in name)
    return f'"{"".join(signs)}"'


def _labels(image: ReviewedImage, classes: Sequence[str]) -> bytes:
    return "".join(f"{_label(one, image, classes)}\n" for one in image.defects).encode()


def _label(defect: TrueDefect, image: ReviewedImage, classes: Sequence[str]) -> str:
    box, frame = defect.box, image.frame
    shares = (
        (box.x1 + box.x2) / 2 / frame.width,
        (box.y1 + box.y2) / 2 / frame.height,
        (box.x2 - box.x1) / frame.width,
        (box.y2 - box.y1) / frame.height,
    )
    return " ".join([str(classes.index(defect.class_name)), *(f"{share:.6f}" for share in shares)])
