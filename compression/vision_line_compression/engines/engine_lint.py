# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a built engine computes in INT8 what its model's file quantizes: each convolution, in a file beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from onnx import NodeProto
from pydantic import BaseModel, ConfigDict

from vision_line.devices.tensorrt.engine_layers import (
    ComputedConvolution,
    EngineLayer,
    NumberType,
    State,
    convolutions,
    summary,
)
from vision_line.devices.tensorrt.engine_manifest import write_whole
from vision_line.documented import Documented
from vision_line_compression.network.onnx_file import load_model
from vision_line_compression.quantize.graph import Graph, index_graph

#: What an engine computes together with the convolution before it.
_ACTIVATIONS = frozenset({"Cast", "Clip", "HardSigmoid", "HardSwish", "LeakyRelu", "Mul", "Relu", "Sigmoid"})

#: Convolutions that the sentence names; the file has all.
MOST_NAMED = 3


class LintedConvolution(Documented, BaseModel):
    """One convolution that the file quantizes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node: str
    """Name of its node in the ONNX file."""
    state: State
    """`int8`: it reads and writes INT8; `int8_read`: it computes in INT8 and writes float; `float`; `unknown`."""
    layer: str
    """The engine's layer that computes it; empty where none is known to."""
    reads: NumberType
    """What the layer's input holds."""
    writes: NumberType
    """What its output holds: float where TensorRT did not fuse what quantizes it."""
    why: str
    """Why it is not INT8 in and out, as far as the layers and the file tell; empty where it is."""
    wanted: bool
    """Whether the file has it so: a pair directly behind its activation too."""


class EngineLint(BaseModel):
    """`NAME.engine.layers.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine_layers_version: Literal[1]
    convolutions: tuple[LintedConvolution, ...]


def lint_engine(engine: Path, onnx_file: Path, layers: Iterable[EngineLayer]) -> str:
    """Write how `engine` computes the convolutions that `onnx_file` quantizes, and return it in a sentence.

    Raises:
        ModelError: the file cannot be read.
        DeviceError: nothing can be written beside the engine.
    """
    readers = quantized_convolutions(onnx_file)
    computed = convolutions(layers, tuple(readers))
    rows = tuple(_linted(one, readers[one.node]) for one in computed)
    content = EngineLint(engine_layers_version=1, convolutions=rows).model_dump_json(indent=2)
    write_whole(lint_path(engine), f"{content}\n".encode())
    unlike = [f"{one.node} ({one.why})" for one in rows if one.why and (one.wanted or one.state is not State.INT8_READ)]
    more = f" and {len(unlike) - MOST_NAMED} more" if len(unlike) > MOST_NAMED else ""
    return summary(computed) + (f"; unlike the file: {', '.join(unlike[:MOST_NAMED])}{more}" if unlike else "")


def _linted(computed: ComputedConvolution, readers: frozenset[str]) -> LintedConvolution:
    wanted, why = readers == {"QuantizeLinear"}, computed.why
    if computed.state is State.INT8_READ:
        others = ", ".join(sorted(readers - {"QuantizeLinear"})) or "nothing"
        why = "the pair behind it is not fused with it" if wanted else f"the file has no pair for {others} behind it"
    return LintedConvolution(
        node=computed.node,
        state=computed.state,
        layer=computed.layer,
        reads=computed.reads,
        writes=computed.writes,
        why=why,
        wanted=wanted,
    )


def lint_path(engine: Path) -> Path:
    """Return where an engine's lint is kept."""
    return engine.with_name(f"{engine.name}.layers.json")


def quantized_convolutions(onnx_file: Path) -> dict[str, frozenset[str]]:
    """Return the convolutions whose weights a file stores as integers, by name, and which operations read each.

    An activation belongs to its convolution: what reads the activation counts.

    Raises:
        ModelError: it cannot be read.
    """
    graph = index_graph(load_model(onnx_file))
    dequantized = {name for node in graph.nodes if node.op_type == "DequantizeLinear" for name in node.output}
    quantized = (node for node in graph.nodes if node.op_type == "Conv" and node.input[1] in dequantized)
    return {node.name: frozenset(_readers(graph, node)) for node in quantized}


def _readers(graph: Graph, node: NodeProto) -> Iterator[str]:
    for output in node.output:
        for reader in graph.consumers.get(output, ()):
            if reader.op_type in _ACTIVATIONS:
                yield from _readers(graph, reader)
            else:
                yield reader.op_type
