# SPDX-License-Identifier: AGPL-3.0-or-later
"""An engine whose mask branch is dead does not inspect, though its boxes, scores and classes are right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.fakes.miniature_yolo import CLASSES, draw_yolo

from vision_line.devices.cpu.openvino_engine import float_outputs
from vision_line.devices.cpu.proven_engines import ProvenEngines
from vision_line.devices.model.agreement import reference_of, weakness
from vision_line.devices.model.heads import HeadKind
from vision_line.devices.model.model import Model, open_model
from vision_line.devices.model.proof import Proof, drawn_images, shaped
from vision_line.errors import DeviceError

SHAPE = (64, 96)


@pytest.fixture
def proof(tmp_path: Path) -> Proof:
    """What the right file gives."""
    model = written(tmp_path / "right.onnx", draw_yolo(masked=True))
    images = drawn_images(4, 96)
    outputs = float_outputs(model, model.path, shaped(images, SHAPE))
    reference = reference_of(model.head, CLASSES, model.nms_iou, outputs)
    assert (model.head, weakness(reference)) == (HeadKind.YOLOV8_SEG, "")
    return Proof(images, {(model.variants[0].name, SHAPE): reference})


def written(path: Path, network: onnx.ModelProto) -> Model:
    """Write a network and open it."""
    onnx.save(network, path)
    return open_model(path)


def killed(network: onnx.ModelProto, convolution: str) -> onnx.ModelProto:
    """Return a network of which one convolution puts out its bias alone, whatever it sees."""
    for constant in network.graph.initializer:
        if constant.name == f"{convolution}.weight":
            values = np.zeros_like(numpy_helper.to_array(constant))
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))
    return network


def test_the_right_engine_is_proven(proof: Proof, tmp_path: Path) -> None:
    """By the proof alone."""
    model = replace(written(tmp_path / "same.onnx", draw_yolo(masked=True)), proof=proof)
    engines = ProvenEngines(model, 1)

    assert engines.open(SHAPE)
    assert engines.reason == "proven by the bundle's proof"


@pytest.mark.parametrize("convolution", ["head/proto", "head/cv5.2"])
def test_an_engine_with_a_dead_mask_branch_is_refused(proof: Proof, tmp_path: Path, convolution: str) -> None:
    """With prototypes, or coefficients, that are the same everywhere."""
    network = killed(draw_yolo(masked=True), convolution)
    model = replace(written(tmp_path / "dead.onnx", network), proof=proof)

    with pytest.raises(DeviceError, match=r"no variant of the model computes rightly.* shapes of masks by"):
        ProvenEngines(model, 1).open(SHAPE)
