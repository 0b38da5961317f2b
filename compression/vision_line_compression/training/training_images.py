# SPDX-License-Identifier: AGPL-3.0-or-later
"""The images that Ultralytics' trainer learns from, resized as an inspection resizes them, and corrupted where wanted.

Ultralytics shrinks images by bilinear interpolation, which skips pixels; an inspection averages all that fall into one,
and so does the evaluation. A small defect is another one in the two.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from ultralytics.data.augment import Compose
from ultralytics.data.dataset import YOLODataset
from ultralytics.utils.patches import imread

from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line_compression.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt

if TYPE_CHECKING:
    from ultralytics.utils import IterableSimpleNamespace

Pixels = NDArray[np.uint8]  # (h, w, 3)
SizeHW = tuple[int, int]


class InspectedImages(YOLODataset):
    """Images of a data set, resized as an inspection does; the share `corrupted` of those that train is corrupted."""

    # of all images, None where one is not kept; Ultralytics' types follow from what they begin with
    ims: list[Pixels | None]  # type: ignore[assignment]
    im_hw0: list[SizeHW | None]  # type: ignore[assignment]
    im_hw: list[SizeHW | None]  # type: ignore[assignment]

    def __init__(self, *args: object, corrupted: float = 0.0, **options: object) -> None:
        """Take Ultralytics' own arguments."""
        self._corrupted = corrupted
        super().__init__(*args, **options)  # type: ignore[arg-type]

    def load_image(self, i: int, rect_mode: bool = True, resize_short: bool = False) -> tuple[Pixels, SizeHW, SizeHW]:
        """Return image number `i`, its longer side that of the input, with its sizes [height, width] before and after.

        Raises:
            FileNotFoundError: it cannot be read.
            ValueError: it is to be stretched, which detection never does.
        """
        if not rect_mode or resize_short:
            raise ValueError("images are resized by their longer side only")
        kept, kept_before, kept_after = self.ims[i], self.im_hw0[i], self.im_hw[i]
        if kept is not None and kept_before is not None and kept_after is not None:
            return kept, kept_before, kept_after
        read = imread(self.im_files[i], flags=self.cv2_flag)
        if read is None:
            raise FileNotFoundError(f"{self.im_files[i]}: cannot be read")
        image = resized(read, self.imgsz if isinstance(self.imgsz, int) else max(self.imgsz))
        before, after = (read.shape[0], read.shape[1]), (image.shape[0], image.shape[1])
        if self.augment and self.cache != "ram":
            self._remember(i, image, before, after)
        return image, before, after

    def _remember(self, i: int, image: Pixels, before: SizeHW, after: SizeHW) -> None:
        """Keep the newest images in memory: mosaics are made of them where not all are kept."""
        self.ims[i], self.im_hw0[i], self.im_hw[i] = image, before, after
        self.buffer.append(i)
        if 1 < len(self.buffer) >= self.max_buffer_length:
            oldest = self.buffer.pop(0)
            self.ims[oldest] = self.im_hw0[oldest] = self.im_hw[oldest] = None

    def build_transforms(self, hyp: IterableSimpleNamespace) -> Compose:
        """Return Ultralytics' augmentations and corruption behind them; images that validate are not corrupted."""
        transforms = super().build_transforms(hyp)
        if self.augment and self._corrupted:
            transforms.insert(-1, Corruption(self._corrupted))  # type: ignore[no-untyped-call]
        return transforms


class Corruption:
    """Corrupts a share of the images in one of the ways and severities of the report, as if a camera saw them so."""

    def __init__(self, share: float) -> None:
        """Corrupt `share` of them."""
        self._share = share

    def __call__(self, labels: dict[str, object]) -> dict[str, object]:
        """Return an image `img` (h, w, 3) and its boxes, the image corrupted or not."""
        if random.random() < self._share:  # noqa: S311 - the generator that Ultralytics seeds
            way, severity = random.choice(list(CORRUPTIONS)), random.choice(SEVERITIES)  # noqa: S311
            rng = np.random.default_rng(random.getrandbits(64))
            labels["img"] = corrupt(np.ascontiguousarray(cast("Pixels", labels["img"])), way, severity, rng)
        return labels


def resized(image: Pixels, side: int) -> Pixels:
    """Return `image` (h, w, 3) with its longer side of `side` pixels, resampled as an inspection does: by area down."""
    size_wh = Letterbox((image.shape[1], image.shape[0]), (side, side)).content_wh
    if (image.shape[1], image.shape[0]) == size_wh:
        return image
    shrinks = image.shape[1] >= size_wh[0] and image.shape[0] >= size_wh[1]
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))
