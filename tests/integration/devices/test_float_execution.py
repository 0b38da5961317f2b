# SPDX-License-Identifier: AGPL-3.0-or-later
"""The float execution of an INT8 file is the last resort and the yardstick: every engine of it must be right."""

from __future__ import annotations

import pytest

from vision_line.devices.cpu.openvino_engine import OpenVino, run_images
from vision_line.devices.model.agreement import Tolerance, compare
from vision_line.devices.model.model import open_model
from vision_line.devices.model.proof import shaped


@pytest.mark.parametrize("number", [0, 1])
def test_every_engine_is_right_on_several_cores(number: int) -> None:
    """With two streams that are not pinned, every other engine found nothing of what is there (OpenVINO 2026.4)."""
    model = open_model(None)
    assert model.proof is not None
    variant, shape = model.variants[number], model.input_shapes_hw[0]
    images = shaped(model.proof.images, shape)
    for _ in range(8):
        outputs = run_images(OpenVino(2).compiled(model, variant.path, shape, low_precision=False), images)

        reference = model.proof.references[variant.name, shape]
        found = compare(reference, model.head, len(model.classes), model.nms_iou, outputs, Tolerance())
        assert found.holds, str(found)
