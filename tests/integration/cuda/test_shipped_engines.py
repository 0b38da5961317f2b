# SPDX-License-Identifier: AGPL-3.0-or-later
"""TensorRT-RTX builds the shipped model, reduced to its best anchors, for four generations of GPUs; none is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.miniature_yolo import draw_yolo

from vision_line.devices.model.model import open_model
from vision_line.devices.tensorrt.build import build_engine, library_version
from vision_line.devices.tensorrt.engine_manifest import TOP_K, Library, Target, check_engine, read_manifest

pytest.importorskip("tensorrt_rtx", reason='needs TensorRT-RTX: pip install ".[rtx]"')


@pytest.mark.parametrize("sm", [75, 86, 89, 120])
def test_the_shipped_model_is_built_with_its_best_anchors(tmp_path: Path, sm: int) -> None:
    """The output keeps its name and rows, and has as many columns as anchors are kept."""
    model = open_model(None)
    target = Target(Library.RTX, sm)

    engine = build_engine(model, model.input_shapes_hw[0], target, tmp_path)

    manifest = check_engine(engine, model, model.input_shapes_hw[0], target, library_version(Library.RTX))
    (output,) = manifest.outputs
    assert (output.name, output.dtype) == ("output0", "FLOAT")
    assert output.shape == (-1, 4 + len(model.classes), TOP_K)
    assert manifest.inputs[0].shape == (-1, 3, -1, -1)
    assert manifest.top_k == TOP_K


def test_many_classes_come_back_as_the_best_of_each_box(tmp_path: Path) -> None:
    """The library takes the layers that are added: box, score and class of each anchor, from 24 rows."""
    path = tmp_path / "many.onnx"
    path.write_bytes(draw_yolo(classes=20).SerializeToString())
    model = open_model(path)

    engine = build_engine(model, (64, 96), Target(Library.RTX, 86), tmp_path)

    (output,) = read_manifest(engine).outputs
    assert (output.name, output.dtype, output.shape) == ("output0", "FLOAT", (-1, 6, TOP_K))
