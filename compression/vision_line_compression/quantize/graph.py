# SPDX-License-Identifier: AGPL-3.0-or-later
"""An ONNX graph with the look-ups that quantization needs: who makes a tensor, who reads it, what is constant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from vision_line.errors import ModelError
from vision_line_compression.network.onnx_file import OPSETS, default_opset, load_model
from vision_line_compression.quantize.encodings import SIGNED


@dataclass(frozen=True, slots=True)
class Graph:
    """A loaded model; `model` belongs to the holder, the look-ups describe it as it was when opened.

    Every node has a name of its own, and what `Constant` nodes held is in `constants` beside the initializers.
    """

    model: ModelProto
    producer: dict[str, NodeProto]
    consumers: dict[str, tuple[NodeProto, ...]]
    constants: dict[str, NDArray[Any]]

    @property
    def nodes(self) -> tuple[NodeProto, ...]:
        """Return the nodes in the file's order, which is one of execution."""
        return tuple(self.model.graph.node)

    @property
    def input_name(self) -> str:
        """Return the name of the only input."""
        return str(self.model.graph.input[0].name)

    def leaves(self, node: NodeProto) -> bool:
        """Say whether one of `node`'s outputs is one of the graph's."""
        return any(value.name in node.output for value in self.model.graph.output)

    def convolutions(self) -> tuple[NodeProto, ...]:
        """Return the `Conv` nodes whose weights are constant."""
        return tuple(node for node in self.nodes if node.op_type == "Conv" and node.input[1] in self.constants)

    def downstream(self, node: NodeProto) -> list[NodeProto]:
        """Return every node that `node`'s outputs reach, without itself."""
        seen: dict[str, NodeProto] = {}
        waiting = [node]
        while waiting:
            for output in waiting.pop().output:
                for reader in self.consumers.get(output, ()):
                    if reader.name not in seen:
                        seen[reader.name] = reader
                        waiting.append(reader)
        return list(seen.values())


def open_graph(path: Path) -> Graph:
    """Load `path` and index it; unnamed nodes get names, constants become initializers.

    Raises:
        ModelError: unreadable, an opset outside `OPSETS`, more than one input, or quantized already.
    """
    model = load_model(path)
    opset = default_opset(model)
    if opset not in OPSETS:
        raise ModelError(f"{path}: expected an opset of {OPSETS[0]} to {OPSETS[-1]}, found {opset}")
    if len(model.graph.input) != 1:
        raise ModelError(f"{path}: expected one input, found {[value.name for value in model.graph.input]}")
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise ModelError(f"{path}: expected a float model, found one that is quantized already")
    return index_graph(model)


def index_graph(model: ModelProto) -> Graph:
    """Return the look-ups of `model`, which is changed: names and constants as in `open_graph`."""
    _hoist_constants(model)
    _name_nodes(model)
    consumers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in dict.fromkeys(node.input):
            consumers.setdefault(name, []).append(node)
    return Graph(
        model=model,
        producer={output: node for node in model.graph.node for output in node.output},
        consumers={name: tuple(readers) for name, readers in consumers.items()},
        constants={tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer},
    )


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """Return a node's attribute as a Python value."""
    return next((onnx.helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


def drop_unread(model: ModelProto) -> None:
    """Leave out the constants that no node reads."""
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def rename_encoding(model: ModelProto, name: str) -> None:
    """Let the metadata of a canonical file say that it is in the encoding `name`."""
    for entry in model.metadata_props:
        if entry.key == "quantization" and entry.value == SIGNED.name:
            entry.value = name


def _hoist_constants(model: ModelProto) -> None:
    kept = []
    for node in model.graph.node:
        value = attribute(node, "value", None) if node.op_type == "Constant" else None
        if value is None:
            kept.append(node)
            continue
        value.name = node.output[0]
        model.graph.initializer.append(value)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _name_nodes(model: ModelProto) -> None:
    taken: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{number}"
        taken.add(node.name)
