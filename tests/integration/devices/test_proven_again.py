# SPDX-License-Identifier: AGPL-3.0-or-later
"""An open engine is proven on all of its streams, and again while it inspects."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import openvino as ov
import pytest

from vision_line.devices.cpu import proven_engines
from vision_line.devices.cpu.backend import open_cpu
from vision_line.devices.cpu.openvino_engine import OpenVino, run_images
from vision_line.devices.model.agreement import Tolerance, compare
from vision_line.devices.model.heads import HeadOutput
from vision_line.devices.model.model import open_model
from vision_line.devices.model.proof import Images, shaped


def test_each_stream_gives_what_is_right() -> None:
    """Of an engine with two streams, where the machine has two cores, twice the outputs of the images."""
    model = open_model(None)
    assert model.proof is not None
    variant, shape = model.variants[0], model.input_shapes_hw[0]
    images = shaped(model.proof.images, shape)
    outputs = run_images(OpenVino(2).compiled(model, variant.path, shape, low_precision=False), images)
    assert len(outputs) == len(images)  # of an INT8 file in float there is one stream
    one = OpenVino(1).compiled(model, variant.path, shape, low_precision=True)
    several = OpenVino(2).compiled(model, variant.path, shape, low_precision=True)
    right, found = run_images(one, images), run_images(several, images)
    assert len(right) == len(images)
    assert len(found) == int(several.get_property("NUM_STREAMS")) * len(images)


def test_an_engine_that_turns_wrong_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was proven at its opening, and is right still, holds."""
    model = open_model(None)
    with closing(open_cpu(model, model.input_shapes_hw[:1], lambda: None)) as device:
        assert device.prove_again() == ""

        def wrong(network: ov.CompiledModel, images: Images) -> list[HeadOutput]:
            right = run_images(network, images)
            return [*right[:-1], np.asarray(right[-1]) * 0]  # one output of one stream

        monkeypatch.setattr(proven_engines, "run_images", wrong)
        assert "computes wrongly now" in device.prove_again()


def test_the_proof_compares_streams_with_the_reference() -> None:
    """What the test above has for wrong is that."""
    model = open_model(None)
    assert model.proof is not None
    variant, shape = model.variants[0], model.input_shapes_hw[0]
    reference = model.proof.references[variant.name, shape]
    images = shaped(model.proof.images, shape)
    right = run_images(OpenVino(1).compiled(model, variant.path, shape, low_precision=False), images)
    classes = len(model.classes)
    assert compare(reference, model.head, classes, model.nms_iou, right, Tolerance()).holds
    assert not compare(
        reference, model.head, classes, model.nms_iou, [*right[:-1], np.asarray(right[-1]) * 0], Tolerance()
    ).holds
