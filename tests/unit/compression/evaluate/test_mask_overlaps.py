# SPDX-License-Identifier: AGPL-3.0-or-later
"""Masks and their average precision against COCO's own program and Ultralytics' masks, on random data."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from ultralytics.utils.ops import process_mask_native

from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.frames import Detections
from vision_line_compression.data.dataset import LabelledImage
from vision_line_compression.evaluate.average_precision import mean_average_precision, rank
from vision_line_compression.evaluate.mask_overlaps import CutMask, found_mask, mask_overlaps, polygon_mask
from vision_line_compression.evaluate.matching import match

CLASSES = 3
SIZE_WH = (120, 90)

Corners = NDArray[np.float64]


def draw_polygon(rng: np.random.Generator, reach: float, size_wh: tuple[int, int] = SIZE_WH) -> Corners:
    """Draw a polygon that may reach beyond the edge of the image."""
    count = int(rng.integers(3, 12))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    spokes = np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(0.4, 1, (count, 1)) * reach
    corners: Corners = rng.uniform([0, 0], size_wh) + spokes
    return corners


def whole(mask: CutMask, size_wh: tuple[int, int] = SIZE_WH) -> NDArray[np.uint8]:
    """Return a mask (h, w) of the whole image."""
    pixels = np.zeros(size_wh[::-1], np.uint8)
    height, width = mask.pixels.shape
    pixels[mask.top : mask.top + height, mask.left : mask.left + width] = mask.pixels
    return pixels


def encoded(mask: CutMask) -> Any:
    """Return a mask as COCO's program takes it."""
    return coco_masks.encode(np.asfortranarray(whole(mask)))


def test_a_polygon_is_the_pixels_whose_middles_it_holds() -> None:
    """A square on pixels' edges is exact, one that is narrower than a pixel's middle is nothing, a hole stays."""
    square = polygon_mask(np.array([[2, 3], [6, 3], [6, 5], [2, 5]], float), (10, 10))
    narrow = polygon_mask(np.array([[2.6, 3], [3.4, 3], [3.4, 9], [2.6, 9]], float), (10, 10))
    ring = polygon_mask(
        np.array([[0, 0], [8, 0], [8, 8], [0, 8], [0, 0], [2, 2], [2, 6], [6, 6], [6, 2], [2, 2]], float), (10, 10)
    )
    cut = polygon_mask(np.array([[-5, -5], [4, -5], [4, 4], [-5, 4]], float), (10, 10))

    assert (square.left, square.top, square.area, square.pixels.shape) == (2, 3, 8, (2, 4))
    assert narrow.area == 0
    assert ring.area == 64 - 16
    assert (cut.left, cut.top, cut.area) == (0, 0, 16)


def test_polygons_are_those_of_coco() -> None:
    """COCO's program takes about half of the pixels on the edge otherwise; their places are the same."""
    rng = np.random.default_rng(0)
    likeness = []
    for _ in range(40):
        corners = np.clip(draw_polygon(rng, 25), 0, SIZE_WH)
        ours = polygon_mask(corners, SIZE_WH)
        (theirs,) = coco_masks.frPyObjects([corners.ravel().tolist()], SIZE_WH[1], SIZE_WH[0])
        if ours.area > 100:
            likeness.append(float(coco_masks.iou([encoded(ours)], [theirs], [0])[0, 0]))

    assert len(likeness) > 20
    assert np.mean(likeness) > 0.96
    assert min(likeness) > 0.88


@pytest.mark.parametrize("size_wh", [(64, 64), (128, 96), (200, 90)])
def test_masks_are_those_of_ultralytics(size_wh: tuple[int, int]) -> None:
    """Coefficients times prototypes, interpolated to the image's pixels, cut at the box: but for single pixels."""
    rng = np.random.default_rng(1)
    box = Letterbox(size_wh, (64, 64))
    smooth = torch.nn.functional.interpolate(torch.randn(1, 32, 5, 5), (16, 16), mode="bicubic")[0].numpy()
    coefficients = rng.normal(0, 1, (20, 32)).astype(np.float32)
    corner = rng.uniform([0, 0], np.array(size_wh) / 2, (20, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(8, 30, (20, 2))], axis=1).astype(np.float32)
    boxes = np.minimum(boxes, np.array(size_wh * 2, np.float32))

    process: Any = process_mask_native
    theirs = process(torch.from_numpy(smooth), torch.from_numpy(coefficients), torch.from_numpy(boxes), size_wh[::-1])
    ours = [found_mask(*pair, smooth, box, size_wh) for pair in zip(boxes, coefficients, strict=True)]

    same = [(whole(mask, size_wh) == other.numpy()).sum() for mask, other in zip(ours, theirs, strict=True)]
    inside = [mask.pixels.size for mask in ours]
    differing = size_wh[0] * size_wh[1] * len(ours) - sum(same)
    assert sum(mask.area for mask in ours) > 0.2 * sum(inside)
    assert differing < 0.02 * sum(inside)


