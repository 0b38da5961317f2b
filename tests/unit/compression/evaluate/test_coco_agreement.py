# SPDX-License-Identifier: AGPL-3.0-or-later
"""Our average precision against COCO's own program, on random data."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vision_line.frames import Detections
from vision_line_compression.data.dataset import LabelledImage
from vision_line_compression.evaluate.average_precision import mean_average_precision, rank
from vision_line_compression.evaluate.evaluation import AREAS
from vision_line_compression.evaluate.matching import EVERYTHING, match

CLASSES = 4
SIZE_WH = (400, 300)


def draw_boxes(rng: np.random.Generator, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Draw boxes in quarters of pixels, so that corners and sizes are exact in every format."""
    corner = rng.integers(0, 900, (count, 2))
    size = np.exp(rng.uniform(np.log(20), np.log(600), (count, 2))).astype(np.int64)
    return (np.concatenate([corner, corner + size], axis=1) / 4).astype(np.float32)


def draw_image(rng: np.random.Generator, number: int) -> tuple[LabelledImage, Detections]:
    """Draw true boxes and detections: some near a true box, some anywhere, scores with ties."""
    true = draw_boxes(rng, int(rng.integers(0, 12)))
    class_id = rng.integers(0, CLASSES - 1, len(true)).astype(np.int32)  # the last class has no true box
    copies = np.repeat(true, 2, axis=0)
    near = copies + rng.integers(-12, 12, copies.shape).astype(np.float32) / 4
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 0.25)
    xyxy = np.concatenate([near, draw_boxes(rng, int(rng.integers(0, 10)))]).astype(np.float32)
    named = np.concatenate([np.repeat(class_id, 2), rng.integers(0, CLASSES, len(xyxy) - len(near))])
    swapped = rng.random(len(named)) < 0.15
    named = np.where(swapped, rng.integers(0, CLASSES, len(named)), named).astype(np.int32)
    score = (rng.integers(1, 60, len(xyxy)) / 64).astype(np.float32)
    return LabelledImage(Path(f"{number}.png"), SIZE_WH, true, class_id), Detections(xyxy, score, named)


def coco_stats(images: list[LabelledImage], found: list[Detections], most: int) -> list[float]:
    """Return pycocotools' AP, AP50, AP75, AP small, medium, large with `most` detections of an image and class."""
    truth = COCO()
    rows = [
        (number, box.astype(float), int(class_id))
        for number, image in enumerate(images)
        for box, class_id in zip(image.xyxy, image.class_id, strict=True)
    ]
    truth.dataset = {
        "images": [{"id": number, "width": SIZE_WH[0], "height": SIZE_WH[1]} for number in range(len(images))],
        "categories": [{"id": number, "name": str(number)} for number in range(CLASSES)],
        "annotations": [
            {
                "id": index + 1, "image_id": number, "category_id": class_id, "iscrowd": 0,
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "area": (box[2] - box[0]) * (box[3] - box[1]),
            }
            for index, (number, box, class_id) in enumerate(rows)
        ],
    }  # fmt: skip
    results = [
        {
            "image_id": number, "category_id": int(class_id), "score": float(score),
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
        }
        for number, one in enumerate(found)
        for box, score, class_id in zip(one.xyxy.astype(float).tolist(), one.score, one.class_id, strict=True)
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.maxDets = [1, 2, most]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"]  # (iou, recall, class, area, most)
    cells = [precision[..., 0, -1], precision[0, ..., 0, -1], precision[5, ..., 0, -1]]
    cells += [precision[..., area, -1] for area in (1, 2, 3)]
    return [float(cell[cell > -1].mean()) for cell in cells]


@pytest.mark.parametrize(("seed", "most"), [(0, 100), (1, 300), (2, 7), (3, 100)])
def test_average_precision_is_cocos(seed: int, most: int) -> None:
    """mAP50-95, 50, 75 and by area equal pycocotools' to 1e-6, whatever the limit of detections."""
    rng = np.random.default_rng(seed)
    images, found = (list(column) for column in zip(*(draw_image(rng, n) for n in range(60)), strict=True))

    means = [
        mean_average_precision(rank(match(found, images, areas=areas, most=most), CLASSES))
        for areas in (EVERYTHING, *AREAS.values())
    ]
    ours = [means[0].mean(), means[0][0], means[0][5], *(mean.mean() for mean in means[1:])]

    assert ours == pytest.approx(coco_stats(images, found, most), abs=1e-6)
    assert 0.1 < ours[0] < 0.9


def test_weights_repeat_images() -> None:
    """An image of weight 2 counts as if it were in the data set twice."""
    rng = np.random.default_rng(5)
    images, found = (list(column) for column in zip(*(draw_image(rng, n) for n in range(6)), strict=True))
    # all scores differ: repeated images put equal scores elsewhere in the ranking
    score = (rng.permutation(sum(map(len, found))) / 1000).astype(np.float32)
    parts = np.split(score, np.cumsum([len(one) for one in found])[:-1])
    found = [Detections(one.xyxy, part, one.class_id) for one, part in zip(found, parts, strict=True)]
    weights = np.array([2.0, 0.0, 1.0, 1.0, 3.0, 1.0])

    repeated = [index for index, weight in enumerate(weights) for _ in range(int(weight))]
    explicit = match([found[index] for index in repeated], [images[index] for index in repeated])
    expected = mean_average_precision(rank(explicit, CLASSES))
    weighted = mean_average_precision(rank(match(found, images), CLASSES), weights)

    # of equal scores in repeated images only the order differs, which the envelope of precision hardly shows
    assert weighted == pytest.approx(expected, abs=0.02)
