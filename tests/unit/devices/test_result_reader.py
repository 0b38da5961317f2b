# SPDX-License-Identifier: AGPL-3.0-or-later
"""A frame that shows more than is taken of one is not read in silence."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from tests.builders import make_frame

from vision_line.devices.model.heads import MAX_DETECTIONS, HeadKind, Output, SegmentOutput
from vision_line.devices.model.masks import COEFFICIENTS
from vision_line.devices.model.model import Model
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.devices.result_reader import HeadReader

SIDE = 8192


def output_of(objects: int, places: int = 1000) -> Output:
    """Return the raw output (5, n) of a network that finds so many objects at so many places."""
    output = np.full((5, places), 9, np.float32)
    output[0], output[4] = np.arange(places) * 20 + 10, 0.01
    output[4, :objects] = 0.9
    return output


def reader_of_pills(head: HeadKind = HeadKind.YOLOV8, nms_iou: float = 0.7) -> HeadReader:
    """Return what reads a model of one class."""
    model = Model(
        name="m", path=Path("m.onnx"), sha256="0" * 64, precision="fp32", classes=("pill",), stride=32,
        head=head, input_name="images", input_shapes_hw=((SIDE, SIDE),), dynamic=True, score_threshold=0.25,
        nms_iou=nms_iou, bundle=None, variants=(),
    )  # fmt: skip
    return HeadReader(model)


def test_places_that_a_gpu_left_out_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """It hands back the best places, many of each object: all are above the floor, and there were more of them."""
    reader, box = reader_of_pills(), Letterbox((SIDE, SIDE), (SIDE, SIDE))
    crowd = output_of(1000, 1000)
    crowd[0] = np.arange(1000) // 10 * 20 + 10  # ten places an object
    with caplog.at_level(logging.WARNING):
        assert len(reader.read(make_frame("cam1", 0), box, crowd)) == 100
        crowd[4, -1] = 0.2
        assert len(reader.read(make_frame("cam2", 0), box, crowd)) == 100
    assert [message.partition(":")[0] for message in caplog.messages] == ["camera cam1"]


def test_rotated_places_that_a_gpu_left_out_are_said(caplog: pytest.LogCaptureFixture) -> None:
    """Their scores stand before the angle, which says nothing of how many there are."""
    reader, box = reader_of_pills(HeadKind.YOLOV8_OBB), Letterbox((SIDE, SIDE), (SIDE, SIDE))
    crowd = np.concatenate([output_of(1000, 1000), np.full((1, 1000), 0.3, np.float32)])
    crowd[0] = np.arange(1000) // 10 * 20 + 10
    with caplog.at_level(logging.WARNING):
        assert len(reader.read(make_frame("cam1", 0), box, crowd)) == 100
        crowd[4, -1] = 0.2
        assert len(reader.read(make_frame("cam2", 0), box, crowd)) == 100
    assert [message.partition(":")[0] for message in caplog.messages] == ["camera cam1"]


def test_a_crowded_frame_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Of each camera, and of none whose frames show less."""
    reader, box = reader_of_pills(), Letterbox((SIDE, SIDE), (SIDE, SIDE))
    with caplog.at_level(logging.WARNING):
        assert len(reader.read(make_frame("cam1", 0), box, output_of(MAX_DETECTIONS - 1))) == MAX_DETECTIONS - 1
        assert not caplog.messages
        for number in range(2):
            assert len(reader.read(make_frame("cam2", number), box, output_of(MAX_DETECTIONS + 9))) == MAX_DETECTIONS
    assert [message.partition(":")[0] for message in caplog.messages] == ["camera cam2"]


def test_masks_that_are_left_out_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Of each camera, with how many they are; all boxes are there."""
    reader, box = reader_of_pills(HeadKind.YOLOV8_SEG, nms_iou=0.99), Letterbox((640, 640), (640, 640))
    prototypes = np.ones((COEFFICIENTS, 160, 160), np.float32)

    def shows(objects: int) -> SegmentOutput:
        places = np.full((5 + COEFFICIENTS, objects), 1, np.float32)
        places[0] = places[1] = 320
        places[2], places[3] = 640, np.geomspace(640, 40, objects)
        places[4] = np.linspace(0.9, 0.5, objects)
        nothing = np.zeros((len(places), 1), np.float32)
        return SegmentOutput(np.concatenate([places, nothing], axis=1), prototypes)

    with caplog.at_level(logging.WARNING):
        few = reader.read(make_frame("cam1", 0), box, shows(20))
        crowds = [reader.read(make_frame("cam2", number), box, shows(120)) for number in range(2)]

    assert few.masks is not None
    assert few.masks.left_out == 0
    assert [len(crowd) for crowd in crowds] == [120, 120]
    left_out = crowds[0].masks.left_out if crowds[0].masks is not None else 0
    assert 0 < left_out < 90
    (said,) = caplog.messages
    assert said.startswith(f"camera cam2: {left_out} of a frame's 120 objects have no area and no outline")
