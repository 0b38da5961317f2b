# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reviewed images as tasks of Label Studio: truth as annotations, what the line found as predictions beside. Pure.

Boxes are percent of the image, from 0 to 100. `label_config.xml` is the labelling interface of the project. Images are
named as Label Studio's local storage serves them, relative to the folder that it is given as document root.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from vision_line.frames import Outline
from vision_line.records.outlines import is_rectangle, sides_of
from vision_line.reviews.handoff.reviewed_image import PixelBox, ReviewedImage, StoredFrame

TASKS, CONFIG = "tasks.json", "label_config.xml"
_SERVED = "/data/local-files/?d="
#: The names of the tags of the labelling interface.
_LABELS, _POLYGONS, _IMAGE = "label", "polygon", "image"


def label_studio_files(
    images: Sequence[ReviewedImage], classes: Sequence[str], folder: str, version: str
) -> dict[str, bytes]:
    """Return the files beside the images; `folder` is what the export is called, `version` the reviewed model's."""
    tasks = [_task(image, folder, version) for image in images]
    labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in classes)
    boxes = f'  <RectangleLabels name="{_LABELS}" toName="{_IMAGE}">\n{labels}  </RectangleLabels>\n'
    polygons = f'  <PolygonLabels name="{_POLYGONS}" toName="{_IMAGE}">\n{labels}  </PolygonLabels>\n'
    seen = [one.box for image in images for one in image.defects]
    seen += [one.box for image in images for one in image.found]
    tags = boxes + ("" if all(is_rectangle(box.polygon) for box in seen) else polygons)
    config = f'<View>\n  <Image name="{_IMAGE}" value="${_IMAGE}"/>\n{tags}</View>\n'
    return {TASKS: json.dumps(tasks, ensure_ascii=False, indent=1).encode() + b"\n", CONFIG: config.encode()}


def _task(image: ReviewedImage, folder: str, version: str) -> dict[str, object]:
    frame = image.frame
    truth = [_result(f"truth-{n}", one.class_name, one.box, frame) for n, one in enumerate(image.defects)]
    found = [
        {**_result(f"found-{n}", one.class_name, one.box, frame), "score": one.score}
        for n, one in enumerate(image.found)
    ]
    return {
        "data": {
            _IMAGE: _SERVED + quote(f"{folder}/images/{image.file_name}"),
            "camera": frame.camera,
            "station": frame.station,
            "run_id": frame.run_id,
            "sequence": frame.sequence,
            "sha256": frame.sha256,
            "reason": image.reason.value,
            "reviewed": list(image.items),
        },
        "annotations": [{"result": truth, "was_cancelled": False, "ground_truth": False}],
        "predictions": [
            {
                "model_version": version,
                "score": max((one.score for one in image.found), default=0.0),
                "result": found,
            }
        ],
    }


def _result(name: str, class_name: str, box: PixelBox, frame: StoredFrame) -> dict[str, object]:
    if not is_rectangle(box.polygon):
        return _polygon(name, class_name, box.polygon, frame)
    x, y = box.corners[:2]  # what Label Studio turns a rectangle around
    width, height, rotation = sides_of(box.corners)
    return {
        "id": name,
        "type": "rectanglelabels",
        "from_name": _LABELS,
        "to_name": _IMAGE,
        "original_width": frame.width,
        "original_height": frame.height,
        "image_rotation": 0,
        "value": {
            "x": _percent(x, frame.width),
            "y": _percent(y, frame.height),
            "width": _percent(width, frame.width),
            "height": _percent(height, frame.height),
            "rotation": round(rotation % 360, 4) if rotation else 0,
            "rectanglelabels": [class_name],
        },
    }


def _polygon(name: str, class_name: str, outline: Outline, frame: StoredFrame) -> dict[str, object]:
    points = zip(outline[::2], outline[1::2], strict=True)
    return {
        "id": name,
        "type": "polygonlabels",
        "from_name": _POLYGONS,
        "to_name": _IMAGE,
        "original_width": frame.width,
        "original_height": frame.height,
        "image_rotation": 0,
        "value": {
            "points": [[_percent(x, frame.width), _percent(y, frame.height)] for x, y in points],
            "polygonlabels": [class_name],
        },
    }


def _percent(pixels: float, side: int) -> float:
    return round(100 * pixels / side, 4)
