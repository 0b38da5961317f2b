# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a built engine computes in, layer by layer, as the library's own inspector says.

A library takes Q/DQ pairs as leave, not as an order: a convolution that it cannot fuse, or whose input it finds no
INT8 for, runs in float without a word. The inspector says so, of engines that were built with details.

Its text is for people, and differs between versions: "Thirty-two wide channel vectorized row major Int8 format",
"Half", "Row major linear FP32". So only the kind of number is looked for, and what is not understood is UNKNOWN.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType
from typing import TYPE_CHECKING

from vision_line.errors import DeviceError

if TYPE_CHECKING:
    import tensorrt


class WithoutDetailsError(DeviceError):
    """The engine was built without details of its layers, as older versions of this program did."""


class NumberType(StrEnum):
    """What numbers are in a tensor. Stable: written to files. UNKNOWN: the library does not say."""

    INT8 = "int8"
    FP8 = "fp8"
    FP16 = "fp16"
    FP32 = "fp32"
    OTHER = "other"
    UNKNOWN = "unknown"


#: Words of the library for them; the first that is found counts.
_WORDS = (
    (NumberType.OTHER, ("uint8",)),
    (NumberType.INT8, ("int8",)),
    (NumberType.FP8, ("fp8", "float8", "e4m3")),
    (NumberType.OTHER, ("bf16", "bfloat16", "int32", "int64", "bool", "int4", "fp4")),
    (NumberType.FP16, ("fp16", "half", "float16")),
    (NumberType.FP32, ("fp32", "float")),
)
_TYPE_KEYS = ("Format/Datatype", "DataType", "Datatype", "Format")
_MOVING = frozenset({"reformat", "noop", "constant", "shuffle", "identity"})
_CONVOLUTION = re.compile(r"(?:^|/)Conv(?:Transpose)?(?:_\d+)?$")
_NODE = re.compile(r"\[ONNX Layer: ([^\]|]+?)(?: \|[^\]]*)?\]")


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """One layer of an engine; `nodes` are the ONNX file's nodes that it computes, `kind` is the library's word."""

    name: str
    kind: str
    nodes: tuple[str, ...]
    inputs: tuple[NumberType, ...]
    outputs: tuple[NumberType, ...]
    weights: NumberType = NumberType.UNKNOWN
    reads_from: tuple[str, ...] = ()  # its inputs' tensors
    writes_to: tuple[str, ...] = ()

    @property
    def is_convolution(self) -> bool:
        """Whether it is the library's convolution; one that is fused into something larger has another kind."""
        return "conv" in self.kind.lower()

    @property
    def moves_alone(self) -> bool:
        """Whether it computes nothing: it may bear the names of nodes that it brings numbers to."""
        return self.kind.lower() in _MOVING

    @property
    def reads(self) -> NumberType:
        """What its first input holds: that is what it computes in."""
        return self.inputs[0] if self.inputs else NumberType.UNKNOWN

    @property
    def writes(self) -> NumberType:
        """What its first output holds."""
        return self.outputs[0] if self.outputs else NumberType.UNKNOWN


def read_layers(
    trt: ModuleType, engine: tensorrt.ICudaEngine, context: tensorrt.IExecutionContext
) -> tuple[EngineLayer, ...]:
    """Return the layers of `engine`; `context` has its shapes, without which no layer has a format.

    Raises:
        DeviceError: the library does not say, or the engine was built without details.
    """
    asked = engine.create_engine_inspector()
    if asked is None:
        raise DeviceError(f"{trt.__name__}: it gives no inspector for the engine")
    asked.execution_context = context
    return parse_layers(str(asked.get_engine_information(trt.LayerInformationFormat.JSON)))


def parse_layers(text: str) -> tuple[EngineLayer, ...]:
    """Return the layers that the inspector's JSON names. Pure.

    Raises:
        WithoutDetailsError: it has nothing but their names.
        DeviceError: it is not JSON with layers.
    """
    try:
        found = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError) as exc:
        raise DeviceError(
            f"the engine's layers cannot be read: expected JSON with Layers, found {text[:80]!r}"
        ) from exc
    if not isinstance(found, list) or not all(isinstance(layer, dict) for layer in found):
        raise WithoutDetailsError("the engine was built without details of its layers: delete it, and it is built anew")
    return tuple(_layer(layer) for layer in found)


