# SPDX-License-Identifier: AGPL-3.0-or-later
"""A network of the YOLO kind in miniature: every pattern that the placement rules speak of, in 11 convolutions."""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CLASSES = 3
COEFFICIENTS = 32


class Sketch:
    """Collects nodes and constants; each method returns the name of the tensor that it makes."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._rng = np.random.default_rng(seed)

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, name: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> list[str]:
        made = [f"{name}_out{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, made, name, **attributes))
        return made

    def conv(self, name: str, tensor: str, channels: tuple[int, int], kernel: int = 1, **attributes: Any) -> str:
        weight = self._rng.normal(0, 1.5 / np.sqrt(channels[0] * kernel**2), (channels[1], channels[0], kernel, kernel))
        inputs = [
            tensor,
            self.constant(f"{name}.weight", weight.astype(np.float32)),
            self.constant(f"{name}.bias", self._rng.normal(0, 0.3, channels[1]).astype(np.float32)),
        ]
        return self.node("Conv", name, inputs, pads=[kernel // 2] * 4, **attributes)[0]

    def silu(self, name: str, tensor: str) -> str:
        (gate,) = self.node("Sigmoid", f"{name}/sigmoid", [tensor])
        return self.node("Mul", f"{name}/mul", [tensor, gate])[0]

    def block(self, name: str, tensor: str, channels: tuple[int, int], kernel: int = 1, **attributes: Any) -> str:
        return self.silu(name, self.conv(f"{name}/conv", tensor, channels, kernel, **attributes))


def draw_yolo(seed: int = 0, classes: int = CLASSES, *, rotated: bool = False, masked: bool = False) -> onnx.ModelProto:
    """Return stem, C2f with its residual, SPPF, upsampled neck, head with a DFL: output (n, 4 + classes, anchors).

    `rotated`: the head has a branch for angles too, -pi/4 to 3 pi/4, behind the scores. `masked`: one for coefficients
    there, and a second output (n, 32, height / 4, width / 4), which they weight to masks.
    """
    art = Sketch(seed)
    stem = art.block("model.0", "images", (3, 16), 3, strides=[2, 2])
    deep = art.block("model.1", stem, (16, 32), 3, strides=[2, 2])
    sizes = art.constant("sizes", np.array([16, 16], np.int64))
    kept, worked = art.node("Split", "model.2/split", [deep, sizes], 2, axis=1)
    inner = art.block("model.2/m", worked, (16, 16), 3)
    (added,) = art.node("Add", "model.2/add", [worked, inner])
    (joined,) = art.node("Concat", "model.2/concat", [kept, worked, added], axis=1)
    merged = art.block("model.2/cv2", joined, (48, 16))
    (pooled,) = art.node("MaxPool", "model.3/pool", [merged], kernel_shape=[5, 5], pads=[2] * 4)
    (pyramid,) = art.node("Concat", "model.3/concat", [merged, pooled], axis=1)
    fused = art.block("model.3/cv2", pyramid, (32, 16))
    factors = art.constant("factors", np.array([1, 1, 2, 2], np.float32))
    (wide,) = art.node("Resize", "model.4", [fused, "", factors], mode="nearest")
    (neck,) = art.node("Concat", "model.5", [wide, stem], axis=1)
    level = art.block("model.6", neck, (32, 16), 3)
    return _with_head(art, level, classes, rotated=rotated, masks_of=fused if masked else "")


def _with_head(art: Sketch, level: str, classes: int, *, rotated: bool, masks_of: str) -> onnx.ModelProto:
    boxes = art.conv("head/cv2.2", art.block("head/cv2.0", level, (16, 16)), (16, 16))
    scores = art.conv("head/cv3.2", art.block("head/cv3.0", level, (16, 16)), (16, classes))
    bins = art.constant("bins", np.array([0, 4, 4, -1], np.int64))
    (sides,) = art.node("Reshape", "head/bins", [boxes, bins])
    (sides,) = art.node("Transpose", "head/swap", [sides], perm=[0, 2, 1, 3])
    (shares,) = art.node("Softmax", "head/softmax", [sides], axis=1)
    weight = art.constant("dfl.weight", np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1))
    (distances,) = art.node("Conv", "head/dfl", [shares, weight])
    four = art.constant("four", np.array([0, 4, -1], np.int64))
    (distances,) = art.node("Reshape", "head/distances", [distances, four])
    # rotated boxes are long: of a square one a quarter turn says nothing
    stride = np.array([8, 8, 16, 4], np.float32).reshape(4, 1) if rotated else np.array(8, np.float32)
    (pixels,) = art.node("Mul", "head/pixels", [distances, art.constant("stride", stride)])
    flat = art.constant("flat", np.array([0, classes, -1], np.int64))
    (logits,) = art.node("Reshape", "head/logits", [scores, flat])
    (confidence,) = art.node("Sigmoid", "head/confidence", [logits])
    parts = [pixels, confidence, *([_angles(art, level)] if rotated else [])]
    more = []
    if masks_of:
        parts.append(_coefficients(art, level))
        more.append(_prototypes(art, masks_of))
    rows = 4 + classes + rotated + (COEFFICIENTS if masks_of else 0)
    art.nodes.append(helper.make_node("Concat", parts, ["output0"], "head/output", axis=1))
    graph = helper.make_graph(
        art.nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", rows, "anchors"]), *more],
        art.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    names = {number: f"fault-{number}" for number in range(classes)}
    task = "obb" if rotated else "segment" if masks_of else "detect"
    helper.set_model_props(model, {"task": task, "stride": "8", "imgsz": "[64, 96]", "names": str(names)})
    onnx.checker.check_model(model)
    return model


def _angles(art: Sketch, level: str) -> str:
    turns = art.conv("head/cv4.2", art.block("head/cv4.0", level, (16, 16)), (16, 1))
    flat = art.constant("one-row", np.array([0, 1, -1], np.int64))
    (logits,) = art.node("Reshape", "head/turns", [turns, flat])
    (shares,) = art.node("Sigmoid", "head/turn-shares", [logits])
    (shifted,) = art.node("Sub", "head/turned", [shares, art.constant("quarter", np.array(0.25, np.float32))])
    (angles,) = art.node("Mul", "head/angles", [shifted, art.constant("pi", np.array(pi, np.float32))])
    return angles


def _coefficients(art: Sketch, level: str) -> str:
    weights = art.conv("head/cv5.2", art.block("head/cv5.0", level, (16, 16)), (16, COEFFICIENTS))
    flat = art.constant("rows-of-coefficients", np.array([0, COEFFICIENTS, -1], np.int64))
    (rows,) = art.node("Reshape", "head/coefficients", [weights, flat])
    return rows


def _prototypes(art: Sketch, level: str) -> Any:
    """Return the second output: prototypes whose edges are as steep as a trained model's."""
    shown = art.conv("head/proto", level, (16, COEFFICIENTS))
    steep = art.constant("steep", np.array(10, np.float32))
    art.nodes.append(helper.make_node("Mul", [shown, steep], ["output1"], "head/prototypes"))
    sides: list[str | int | None] = ["batch", COEFFICIENTS, "rows", "columns"]
    return helper.make_tensor_value_info("output1", TensorProto.FLOAT, sides)


def draw_images(count: int, seed: int = 1) -> list[NDArray[np.float32]]:
    """Return smooth images (3, 64, 96), 0..1."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((count, 3, 8, 12), dtype=np.float32)
    return list(np.kron(coarse, np.ones((1, 1, 8, 8), np.float32)))
