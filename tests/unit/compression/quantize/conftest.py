# SPDX-License-Identifier: AGPL-3.0-or-later
"""The miniature network in a file, and images to calibrate it with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tests.fakes.miniature_yolo import draw_images, draw_yolo


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    """Return a float model in a file."""
    path = tmp_path / "float.onnx"
    onnx.save(draw_yolo(), str(path))
    return path


@pytest.fixture
def images() -> list[NDArray[np.float32]]:
    """Return four calibration images."""
    return draw_images(4)