def _layer(found: Mapping[str, object]) -> EngineLayer:
    weights = found.get("Weights")
    return EngineLayer(
        name=str(found.get("Name", "")),
        kind=str(found.get("ParameterType") or found.get("LayerType") or ""),
        nodes=tuple(name.strip() for name in _NODE.findall(str(found.get("Metadata", "")))),
        inputs=_types(found.get("Inputs")),
        outputs=_types(found.get("Outputs")),
        weights=number_type(str(weights.get("Type", ""))) if isinstance(weights, dict) else NumberType.UNKNOWN,
        reads_from=_names(found.get("Inputs")),
        writes_to=_names(found.get("Outputs")),
    )


def _names(tensors: object) -> tuple[str, ...]:
    found = tensors if isinstance(tensors, list) else []
    return tuple(str(one.get("Name", "")) if isinstance(one, dict) else "" for one in found)


def _types(tensors: object) -> tuple[NumberType, ...]:
    if not isinstance(tensors, list):
        return ()
    return tuple(number_type(_said(one)) for one in tensors)


def _said(tensor: object) -> str:
    found = tensor if isinstance(tensor, dict) else {}
    return next((str(found[key]) for key in _TYPE_KEYS if key in found), "")


def number_type(text: str) -> NumberType:
    """Return what the library's words for a format mean."""
    lowered = text.lower()
    return next((kind for kind, words in _WORDS if any(word in lowered for word in words)), NumberType.UNKNOWN)


class State(StrEnum):
    """How an engine computes a convolution. Stable: written to files."""

    INT8 = "int8"  # it reads and writes integers
    INT8_READ = "int8_read"  # it computes on integers and writes floats
    FLOAT = "float"
    UNKNOWN = "unknown"  # no layer says that it computes it, or in what


@dataclass(frozen=True, slots=True)
class ComputedConvolution:
    """One convolution of the file, and the layer that computes it, "" where none is known to.

    `why` says for one that does not read INT8 where its numbers come from, as far as the library tells; it gives no
    reasons.
    """

    node: str
    state: State
    layer: str = ""
    reads: NumberType = NumberType.UNKNOWN
    writes: NumberType = NumberType.UNKNOWN
    why: str = ""


def convolutions(layers: Iterable[EngineLayer], wanted: Sequence[str] = ()) -> tuple[ComputedConvolution, ...]:
    """Return how the convolutions `wanted` (nodes' names) are computed; without names those that layers have. Pure."""
    everything = tuple(layers)
    ordered = sorted((layer for layer in everything if not layer.moves_alone), key=lambda layer: layer.is_convolution)
    computing = {node: layer for layer in ordered for node in layer.nodes}
    writers = {tensor: layer for layer in everything for tensor in layer.writes_to}
    names = wanted or [node for node in computing if _CONVOLUTION.search(node)]
    return tuple(_computed(name, computing.get(name), writers) for name in names)


def _computed(node: str, layer: EngineLayer | None, writers: Mapping[str, EngineLayer]) -> ComputedConvolution:
    if layer is None:
        return ComputedConvolution(node, State.UNKNOWN, why="no layer names it")
    why = ""
    if layer.reads is NumberType.UNKNOWN:
        state, why = State.UNKNOWN, "the library does not say what it reads"
    elif layer.reads is not NumberType.INT8:
        state, why = State.FLOAT, _source_of(layer, writers)
    else:
        state = State.INT8 if layer.writes is NumberType.INT8 else State.INT8_READ
    return ComputedConvolution(node, state, layer.name, layer.reads, layer.writes, why)


def _source_of(layer: EngineLayer, writers: Mapping[str, EngineLayer]) -> str:
    """Say what writes the input of `layer`, beyond what only moves it, and which numbers."""
    source, reads = writers.get(layer.reads_from[0]) if layer.reads_from else None, layer.reads
    passed: set[str] = set()
    while source is not None and source.moves_alone and source.reads_from and source.name not in passed:
        passed.add(source.name)
        before = writers.get(source.reads_from[0])
        if before is None:
            break
        source = before
    if source is None:
        return f"it reads {reads}, and no layer says what writes that"
    return f"it reads {reads}, from {source.name} ({source.kind}), which writes {source.writes}"


def summary(computed: Sequence[ComputedConvolution], most_named: int = 5) -> str:
    """Return in a sentence how convolutions are computed; those in float are named."""
    count = {state: sum(one.state is state for one in computed) for state in State}
    words = [f"{count[State.INT8] + count[State.INT8_READ]} of {len(computed)} convolutions are computed in INT8"]
    if count[State.INT8_READ]:
        words.append(f"{count[State.INT8_READ]} of them write float")
    for state, what in ((State.FLOAT, "in float"), (State.UNKNOWN, "not known")):
        names = [one.node for one in computed if one.state is state]
        if names:
            more = f" and {len(names) - most_named} more" if len(names) > most_named else ""
            words.append(f"{what}: {', '.join(names[:most_named])}{more}")
    return "; ".join(words)
