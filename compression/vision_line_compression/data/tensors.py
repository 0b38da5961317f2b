# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images of a data set as the network sees them, through the runtime's own preprocessing; and a loss on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from ultralytics.cfg import get_cfg
from ultralytics.data.utils import polygons2masks_overlap
from ultralytics.utils.ops import xyxyxyxy2xywhr

from vision_line.devices.model.tasks import ModelTask
from vision_line.devices.preprocessing.definition import letterbox_rgb, normalise
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.devices.preprocessing.shapes import closest_shape
from vision_line.ports import ShapeHW
from vision_line_compression.data.dataset import Dataset, LabelledImage, read_image
from vision_line_compression.data.devices import CPU, moved

#: Images of a batch for statistics and losses.
BATCH = 8


def network_inputs(dataset: Dataset, shapes_hw: tuple[ShapeHW, ...]) -> Iterator[NDArray[np.float32]]:
    """Yield each image of `dataset` as a network input (3, h, w) float32, at the shape that suits it best.

    Raises:
        ConfigError: an image cannot be decoded.
    """
    for image in dataset.images:
        rgb = np.asarray(cv2.cvtColor(read_image(image), cv2.COLOR_BGR2RGB), np.uint8)
        yield normalise(letterbox_rgb(rgb, closest_shape(image.size_wh, shapes_hw)))[0]


def input_batches(dataset: Dataset, shape_hw: ShapeHW) -> Iterator[Tensor]:
    """Yield the same at one shape, as tensors (B, 3, h, w) of at most `BATCH` images."""
    images = map(torch.from_numpy, network_inputs(dataset, (shape_hw,)))
    while batch := list(islice(images, BATCH)):
        yield torch.stack(batch)


@dataclass(frozen=True, slots=True)
class LabelledLoss:
    """The training loss of a model on a few labelled images, kept in memory: a smooth measure of its worth.

    On a few dozen images the mean average precision moves in steps; the loss shows every change.
    """

    batches: tuple[dict[str, Tensor], ...]
    device: str = CPU

    @classmethod
    def on(cls, dataset: Dataset, shape_hw: ShapeHW, device: str = CPU) -> LabelledLoss:
        """Prepare the images and boxes of `dataset` for an input of `shape_hw`, to be computed on `device`.

        Raises:
            ConfigError: an image cannot be decoded.
        """
        batches = []
        for number, inputs in enumerate(input_batches(dataset, shape_hw)):
            images = dataset.images[number * BATCH : number * BATCH + len(inputs)]
            batches.append({"img": inputs, **_targets(images, shape_hw)})
        return cls(tuple(batches), device)

    def mean(self, model: nn.Module) -> float:
        """Return the mean loss of an image; `model`, in eval mode, is left as it was."""
        with torch.no_grad():
            total = sum(float(loss) for loss in self._losses(model, self.batches))
        return total / sum(len(batch["img"]) for batch in self.batches)

    def differentiate(self, model: nn.Module) -> Iterator[None]:
        """Yield with the gradient of an image's own loss added to those in the parameters of `model`, in eval mode."""
        for loss in self._losses(model, [image for batch in self.batches for image in _one_by_one(batch)]):
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            yield

    def _losses(self, model: nn.Module, batches: Sequence[dict[str, Tensor]]) -> Iterator[Tensor]:
        net: Any = model
        arguments = net.args
        net.args = get_cfg()  # the loss reads its gains there; a checkpoint holds a plain dict
        try:
            with moved(model, self.device):
                criterion = net.init_criterion()
                for held in batches:
                    batch = {name: values.to(self.device) for name, values in held.items()}
                    yield criterion(net(batch["img"]), batch)[0].sum()
        finally:
            net.args = arguments


def _one_by_one(batch: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Yield each image of a batch as a batch of its own."""
    for number in range(len(batch["img"])):
        own = batch["batch_idx"] == number
        yield {
            "img": batch["img"][number : number + 1],
            "bboxes": batch["bboxes"][own],
            "cls": batch["cls"][own],
            "batch_idx": torch.zeros(int(own.sum())),
            **({"masks": batch["masks"][number : number + 1]} if "masks" in batch else {}),
        }


def _targets(images: tuple[LabelledImage, ...], shape_hw: ShapeHW) -> dict[str, Tensor]:
    """Return class (n, 1), centre and size (n, 4) as shares of the input, and image number (n,) of all boxes.

    Of rotated boxes the angle in radians is behind centre and size, as Ultralytics' losses want it. Of masks there are
    these too, (B, h / 4, w / 4), in which each pixel has the number in its image, from 1 on, of the object that it is
    of, 0 of none; an image's objects are then in the order of their areas, since smaller ones lie over larger ones.
    """
    boxes, classes, numbers, masks = [], [], [], []
    for number, image in enumerate(images):
        letterbox = Letterbox(image.size_wh, shape_hw)
        order: NDArray[np.intp] = np.arange(len(image.class_id))
        if image.task is ModelTask.SEGMENT:
            mask, order = _masks(letterbox, image, shape_hw)
            masks.append(mask)
        own = _upright(letterbox, image) if image.rotated is None else _rotated(letterbox, image)
        boxes.append(own[order])
        classes.append(image.class_id[order])
        numbers.append(np.full(len(image.class_id), number))
    together = np.concatenate(boxes).astype(np.float64)
    together[:, :4] /= np.array(shape_hw[::-1] * 2)
    return {
        "bboxes": torch.from_numpy(together).float(),
        "cls": torch.from_numpy(np.concatenate(classes)).float()[:, None],
        "batch_idx": torch.from_numpy(np.concatenate(numbers)).float(),
        **({"masks": torch.from_numpy(np.stack(masks)).float()} if masks else {}),
    }


def _upright(letterbox: Letterbox, image: LabelledImage) -> NDArray[np.floating]:
    """Return centres and sizes (n, 4) of an image's boxes in pixels of the input."""
    xyxy = letterbox.to_input(image.xyxy)
    return np.concatenate([xyxy[:, :2] + xyxy[:, 2:], 2 * (xyxy[:, 2:] - xyxy[:, :2])], axis=1) / 2


def _rotated(letterbox: Letterbox, image: LabelledImage) -> NDArray[np.float64]:
    """Return centres, sizes and angles (n, 5) of an image's boxes, made of their labels as Ultralytics makes them."""
    boxes = (xyxyxyxy2xywhr(corners[None]) for corners in _corners(letterbox, image))  # type: ignore[no-untyped-call]
    return np.concatenate([np.zeros((0, 5)), *boxes])


def _masks(
    letterbox: Letterbox, image: LabelledImage, shape_hw: ShapeHW
) -> tuple[NDArray[np.integer], NDArray[np.intp]]:
    """Return the masks of an image (h / 4, w / 4) as Ultralytics makes them of its labels, and its objects' order."""
    ratio = get_cfg().mask_ratio
    if not image.polygons:
        return np.zeros((shape_hw[0] // ratio, shape_hw[1] // ratio), np.uint8), np.zeros(0, np.intp)
    masks, order = polygons2masks_overlap(shape_hw, list(_corners(letterbox, image)), downsample_ratio=ratio)
    return masks, order.astype(np.intp)


def _corners(letterbox: Letterbox, image: LabelledImage) -> Iterator[NDArray[np.float32]]:
    """Yield the corners (k, 2) of an image's labels in pixels of the input."""
    for polygon in image.polygons:
        points = polygon * np.array(image.size_wh, np.float32)
        yield np.ascontiguousarray(letterbox.to_input(np.hstack([points, points]))[:, :2])  # as OpenCV wants it
