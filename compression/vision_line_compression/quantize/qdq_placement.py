# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the Q/DQ pairs go: the rules, as a plan that the writer follows.

1.  Convolutions are quantized; everything else stays float. A convolution's input gets a pair, its weights are stored
    as int8 with one scale for each output channel, its bias stays float.
2.  The head's last convolutions, the DFL and everything behind them stay float: they cost most of the accuracy for a
    small share of the time, and one scale over boxes (hundreds of pixels) and scores (0..1) would erase the scores.
3.  Narrow convolutions stay float (`_too_narrow`), and so do those that the settings name.
4.  Concatenation, pooling, nearest resizing, splitting and slicing only move values (`PASS_THROUGH`): a pair with one
    scale may stand before them as well as behind. It is put before them, at the source, where every reader of the
    operation can use quantized values; the tensors that meet in one operation then share a scale.
5.  A residual addition reads its skip input quantized, if that tensor is quantized anyway, and the convolution's side
    float: the skip is read as bytes. An engine fuses the addition into the convolution only where no activation stands
    between them; in YOLO's blocks one does, and the addition goes with it into one pointwise layer.
6.  What comes out of a convolution stays float up to its activation, unless `quantize_outputs` asks otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from vision_line.errors import ModelError
from vision_line_compression.quantize.graph import Graph, attribute
from vision_line_compression.quantize.settings import PlacementSettings

#: Operations that only move values, and how many of their inputs are data.
PASS_THROUGH = {"Concat": None, "MaxPool": 1, "Resize": 1, "Split": 1, "Slice": 1}

Edge = tuple[str, int]  # node name, number of its input


@dataclass(frozen=True, slots=True)
class Placement:
    """Which convolutions are quantized, and which inputs of which nodes read a quantized tensor.

    `edges` maps an input to the tensor whose pair it reads; `groups` are the tensors with a pair, those of one group
    share a scale; `kept_float` says why the other convolutions are float.
    """

    convolutions: tuple[str, ...]
    kept_float: dict[str, str]
    edges: dict[Edge, str]
    groups: tuple[tuple[str, ...], ...]


def plan_placement(graph: Graph, settings: PlacementSettings, constant_zero: frozenset[str] = frozenset()) -> Placement:
    """Apply the rules to `graph`; readers of the tensors in `constant_zero` (zero throughout calibration) stay float.

    Raises:
        ModelError: `keep_float` names nothing in the graph, or nothing is left to quantize.
    """
    kept_float = _float_convolutions(graph, settings)
    while True:
        quantized = tuple(node for node in graph.convolutions() if node.name not in kept_float)
        if not quantized:
            raise ModelError(f"nothing to quantize: all {len(kept_float)} convolutions stay float")
        reads = {node.name: _reads(graph, node, quantized, share=settings.share_scales) for node in quantized}
        zero_input = [name for name, edges in reads.items() if constant_zero.issuperset(edges.values())]
        if not zero_input:
            break
        kept_float |= dict.fromkeys(zero_input, "its input was zero throughout calibration")
    edges = {edge: tensor for read in reads.values() for edge, tensor in read.items()}
    _add_residuals(graph, edges)
    if settings.quantize_outputs:
        _add_outputs(graph, quantized, edges, constant_zero)
    groups = (
        _groups(graph, quantized, edges)
        if settings.share_scales
        else [[name] for name in dict.fromkeys(edges.values())]
    )
    return Placement(
        convolutions=tuple(node.name for node in quantized),
        kept_float=kept_float,
        edges=edges,
        groups=tuple(tuple(members) for members in groups),
    )


def observable_tensors(graph: Graph) -> tuple[str, ...]:
    """Return every tensor that may get a pair under any settings: what calibration has to watch."""
    tensors: dict[str, None] = {}
    for node in graph.convolutions():
        waiting = [node.input[0], node.output[0]]
        while waiting:
            tensor = waiting.pop()
            if tensor in tensors or tensor in graph.constants:
                continue
            tensors[tensor] = None
            waiting += _passed_through(graph, tensor)
    return tuple(tensors)


def last_convolutions(graph: Graph) -> tuple[NodeProto, ...]:
    """Return the head's last convolutions: those behind which no other but a DFL comes, and the DFL itself."""
    return tuple(
        node
        for node in graph.nodes
        if node.op_type == "Conv"
        and all(_is_dfl(graph, later) for later in graph.downstream(node) if later.op_type == "Conv")
    )


def _float_convolutions(graph: Graph, settings: PlacementSettings) -> dict[str, str]:
    named = _named(graph, settings.keep_float)
    last = {node.name for node in last_convolutions(graph)}
    reasons: dict[str, str] = {}
    for node in graph.nodes:
        if node.op_type != "Conv":
            continue
        if node.input[1] not in graph.constants:
            reasons[node.name] = "its weights are computed"
        elif len(node.input) > 2 and node.input[2] and node.input[2] not in graph.constants:
            reasons[node.name] = "its bias is computed"
        elif node.name in last:
            reasons[node.name] = "the head's output"
        elif node.name in named:
            reasons[node.name] = "named in keep_float"
        elif _too_narrow(graph, node, settings.narrowest):
            reasons[node.name] = f"fewer than {settings.narrowest} channels"
    return reasons


