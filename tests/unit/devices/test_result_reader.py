# SPDX-License-Identifier: AGPL-3.0-or-later
"""A frame that shows more than is taken of one is not read in silence."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from tests.builders import make_frame

from vision_line.devices.model.heads import MAX_DETECTIONS, HeadKind, Output
from vision_line.devices.model.model import Model
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.devices.result_reader import HeadReader

SIDE = 8192


def output_of(objects: int) -> Output:
    """Return the raw output (5, n) of a network that finds so many objects."""
    output = np.full((5, objects), 9, np.float32)
    output[0], output[4] = np.arange(objects) * 20 + 10, 0.9
    return output


def test_a_crowded_frame_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Of each camera, and of none whose frames show less."""
    model = Model(
        name="m", path=Path("m.onnx"), sha256="0" * 64, precision="fp32", classes=("pill",), stride=32,
        head=HeadKind.YOLOV8, input_name="images", input_shapes_hw=((SIDE, SIDE),), dynamic=True, score_threshold=0.25,
        nms_iou=0.7, bundle=None, variants=(),
    )  # fmt: skip
    reader, box = HeadReader(model), Letterbox((SIDE, SIDE), (SIDE, SIDE))
    with caplog.at_level(logging.WARNING):
        assert len(reader.read(make_frame("cam1", 0), box, output_of(MAX_DETECTIONS - 1))) == MAX_DETECTIONS - 1
        assert not caplog.messages
        for number in range(2):
            assert len(reader.read(make_frame("cam2", number), box, output_of(MAX_DETECTIONS + 9))) == MAX_DETECTIONS
    assert [message.partition(":")[0] for message in caplog.messages] == ["camera cam2"]
