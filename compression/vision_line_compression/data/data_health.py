# SPDX-License-Identifier: AGPL-3.0-or-later
"""The health of a data set: what is in it, and what is legal and hardly ever meant."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vision_line.devices.model.tasks import ModelTask
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.devices.preprocessing.shapes import closest_shape
from vision_line.ports import ShapeHW
from vision_line.words import counted
from vision_line_compression.data.dataset import Dataset, LabelledImage, label_path

#: Longer side of a box in pixels of the network's input below which it is less than one cell of its finest grid.
CELL = 8.0

#: Share of such boxes in a split that is worth a warning.
_MANY_SMALL = 0.01

#: Share of labels of a kind in a split from which on it was made for models of that.
_MOSTLY = 0.5

_Contents = dict[bytes, list[LabelledImage]]  # images by the hash of their bytes


def describe_data(splits: Mapping[str, Dataset], shapes_hw: tuple[ShapeHW, ...]) -> Iterator[str]:
    """Yield a line for each split: images, boxes of each class, and how large these are at the network's input.

    Splits of the same name in the data set are one.
    """
    for name, dataset in {dataset.split: dataset for dataset in splits.values()}.items():
        clean = sum(not len(image.class_id) for image in dataset.images)
        boxes = Counter(int(class_id) for image in dataset.images for class_id in image.class_id)
        classes = ", ".join(f"{boxes[class_id]} {known}" for class_id, known in enumerate(dataset.classes))
        sides = _sides_at_input(dataset, shapes_hw)
        sizes = ""
        if len(sides):
            low, middle, high = (f"{side:.0f}" for side in np.percentile(sides, [5, 50, 95]))
            sizes = f"; longer sides at the input: {low} to {high} pixels (5 to 95 %), median {middle}"
        yield f"{name}: {len(dataset.images)} images, {clean} without objects; {classes}{sizes}"


def data_warnings(
    splits: Mapping[str, Dataset],
    calibration: Dataset | None = None,
    shapes_hw: tuple[ShapeHW, ...] | None = None,
) -> Iterator[str]:
    """Yield a sentence for what is legal in a data set and hardly meant.

    That is each folder of a split whose images have no label file; each split whose labels are of another kind, upright
    or rotated boxes or masks, than the one it was opened for; each split without boxes of some classes, with
    images that are there several times or are cut off, or with many boxes too small for the input `shapes_hw`; and each
    two splits that share images. Splits of the same name in the data set are one. Images are the same where their bytes
    are, under any name. `calibration` are images of their own, which may be those that train, and no others.
    """
    once = {dataset.split: dataset for dataset in splits.values()}
    first = next(iter(once.values()))
    if not first.is_named:
        yield f"{first.source}: names: are missing, so the model's are taken in its order: {', '.join(first.classes)}"
    pairs = list(combinations(once, 2))
    for name, dataset in once.items():
        yield from _missing_labels(name, dataset)
        yield from _other_kind_of_labels(name, dataset)
        yield from _missing_classes(name, dataset)
        if shapes_hw is not None:
            yield from _small_boxes(name, dataset, shapes_hw)
    if calibration is not None:
        once[calibration.split] = calibration
        pairs += [(calibration.split, name) for name in once if name not in ("train", calibration.split)]
    contents = {name: _contents(dataset) for name, dataset in once.items()}
    for name, dataset in once.items():
        yield from _repeated_images(name, dataset, contents[name])
        yield from _cut_off_images(name, dataset)
    for one, other in pairs:
        ours, theirs = contents[one], contents[other]
        shared = ours.keys() & theirs.keys()
        if shared:
            example = min((ours[digest][0].path, theirs[digest][0].path) for digest in shared)
            yield (
                f"{once[one].source}: {one} and {other} share {len(shared)} images, such as {example[0]} and "
                f"{example[1]}: figures on {other} flatter what was trained, calibrated or chosen on {one}"
            )


def _missing_labels(name: str, dataset: Dataset) -> Iterator[str]:
    folders: dict[Path, list[Path]] = {}  # of label files that are not there, by the folder that they would lie in
    images: Counter[Path] = Counter()
    for image in dataset.images:
        labels = label_path(image.path)
        images[labels.parent] += 1
        if not labels.exists():
            folders.setdefault(labels.parent, []).append(labels)
    missing = sum(map(len, folders.values()))
    for folder, files in folders.items():
        if len(files) == images[folder]:
            all_images = f"; of all {len(dataset.images)} images {missing} have none" if len(images) > 1 else ""
            yield (
                f"{dataset.source}: {name}: none of the {len(files)} images has a label file in {folder}, so all count "
                f"as free of objects; the first one's was looked for at {files[0]}{all_images}"
            )


def _other_kind_of_labels(name: str, dataset: Dataset) -> Iterator[str]:
    boxes = sum(len(image.class_id) for image in dataset.images)
    turned = sum(image.turned for image in dataset.images)
    task = next((image.task for image in dataset.images), ModelTask.DETECT)
    if task is ModelTask.DETECT:
        if turned > _MOSTLY * boxes:
            yield (
                f"{dataset.source}: {name}: {turned} of {boxes} boxes are labelled by four corners of a rotated box, "
                "and the model is one of upright boxes: it learns the upright box around each"
            )
    elif task is ModelTask.SEGMENT:
        rectangles = boxes - sum(image.outlined for image in dataset.images)
        if rectangles > _MOSTLY * boxes:
            yield (
                f"{dataset.source}: {name}: {rectangles} of {boxes} labels are upright boxes, and the model is one of "
                "masks: it learns masks that fill their boxes; expected lines of a class and a polygon"
            )
    elif boxes and not turned:
        yield (
            f"{dataset.source}: {name}: all {boxes} boxes are upright, and the model is one of rotated boxes: nothing "
            "there teaches or tells how it finds angles; expected lines of a class and four corners"
        )


def _missing_classes(name: str, dataset: Dataset) -> Iterator[str]:
    if not any(label_path(image.path).exists() for image in dataset.images):
        return  # said before
    present = {int(class_id) for image in dataset.images for class_id in image.class_id}
    if missing := [known for class_id, known in enumerate(dataset.classes) if class_id not in present]:
        yield f"{dataset.source}: {name}: has no box of {', '.join(missing)}: nothing there says what is found of them"


def _small_boxes(name: str, dataset: Dataset, shapes_hw: tuple[ShapeHW, ...]) -> Iterator[str]:
    sides = _sides_at_input(dataset, shapes_hw)
    small = int((sides < CELL).sum())
    if small > _MANY_SMALL * len(sides):
        shapes = " and ".join(f"{height} x {width}" for height, width in shapes_hw)
        yield (
            f"{dataset.source}: {name}: {small} of {len(sides)} boxes are smaller than {CELL:.0f} pixels at the input "
            f"of {shapes} (height x width), less than one cell of the network: a larger input, or parts of the image, "
            "show them"
        )


def _repeated_images(name: str, dataset: Dataset, contents: _Contents) -> Iterator[str]:
    repeated = [images for images in contents.values() if len(images) > 1]
    if not repeated:
        return
    others = [images for images in repeated if len({_boxes_of(image) for image in images}) > 1]
    first, second, *_ = (others or repeated)[0]
    contradiction = f", {len(others)} of them with different boxes" if others else ""
    yield (
        f"{dataset.source}: {name}: {counted(len(repeated), 'image')} more than once{contradiction}, such as "
        f"{first.path} and {second.path}: each counts as often"
    )


def _boxes_of(image: LabelledImage) -> tuple[bytes, ...]:
    boxes = image.xyxy if image.rotated is None else image.rotated
    polygons = [polygon.tobytes() for polygon in image.polygons] if image.task is ModelTask.SEGMENT else []
    return boxes.tobytes(), image.class_id.tobytes(), *polygons


def _cut_off_images(name: str, dataset: Dataset) -> Iterator[str]:
    if cut := [image.path for image in dataset.images if image.cut_off]:
        yield (
            f"{dataset.source}: {name}: the files of {len(cut)} images are cut off, such as {cut[0]}: what is missing "
            "is grey, whatever was labelled there"
        )


def _sides_at_input(dataset: Dataset, shapes_hw: tuple[ShapeHW, ...]) -> NDArray[np.float64]:
    """Return the longer side of every box in pixels of the network's input."""
    sides = [
        image.sides_wh.max(axis=1, initial=0.0)
        * Letterbox(image.size_wh, closest_shape(image.size_wh, shapes_hw)).scale
        for image in dataset.images
    ]
    return np.concatenate(sides).astype(np.float64) if sides else np.zeros(0)


def _contents(dataset: Dataset) -> _Contents:
    found: _Contents = {}
    for image in dataset.images:
        found.setdefault(hashlib.sha256(image.path.read_bytes()).digest(), []).append(image)
    return found