def _named(graph: Graph, names: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    for name in names:
        prefix = name.rstrip("/")
        matches = {node.name for node in graph.convolutions() if f"{node.name}/".startswith(f"{prefix}/")}
        if not matches:
            raise ModelError(f"keep_float: expected the name of a convolution or of a part above it, found {name!r}")
        found |= matches
    return found


def _is_dfl(graph: Graph, node: NodeProto) -> bool:
    """Say whether `node` is the expectation over the bins 0, 1, 2 ... of a box side."""
    weight = graph.constants.get(node.input[1])
    return weight is not None and weight.shape[0] == 1 and np.array_equal(weight.ravel(), np.arange(weight.size))


def _too_narrow(graph: Graph, node: NodeProto, narrowest: int) -> bool:
    weight = graph.constants[node.input[1]]
    groups = int(attribute(node, "group", 1))
    outputs, inputs, kernel = weight.shape[0], weight.shape[1] * groups, weight.shape[2:]
    if groups > 1:  # depth-wise and grouped kernels want whole vectors of channels and a window to sum over
        return bool(outputs % 8 or min(kernel) < 3)
    multiples = inputs % 8 == 0 and outputs % 8 == 0 and len(set(kernel)) == 1
    return min(inputs, outputs) < narrowest and not multiples


def _passed_through(graph: Graph, tensor: str) -> list[str]:
    """Return the tensors whose values `tensor` holds, moved by a pass-through op; empty if something else makes it."""
    node = graph.producer.get(tensor)
    if node is None or not _passes_through(graph, node):
        return []
    return list(node.input[: PASS_THROUGH[node.op_type]])


def _passes_through(graph: Graph, node: NodeProto) -> bool:
    if node.op_type not in PASS_THROUGH:
        return False
    if node.op_type == "Resize" and attribute(node, "mode", b"nearest") != b"nearest":
        return False
    return not any(name in graph.constants for name in node.input[: PASS_THROUGH[node.op_type]])


class _Families:
    """Union-find over tensor names."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def find(self, tensor: str) -> str:
        root = tensor
        while (parent := self._parent.get(root, root)) != root:
            root = parent
        self._parent[tensor] = root
        return root

    def join(self, one: str, other: str) -> None:
        self._parent[self.find(other)] = self.find(one)


def _reads(graph: Graph, node: NodeProto, quantized: tuple[NodeProto, ...], *, share: bool) -> dict[Edge, str]:
    """Return the inputs through which `node` reads its input's values from pairs, and the tensors of those pairs."""
    if not share:
        return {(node.name, 0): node.input[0]}
    return dict(_sources(graph, (node.name, 0), node.input[0], {other.name for other in quantized}))


def _sources(graph: Graph, edge: Edge, tensor: str, quantized: set[str]) -> Iterator[tuple[Edge, str]]:
    node = graph.producer.get(tensor)
    if node is None or not _hoists(graph, node, quantized):
        yield edge, tensor
        return
    for number in range(PASS_THROUGH[node.op_type] or len(node.input)):
        yield from _sources(graph, (node.name, number), node.input[number], quantized)


def _hoists(graph: Graph, node: NodeProto, quantized: set[str]) -> bool:
    """Say whether a pair may move before `node`: a pass-through op all of whose readers can use quantized values."""
    if not _passes_through(graph, node) or graph.leaves(node):
        return False
    return all(
        reader.name in quantized or reader.op_type == "Add" or _hoists(graph, reader, quantized)
        for output in node.output
        for reader in graph.consumers.get(output, ())
    )


def _groups(graph: Graph, quantized: tuple[NodeProto, ...], edges: dict[Edge, str]) -> list[list[str]]:
    """Return the tensors with a pair, those together that meet in pass-through ops before a quantized convolution."""
    families = _Families()
    for node in quantized:
        waiting = [node.input[0]]
        while waiting:
            tensor = waiting.pop()
            for source in _passed_through(graph, tensor):
                families.join(tensor, source)
                waiting.append(source)
    groups: dict[str, list[str]] = {}
    for tensor in dict.fromkeys(edges.values()):
        groups.setdefault(families.find(tensor), []).append(tensor)
    return list(groups.values())


def _add_residuals(graph: Graph, edges: dict[Edge, str]) -> None:
    paired = set(edges.values())
    for node in graph.nodes:
        if node.op_type != "Add" or len(node.input) != 2:
            continue
        sides = [_from_convolution(graph, node, tensor) for tensor in node.input]
        if sides[0] != sides[1]:
            skip = sides.index(False)
            if node.input[skip] in paired:
                edges[node.name, skip] = node.input[skip]


def _add_outputs(
    graph: Graph, quantized: tuple[NodeProto, ...], edges: dict[Edge, str], constant_zero: frozenset[str]
) -> None:
    for node in quantized:
        output = node.output[0]
        if output in constant_zero:
            continue
        for reader in graph.consumers.get(output, ()):
            for number, name in enumerate(reader.input):
                if name == output and reader.op_type != "Add":
                    edges.setdefault((reader.name, number), output)


def _from_convolution(graph: Graph, reader: NodeProto, tensor: str) -> bool:
    """Say whether `tensor` comes from a convolution (through its activation) for `reader` alone."""
    if graph.consumers.get(tensor) != (reader,):
        return False
    node = graph.producer.get(tensor)
    if node is not None and node.op_type == "Mul":  # SiLU: x * sigmoid(x)
        makers = [graph.producer.get(name) for name in node.input]
        node = next((maker for maker in makers if maker is not None and maker.op_type == "Conv"), None)
    return node is not None and node.op_type == "Conv"
