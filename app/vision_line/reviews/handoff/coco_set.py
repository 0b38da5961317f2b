# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reviewed images as COCO: `annotations.json` with what is true, `predictions.json` with what the line found. Pure.

CVAT and FiftyOne import the first; the second is a list of results as pycocotools' `loadRes` takes it, so that the
model which was reviewed can be measured on the same images.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from vision_line import __version__
from vision_line.records.formats import iso_utc
from vision_line.records.outlines import area_of
from vision_line.reviews.handoff.reviewed_image import PixelBox, ReviewedImage, TrueDefect

IMAGES = "images"
ANNOTATIONS, PREDICTIONS = "annotations.json", "predictions.json"


def coco_files(images: Sequence[ReviewedImage], classes: Mapping[str, int]) -> dict[str, bytes]:
    """Return the files beside the images by name; `classes` are numbered from 1."""
    document = {
        "info": {"description": "vision-line, reviewed", "version": __version__},
        "licenses": [],
        "categories": [{"id": number, "name": name} for name, number in classes.items()],
        "images": [_image(number, image) for number, image in enumerate(images, 1)],
        "annotations": [
            {"id": number, **annotation} for number, annotation in enumerate(_annotations(images, classes), 1)
        ],
    }
    results = [
        {
            "image_id": number,
            "category_id": classes[one.class_name],
            "bbox": _bbox(one.box),
            **({} if one.box.outline is None else {"segmentation": _polygon(one.box)}),
            "score": one.score,
        }
        for number, image in enumerate(images, 1)
        for one in image.found
        if one.class_name in classes
    ]
    return {ANNOTATIONS: _json(document), PREDICTIONS: _json(results)}


def _image(number: int, image: ReviewedImage) -> dict[str, object]:
    frame = image.frame
    return {
        "id": number,
        "file_name": f"{IMAGES}/{image.file_name}",
        "width": frame.width,
        "height": frame.height,
        "date_captured": iso_utc(frame.at_utc),
        "camera": frame.camera,
        "station": frame.station,
        "sequence": frame.sequence,
        "run_id": frame.run_id,
        "sha256": frame.sha256,
        "reason": image.reason.value,
        "reviewed": list(image.items),
    }


def _annotations(images: Sequence[ReviewedImage], classes: Mapping[str, int]) -> list[dict[str, object]]:
    return [
        {"image_id": number, "category_id": classes[defect.class_name], **_annotation(defect)}
        for number, image in enumerate(images, 1)
        for defect in image.defects
    ]


def _annotation(defect: TrueDefect) -> dict[str, object]:
    score = {} if defect.score is None else {"score": defect.score}  # the line did not find it
    return {
        "bbox": _bbox(defect.box),
        "area": round(defect.box.area if defect.box.outline is None else area_of(defect.box.outline), 2),
        "iscrowd": 0,
        "segmentation": _polygon(defect.box),
        "reviewed": defect.is_reviewed,
        **score,
    }


def _bbox(box: PixelBox) -> list[float]:
    return [round(value, 2) for value in (box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1)]


def _polygon(box: PixelBox) -> list[list[float]]:
    """Return the outline of a rotated box or a mask as a polygon; none of an upright box."""
    return [] if box.outline is None else [[round(value, 2) for value in box.outline]]


def _json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n"
