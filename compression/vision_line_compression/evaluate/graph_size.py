# SPDX-License-Identifier: AGPL-3.0-or-later
"""Parameters and multiply-accumulates of a model file, counted in the graph that the engine runs."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import openvino as ov

from vision_line.devices.model.model import Model
from vision_line.errors import ModelError
from vision_line.ports import ShapeHW

_CONVOLUTIONS = frozenset({"Convolution", "GroupConvolution"})
_TRANSPOSED = "ConvolutionBackpropData"


@dataclass(frozen=True, slots=True)
class GraphSize:
    """`params`: weights and biases; `macs`: multiply-accumulates of one image (FLOPs as usually printed are twice)."""

    params: int
    macs: int


def count_graph(model: Model, shape_hw: ShapeHW) -> GraphSize:
    """Count convolutions and matrix products at an input of `shape_hw`; batch normalisation is folded in exports.

    The same counts for a float graph and for its quantized form. The multiplications of the frozen sum over DFL bins,
    one in ten thousand, are left out, as budgets and plans leave them out.

    Raises:
        ModelError: OpenVINO cannot read the model or reshape it.
    """
    try:
        graph = ov.Core().read_model(model.path)
        graph.reshape({model.input_name: ov.PartialShape([1, 3, *shape_hw])})
        nodes = graph.get_ordered_ops()
        params = sum(_params(node) for node in nodes)
        macs = sum(_macs(node) for node in nodes)
    except RuntimeError as exc:
        raise ModelError(f"{model.path}: OpenVINO cannot count it at {shape_hw} (h, w): {exc}") from exc
    return GraphSize(params, macs)


def _macs(node: ov.Node) -> int:
    kind = node.get_type_name()
    if kind in _CONVOLUTIONS and "/dfl/" in node.get_friendly_name():
        return 0
    if kind in _CONVOLUTIONS:
        # weights are (out, in, h, w), or (groups, out / groups, in / groups, h, w)
        spatial = len(node.output(0).get_shape()) - 1
        return _elements(node.output(0)) * prod(map(int, list(node.input(1).get_shape())[-spatial:]))
    if kind == _TRANSPOSED:  # weights are (in, out, h, w), and each place of the input is multiplied with all of them
        return _elements(node.input(0)) * prod(map(int, list(node.input(1).get_shape())[1:]))
    if kind == "MatMul":
        axis = -2 if node.get_attributes().get("transpose_a") else -1
        return _elements(node.output(0)) * int(node.input(0).get_shape()[axis])
    return 0


def _params(node: ov.Node) -> int:
    kind = node.get_type_name()
    if (
        kind in _CONVOLUTIONS
        or kind == _TRANSPOSED
        or (kind == "MatMul" and _is_constant(node.input_value(1).get_node()))
    ):
        return _elements(node.input(1)) + _bias(node)
    return 0


def _bias(node: ov.Node) -> int:
    """Return the size of the constant that is added to what `node` returns, one value for each channel."""
    channels = int(node.output(0).get_shape()[-1 if node.get_type_name() == "MatMul" else 1])
    for target in node.output(0).get_target_inputs():
        adding = target.get_node()
        if adding.get_type_name() != "Add":
            continue
        other = adding.input_value(1 - target.get_index())
        if _elements(other) == channels and _is_constant(other.get_node()):
            return channels
    return 0


def _elements(port: ov.Output) -> int:
    return prod(map(int, port.get_shape()))


def _is_constant(node: ov.Node) -> bool:
    """Say whether the data of `node` is a constant, perhaps converted, scaled or reshaped on its way.

    Only first inputs are followed: OpenVINO takes the shape that a bias is brought to from the convolution itself.
    """
    while node.get_input_size():
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")
