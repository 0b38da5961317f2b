# SPDX-License-Identifier: AGPL-3.0-or-later
"""Encoding and fingerprint of a collected image."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vision_line.ingest.fingerprint import Fingerprint, fingerprint_luma
from vision_line.records.annotate import Image

#: PNG compression level: higher ones take several times as long for a few percent.
_PNG_LEVEL = 1


@dataclass(frozen=True, slots=True)
class ImageEncoding:
    """How images are stored: lossless PNG, or JPEG with a `quality` of 1 to 100."""

    quality: int | None = None

    def __str__(self) -> str:
        """Return the name that the manifest uses: `png` or `jpeg-90`."""
        return "png" if self.quality is None else f"jpeg-{self.quality}"

    @property
    def suffix(self) -> str:
        """The file name suffix."""
        return ".png" if self.quality is None else ".jpg"

    def encode(self, image: Image) -> bytes:
        """Return the file content of a (height, width, 3) BGR image."""
        options = [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL]
        if self.quality is not None:
            options = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
        _, data = cv2.imencode(self.suffix, image, options)
        return data.tobytes()


def fingerprint_of(image: Image) -> Fingerprint:
    """Return the fingerprint of a (height, width, 3) BGR image."""
    return fingerprint_luma(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8))
