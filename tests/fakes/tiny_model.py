# SPDX-License-Identifier: AGPL-3.0-or-later
"""A detection model small enough to build in a test: each 32 x 32 tile is a box, its mean colour the class scores."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto, helper

METADATA = {
    "task": "detect",
    "names": "{0: 'red', 1: 'green', 2: 'blue'}",
    "stride": "32",
    "imgsz": "[64, 128]",
    "end2end": "False",
    "args": "{'nms': None, 'dynamic': True}",
}


def _nodes(quantized: bool, end2end: bool, mixes: bool, half: bool, rotated: bool) -> list[onnx.NodeProto]:
    node = helper.make_node
    source = "images"
    nodes = []
    if half:
        nodes.append(node("Cast", ["images"], [source := "floats"], to=TensorProto.FLOAT))
    if quantized:
        nodes += [
            node("QuantizeLinear", [source, "step", "zero"], ["steps"]),
            node("DequantizeLinear", ["steps", "step", "zero"], ["quantized"]),
        ]
        source = "quantized"
    nodes += [
        node("AveragePool", [source], ["tiles"], kernel_shape=[32, 32], strides=[32, 32]),
        node("ReduceMax", ["tiles", "axis_channel"], ["best"], keepdims=1),
        node("Mul", ["best", "none"], ["nothing"]),
        node("Add", ["nothing", "side"], ["sides"]),  # 32 in each tile, whatever the image
        node("CumSum", ["sides", "axis_x"], ["right"]),
        node("CumSum", ["sides", "axis_y"], ["bottom"]),
    ]
    if rotated:  # half as high as wide, turned by as many radians as the tile is bright
        nodes += [
            node("Sub", ["right", "half"], ["centre_x"]),
            node("Sub", ["bottom", "half"], ["centre_y"]),
            node("Add", ["nothing", "half"], ["heights"]),
        ]
        if end2end:
            nodes += [
                node("ArgMax", ["tiles"], ["class_whole"], axis=1, keepdims=1),
                node("Cast", ["class_whole"], ["class"], to=TensorProto.FLOAT),
            ]
        said = ["best", "class"] if end2end else ["tiles"]
        nodes += [
            node("Concat", ["centre_x", "centre_y", "sides", "heights", *said, "best"], ["map"], axis=1),
            node("Reshape", ["map", "rows"], ["columns" if end2end else "output0"]),
        ]
        if end2end:
            nodes.append(node("Transpose", ["columns"], ["output0"], perm=[0, 2, 1]))
    elif end2end:
        nodes += [
            node("Sub", ["right", "side"], ["left"]),
            node("Sub", ["bottom", "side"], ["top"]),
            node("ArgMax", ["tiles"], ["class_whole"], axis=1, keepdims=1),
            node("Cast", ["class_whole"], ["class"], to=TensorProto.FLOAT),
            node("Concat", ["left", "top", "right", "bottom", "best", "class"], ["map"], axis=1),
            node("Reshape", ["map", "rows"], ["columns"]),
            node("Transpose", ["columns"], ["output0"], perm=[0, 2, 1]),
        ]
    else:
        nodes += [
            node("Sub", ["right", "half"], ["centre_x"]),
            node("Sub", ["bottom", "half"], ["centre_y"]),
            node("Conv", ["tiles", "mix"], ["scores"]) if mixes else node("Identity", ["tiles"], ["scores"]),
            node("Concat", ["centre_x", "centre_y", "sides", "sides", "scores"], ["map"], axis=1),
            node("Reshape", ["map", "rows"], ["output0"]),
        ]
    return nodes


def _mix(classes: int) -> list[float]:
    """Return how each class's score follows from the three colours: of one colour, of later classes less."""
    return [0.95 ** (row // 3) if column == row % 3 else 0.0 for row in range(classes) for column in range(3)]


def _constants(channels: int) -> list[onnx.TensorProto]:
    def tensor(name: str, kind: int, values: list[Any], dims: list[int] | None = None) -> onnx.TensorProto:
        return helper.make_tensor(name, kind, [] if dims is None else dims, values)

    return [
        tensor("step", TensorProto.FLOAT, [1 / 255]),
        tensor("zero", TensorProto.UINT8, [0]),
        tensor("none", TensorProto.FLOAT, [0.0]),
        tensor("side", TensorProto.FLOAT, [32.0]),
        tensor("half", TensorProto.FLOAT, [16.0]),
        tensor("axis_channel", TensorProto.INT64, [1], [1]),
        tensor("axis_x", TensorProto.INT64, [3]),
        tensor("axis_y", TensorProto.INT64, [2]),
        tensor("rows", TensorProto.INT64, [0, channels, -1], [3]),  # 0: as many as there are
    ]


def build_tiny_model(
    shape_hw: tuple[int, int] | None = None,
    *,
    channels: int = 3,
    classes: int = 0,
    batch: int | str = 1,
    quantized: bool = False,
    end2end: bool = False,
    rotated: bool = False,
    element: int = TensorProto.FLOAT,
    **metadata: str | None,
) -> bytes:
    """Return an ONNX file; `shape_hw` None: dynamic; `batch` a name: any.

    `classes` are more than the colours, whose scores follow from these; 0: the colours. `rotated`: rotated boxes, and
    the colours alone. `metadata` replaces or (None) removes entries of `METADATA`.
    """
    sides: tuple[int | str, int | str] = ("height", "width") if shape_hw is None else shape_hw
    rows = (6 if end2end else 4 + (classes or channels)) + rotated
    tiles: int | str = "n" if shape_hw is None else shape_hw[0] // 32 * (shape_hw[1] // 32)
    graph = helper.make_graph(
        _nodes(quantized, end2end, classes > 0, element == TensorProto.FLOAT16, rotated),
        "tiny",
        [helper.make_tensor_value_info("images", element, [batch, channels, *sides])],
        [helper.make_tensor_value_info("output0", element, [batch, *((tiles, rows) if end2end else (rows, tiles))])],
        [*_constants(rows), helper.make_tensor("mix", TensorProto.FLOAT, [classes, 3, 1, 1], _mix(classes))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    names = {"names": str({number: f"class-{number}" for number in range(classes)})} if classes else {}
    task = "obb" if rotated else "detect"
    entries = {**METADATA, "task": task, "end2end": str(end2end), **names, **metadata}
    if "metadata_end2end" in entries:
        entries["end2end"] = entries.pop("metadata_end2end")
    helper.set_model_props(model, {key: value for key, value in entries.items() if value is not None})
    return bytes(model.SerializeToString())
