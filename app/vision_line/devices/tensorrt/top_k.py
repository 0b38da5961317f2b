# SPDX-License-Identifier: AGPL-3.0-or-later
"""Adds to a TensorRT network what keeps a yolov8 head's best anchors only, so that kilobytes come back from the GPU."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from vision_line.devices.model.heads import BOX_ROWS, HeadKind, has_best_class
from vision_line.devices.model.model import Model
from vision_line.errors import DeviceError, ModelError
from vision_line.ports import ShapeHW

if TYPE_CHECKING:
    import tensorrt


def keep_best_anchors(
    trt: ModuleType, network: tensorrt.INetworkDefinition, model: Model, shape_hw: ShapeHW, limit: int
) -> None:
    """Reduce the output to the anchors whose best class scores highest.

    It is (n, 4 + classes, anchors), of rotated boxes (n, 5 + classes, anchors). It keeps its name; it has `limit`
    columns, or as many as there are anchors at `shape_hw` if these are fewer, in descending order of their best score.
    Detections are the same unless more than `limit` anchors of one frame lie
    above the score floor; the weakest are lost then. Its rows stay what they are, or of upright boxes with many classes
    become the box, the best class's score, and that class's number, see `has_best_class`: a box counts for its best
    class only.

    Args:
        trt: the library's module.
        network: the parsed network, with free input sizes.
        model: says the number of classes.
        shape_hw: the input shape that the engine will have.
        limit: most anchors that are kept of a frame.

    Raises:
        ModelError: the output has other rows than the model's classes need, or no fixed number of anchors.
        DeviceError: the library refuses one of the layers.
    """
    output = network.get_output(0)
    anchors = _count_anchors(network, model, shape_hw)
    classes = len(model.classes)
    scores = _rows(network, output, BOX_ROWS, classes)
    best = _layer(network.add_reduce(scores.get_output(0), trt.ReduceOperation.MAX, 1 << 1, False), "reduce")
    kept = _layer(network.add_topk(best.get_output(0), trt.TopKOperation.MAX, min(limit, anchors), 1 << 1), "top-k")
    columns = _layer(network.add_gather(output, kept.get_output(1), 2), "gather")
    columns.num_elementwise_dims = 1  # each frame has its own anchors
    name = output.name
    network.unmark_output(output)
    output.name = f"{name}_all"
    reduced = columns.get_output(0)
    if model.head is HeadKind.YOLOV8 and has_best_class(classes):
        reduced = _with_best_class(trt, network, reduced, classes)
    reduced.name = name
    network.mark_output(reduced)


def _with_best_class(
    trt: ModuleType, network: tensorrt.INetworkDefinition, reduced: tensorrt.ITensor, classes: int
) -> tensorrt.ITensor:
    """Return (n, 6, anchors), box, best class's score and that class's number, of (n, 4 + classes, anchors)."""
    boxes = _rows(network, reduced, 0, BOX_ROWS).get_output(0)
    scores = _rows(network, reduced, BOX_ROWS, classes)
    best = _layer(network.add_topk(scores.get_output(0), trt.TopKOperation.MAX, 1, 1 << 1), "top-k")
    number = _layer(network.add_cast(best.get_output(1), reduced.dtype), "cast")
    joined = _layer(network.add_concatenation([boxes, best.get_output(0), number.get_output(0)]), "concatenation")
    joined.axis = 1
    return joined.get_output(0)


def _rows(network: tensorrt.INetworkDefinition, output: tensorrt.ITensor, first: int, count: int) -> tensorrt.ILayer:
    """Return what takes `count` rows of (n, rows, anchors) from `first` on."""
    rows = _layer(network.add_constant((count,), np.arange(first, first + count, dtype=np.int32)), "constant")
    return _layer(network.add_gather(output, rows.get_output(0), 1), "gather")


def _count_anchors(network: tensorrt.INetworkDefinition, model: Model, shape_hw: ShapeHW) -> int:
    """Return the output's length at `shape_hw`, which the library works out when the input has that shape."""
    network_input = network.get_input(0)
    free = tuple(network_input.shape)
    network_input.shape = (-1, 3, *shape_hw)
    found = tuple(network.get_output(0).shape)
    network_input.shape = free
    rows = model.head.rows(len(model.classes))
    if network.num_outputs != 1 or len(found) != 3 or found[1] != rows or found[2] < 1:
        raise ModelError(f"{model.path}: expected one output (batch, {rows}, anchors) at {shape_hw}, found {found}")
    return int(found[2])


def _layer(layer: tensorrt.ILayer | None, kind: str) -> tensorrt.ILayer:
    if layer is None:
        raise DeviceError(f"TensorRT refuses a {kind} layer for the best anchors")
    return layer
