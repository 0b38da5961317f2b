# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a built engine computes in INT8 what its model's file quantizes: each convolution, in a file beside it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from vision_line.devices.tensorrt.engine_layers import ComputedConvolution, EngineLayer, NumberType, State, convolutions
from vision_line.devices.tensorrt.engine_manifest import write_whole
from vision_line.documented import Documented
from vision_line_compression.network.onnx_file import load_model


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


class EngineLint(BaseModel):
    """`NAME.engine.layers.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine_layers_version: Literal[1]
    convolutions: tuple[LintedConvolution, ...]


def lint_engine(engine: Path, onnx_file: Path, layers: Iterable[EngineLayer]) -> tuple[ComputedConvolution, ...]:
    """Write how `engine` computes the convolutions that `onnx_file` quantizes, and return it.

    Raises:
        ModelError: the file cannot be read.
        DeviceError: nothing can be written beside the engine.
    """
    computed = convolutions(layers, quantized_convolutions(onnx_file))
    rows = tuple(
        LintedConvolution(node=one.node, state=one.state, layer=one.layer, reads=one.reads, writes=one.writes)
        for one in computed
    )
    content = EngineLint(engine_layers_version=1, convolutions=rows).model_dump_json(indent=2)
    write_whole(lint_path(engine), f"{content}\n".encode())
    return computed


def lint_path(engine: Path) -> Path:
    """Return where an engine's lint is kept."""
    return engine.with_name(f"{engine.name}.layers.json")


def quantized_convolutions(onnx_file: Path) -> tuple[str, ...]:
    """Return the names of the convolutions whose weights a file stores as integers.

    Raises:
        ModelError: it cannot be read.
    """
    graph = load_model(onnx_file).graph
    dequantized = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    return tuple(node.name for node in graph.node if node.op_type == "Conv" and node.input[1] in dequantized)
