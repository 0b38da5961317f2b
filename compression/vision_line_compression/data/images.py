# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images of a data set, read from their files."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_line.errors import ConfigError
from vision_line_compression.data.dataset import LabelledImage

ImageBGR = NDArray[np.uint8]  # (h, w, 3)


def read_image(image: LabelledImage) -> ImageBGR:
    """Return the pixels of `image`.

    Raises:
        ConfigError: it cannot be decoded, or has another size than its header says.
    """
    pixels = cv2.imread(str(image.path))
    if pixels is None:
        raise ConfigError(f"{image.path}: it cannot be decoded as an image")
    if pixels.shape[1::-1] != image.size_wh:
        raise ConfigError(f"{image.path}: expected {image.size_wh} pixels (w, h), found {pixels.shape[1::-1]}")
    return np.asarray(pixels, np.uint8)
