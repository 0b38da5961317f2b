# SPDX-License-Identifier: AGPL-3.0-or-later
"""Near misses and audits as rows. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from vision_line.frames import Detections
from vision_line.records.columns import SqlValue
from vision_line.records.entries import AuditEntry, NearMissEntry, StoredImage
from vision_line.records.statements import (
    BOX_DIGITS,
    MASK_COLUMNS,
    SCORE_DIGITS,
    insert_sql,
    mask_object,
    mask_values,
    outline_text,
    rounded,
)

_CAMERA = ("run", "camera", "station", "recipe")
_IMAGE = ("path", "sha256", "bytes", "created_utc", "missing")

INSERT_NEAR_MISS = insert_sql(
    "near_misses",
    (
        *(*_CAMERA, "near_miss_id", "class", "score", "hits", "x1", "y1", "x2", "y2", "width", "height", "sequence"),
        *(
            "first_seen_utc",
            "first_seen_s",
            "last_seen_utc",
            "last_seen_s",
            "probability",
            *_IMAGE,
            "outline",
            *MASK_COLUMNS,
        ),
    ),
    key=("run", "near_miss_id"),
)
INSERT_AUDIT = insert_sql(
    "audits",
    (
        *(*_CAMERA, "sequence", "arrived_utc", "arrived_s", "probability", "detections", "width", "height"),
        *_IMAGE,
    ),
    key=("run", "camera", "sequence"),
)


def near_miss_values(entry: NearMissEntry) -> tuple[SqlValue, ...]:
    """Return the values of `INSERT_NEAR_MISS` behind those of the camera."""
    candidate = entry.candidate
    return (
        *(candidate.near_miss_id, candidate.class_name, round(candidate.best.score, SCORE_DIGITS)),
        *(candidate.hits, *rounded(candidate.best.xyxy, BOX_DIGITS), *candidate.size_wh, candidate.best.sequence),
        *(candidate.first_seen_utc, candidate.first_seen_s, candidate.last_seen_utc, candidate.last_seen_s),
        *(entry.probability, *_image_values(entry.image), outline_text(candidate.best.outline)),
        *mask_values(candidate.best.mask),
    )


def audit_values(entry: AuditEntry, class_name: Callable[[int], str]) -> tuple[SqlValue, ...]:
    """Return the values of `INSERT_AUDIT` behind those of the camera."""
    frame = entry.inspection.frame
    return (
        *(frame.sequence, frame.arrived_utc, frame.arrived_s, entry.probability),
        *(_detections_json(entry.inspection.detections, class_name), *frame.size_wh, *_image_values(entry.image)),
    )


def _detections_json(found: Detections, class_name: Callable[[int], str]) -> str:
    """Return all of a frame's detections, rounded as those of table `detections` are."""
    columns = zip(
        found.class_id.tolist(),
        found.score.astype(np.float64).round(SCORE_DIGITS).tolist(),
        found.xyxy.astype(np.float64).round(BOX_DIGITS).tolist(),
        map(found.outline, range(len(found))),
        map(found.mask, range(len(found))),
        strict=True,
    )
    return json.dumps(
        [
            {
                "class": class_name(number),
                "score": score,
                "box": box,
                **({} if outline is None else {"outline": rounded(outline, BOX_DIGITS)}),
                **mask_object(mask),
            }
            for number, score, box, outline, mask in columns
        ],
        ensure_ascii=False,
    )


def _image_values(image: StoredImage) -> tuple[SqlValue, ...]:
    return image.path, image.sha256, image.size, image.created_utc, image.missing