def test_overlaps_are_those_of_coco() -> None:
    """Of masks that the prototypes make exactly: each pair, and none where boxes are apart."""
    prototypes = np.zeros((32, 16, 16), np.float32)
    prototypes[0], prototypes[1] = 1.0, np.linspace(-1, 1, 16, dtype=np.float32)  # the right half
    coefficients = np.zeros((3, 32), np.float32)
    coefficients[:2, 0], coefficients[2, 1] = 1.0, 1.0
    boxes = np.array([[8, 8, 40, 40], [48, 48, 60, 60], [0, 0, 64, 64]], np.float32)
    triangle = np.array([[8, 8], [40, 8], [8, 40]], np.float32)
    polygons = (triangle / np.float32(64), np.array([[0.5, 0], [1, 0], [1, 1], [0.5, 1]], np.float32))
    xyxy = np.array([[8, 8, 40, 40], [32, 0, 64, 64]], np.float32)
    image = LabelledImage(Path("a.png"), (64, 64), xyxy, np.zeros(2, np.int32), polygons=polygons)

    found = mask_overlaps(boxes, coefficients, prototypes, Letterbox((64, 64), (64, 64)), image)

    half = polygon_mask(triangle.astype(float), (64, 64)).area
    assert found[0] == pytest.approx([half / 32**2, 256 / (1024 + 2048 - 256)])
    assert found[1] == pytest.approx([0, 144 / 2048])
    assert found[2, 1] == pytest.approx(1.0)


def test_average_precision_of_masks_is_that_of_coco() -> None:
    """Over random masks near the true ones, with other classes among them: to the last digit."""
    rng = np.random.default_rng(3)
    images: list[LabelledImage] = []
    found: list[Detections] = []
    overlaps: list[NDArray[np.float32]] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for number in range(30):
        polygons = [draw_polygon(rng, 22) for _ in range(int(rng.integers(0, 5)))]
        true = [polygon_mask(polygon, SIZE_WH) for polygon in polygons]
        classes = rng.integers(0, CLASSES, len(true)).astype(np.int32)
        near = [polygon + rng.normal(0, 2, polygon.shape) + rng.normal(0, 1.5, 2) for polygon in polygons * 2]
        seen = [polygon_mask(polygon, SIZE_WH) for polygon in [*near, draw_polygon(rng, 15)]]
        score = (rng.permutation(len(seen)) / 64 + 0.1 + number / 1e4).astype(np.float32)
        named = np.concatenate([classes, classes, rng.integers(0, CLASSES, 1)]).astype(np.int32)
        boxes = np.zeros((len(true), 4), np.float32), np.zeros((len(seen), 4), np.float32)
        images.append(LabelledImage(Path(f"{number}.png"), SIZE_WH, boxes[0], classes))
        found.append(Detections(boxes[1], score, named))
        ious = [
            [one.shared(other) / max(one.area + other.area - one.shared(other), 1) for other in true] for one in seen
        ]
        overlaps.append(np.array(ious, np.float32).reshape(len(seen), len(true)))
        annotations += [
            {
                "id": len(annotations) + index + 1, "image_id": number, "category_id": int(class_id), "iscrowd": 0,
                "segmentation": encoded(mask), "area": mask.area, "bbox": [0, 0, 1, 1],
            }
            for index, (mask, class_id) in enumerate(zip(true, classes, strict=True))
        ]  # fmt: skip
        results += [
            {"image_id": number, "category_id": int(c), "score": float(s), "segmentation": encoded(mask)}
            for mask, s, c in zip(seen, score, named, strict=True)
        ]
    ours = mean_average_precision(rank(match(found, images, ious_given=overlaps, most=100), CLASSES))

    truth = COCO()
    truth.dataset = {
        "images": [{"id": number, "width": SIZE_WH[0], "height": SIZE_WH[1]} for number in range(len(images))],
        "categories": [{"id": number, "name": str(number)} for number in range(CLASSES)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert 0.2 < ours.mean() < 0.9
    assert [ours.mean(), ours[0], ours[5]] == pytest.approx(evaluation.stats[:3].tolist(), abs=1e-6)
