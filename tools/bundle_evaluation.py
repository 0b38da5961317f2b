# SPDX-License-Identifier: AGPL-3.0-or-later
"""Accuracy of a detection ONNX on labelled pictures, through the runtime's own preprocessing and head decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from vision_line.devices.letterbox import Letterbox
from vision_line.devices.preprocess import letterbox_rgb, normalise
from vision_line.frames import Detections
from vision_line.inspection.heads import HeadDecoder, HeadKind, class_floors
from vision_line.simulator.defects import KINDS

IOUS = np.arange(0.5, 1.0, 0.05)
# COCO's protocol: scores down to 0.001 and a loose suppression when ranking counts.
_RANKING_SCORE, _RANKING_NMS_IOU = 0.001, 0.7
_SIZE_EDGES_PX = (0, 18, 21, 24, 28, 100)


@dataclass(frozen=True, slots=True)
class Labelled:
    """One picture with its true boxes (n, 4) xyxy in picture pixels and classes (n,)."""

    path: Path
    xyxy: NDArray[np.float32]
    class_id: NDArray[np.int32]


def read_split(dataset: Path, split: str) -> list[Labelled]:
    """Read the labels of one split, in the order of the file names."""
    return [_read_labelled(path) for path in sorted((dataset / "images" / split).glob("*.jpg"))]


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read a picture as RGB (h, w, 3).

    Raises:
        FileNotFoundError: it is missing or no picture.
    """
    picture = cv2.imread(str(path))
    if picture is None:
        raise FileNotFoundError(f"{path}: no picture")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _read_labelled(path: Path) -> Labelled:
    height, width = read_rgb(path).shape[:2]
    label = path.parents[2] / "labels" / path.parent.name / f"{path.stem}.txt"
    rows = np.array([line.split() for line in label.read_text().splitlines()], np.float32).reshape(-1, 5)
    centre, half = rows[:, 1:3], rows[:, 3:] / 2
    xyxy = np.concatenate((centre - half, centre + half), axis=1) * np.array((width, height) * 2, np.float32)
    return Labelled(path, xyxy.astype(np.float32), rows[:, 0].astype(np.int32))


def evaluate(
    model: Path, pictures: Sequence[Labelled], shape_hw: tuple[int, int], score: float, nms_iou: float
) -> dict[str, Any]:
    """Measure mAP by COCO's protocol; recall, precision and recall by size at the working thresholds (IoU 0.5)."""
    core = ov.Core()
    graph = core.read_model(model)
    # As at run time: with free height and width OpenVINO 2026.4 computes wrong results for Q/DQ graphs.
    graph.reshape(ov.PartialShape([1, 3, *shape_hw]))
    network = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    ranking = HeadDecoder(HeadKind.YOLOV8, class_floors(len(KINDS), _RANKING_SCORE), _RANKING_NMS_IOU)
    working = HeadDecoder(HeadKind.YOLOV8, class_floors(len(KINDS), score), nms_iou)
    ranked: list[Detections] = []
    worked: list[Detections] = []
    for picture in pictures:
        rgb = read_rgb(picture.path)
        output = network(normalise(letterbox_rgb(rgb, shape_hw)))[0][0]
        box = Letterbox((rgb.shape[1], rgb.shape[0]), shape_hw)
        for decoder, found in ((ranking, ranked), (working, worked)):
            detections = decoder.decode(output)
            found.append(Detections(box.to_picture(detections.xyxy), detections.score, detections.class_id))
    ap = np.array([average_precisions(ranked, pictures, number) for number in range(len(KINDS))])
    return {
        "map50": round(float(ap[:, 0].mean()), 4),
        "map50_95": round(float(ap.mean()), 4),
        "ap50_by_class": {kind: round(float(value), 4) for kind, value in zip(KINDS, ap[:, 0], strict=True)},
        **_working_point(worked, pictures),
        "images": len(pictures),
        "boxes": sum(len(picture.class_id) for picture in pictures),
    }


def _working_point(found: Sequence[Detections], pictures: Sequence[Labelled]) -> dict[str, Any]:
    sizes, hits, detections = [], [], 0
    for seen, picture in zip(found, pictures, strict=True):
        matched = _matches(seen, picture, 0.5)
        sides = picture.xyxy[:, 2:] - picture.xyxy[:, :2]
        sizes.append(sides.max(axis=1))
        hits.append(np.isin(np.arange(len(picture.class_id)), matched))
        detections += len(seen)
    size, hit = np.concatenate(sizes), np.concatenate(hits)
    by_size = {
        f"{low}-{high}": round(float(hit[(size >= low) & (size < high)].mean()), 4)
        for low, high in pairwise(_SIZE_EDGES_PX)
        if np.any((size >= low) & (size < high))
    }
    precision = float(hit.sum()) / max(detections, 1)
    return {
        "recall": round(float(hit.mean()), 4),
        "precision": round(precision, 4),
        "recall_by_longer_side_px": by_size,
    }


def average_precisions(found: Sequence[Detections], pictures: Sequence[Labelled], class_id: int) -> NDArray[np.float64]:
    """Give the AP of one class at each of `IOUS`, interpolated at 101 recalls."""
    total = sum(int((picture.class_id == class_id).sum()) for picture in pictures)
    seen = [detections[detections.class_id == class_id] for detections in found]
    order = np.argsort(-np.concatenate([detections.score for detections in seen]), kind="stable")
    aps = []
    for iou in IOUS:
        hits = [_matches(detections, picture, iou) >= 0 for detections, picture in zip(seen, pictures, strict=True)]
        hit = np.concatenate(hits)[order].cumsum()
        precision = np.maximum.accumulate((hit / np.arange(1, len(hit) + 1))[::-1])[::-1]
        at = np.searchsorted(hit / max(total, 1), np.linspace(0, 1, 101) - 1e-9)
        aps.append(np.append(precision, 0.0)[at].mean())
    return np.array(aps)


def _matches(detections: Detections, picture: Labelled, iou: float) -> NDArray[np.intp]:
    """Give for each detection the true box it takes, -1 for none; the highest score chooses first."""
    overlaps = _ious(detections.xyxy, picture.xyxy)
    overlaps[detections.class_id[:, None] != picture.class_id[None]] = 0
    taken = np.full(len(detections), -1, np.intp)
    for row in np.argsort(-detections.score, kind="stable"):
        best = int(overlaps[row].argmax()) if overlaps.shape[1] else -1
        if best >= 0 and overlaps[row, best] >= iou:
            taken[row] = best
            overlaps[:, best] = 0
    return taken


def _ious(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    a, b = first[:, None], second[None]
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    both = sides.prod(axis=-1)
    areas = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1)
    return np.asarray(both / np.maximum(areas - both, 1e-9), np.float32)
