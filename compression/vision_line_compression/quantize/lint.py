# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finds what an engine would refuse or silently run slowly in a quantized graph."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from vision_line.errors import ModelError
from vision_line_compression.network.onnx_file import OPSETS, default_opset
from vision_line_compression.quantize.encodings import LEAST_SCALE, SIGNED, ActivationEncoding
from vision_line_compression.quantize.graph import Graph, attribute, index_graph
from vision_line_compression.quantize.qdq_placement import PASS_THROUGH, last_convolutions

_PAIR = ("QuantizeLinear", "DequantizeLinear")


def lint_model(model: ModelProto, encoding: ActivationEncoding = SIGNED) -> tuple[str, ...]:
    """Return the faults of a quantized graph, one sentence each; empty for one that is legal in `encoding`.

    Checked: opset and domains; zero points and the range of weights' codes as `encoding` says; scales constant,
    positive and normal; one scale a tensor for activations, one a channel for weights; pairs complete; no int32 bias;
    no quantized weights on a float input; equal scales in a concatenation; the head float.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = index_graph(copy)
    checks = (
        _check_domains,
        _check_scales,
        partial(_check_codes, encoding=encoding),
        _check_pairs,
        _check_convolutions,
        _check_concats,
        _check_head,
    )
    return tuple(fault for check in checks for fault in check(graph))


def validate_quantized(model: ModelProto, path: Path, encoding: ActivationEncoding = SIGNED) -> None:
    """Let a legal graph pass.

    Raises:
        ModelError: with every fault.
    """
    faults = lint_model(model, encoding)
    if faults:
        raise ModelError(f"{path}: not a legal quantized graph: {'; '.join(faults)}")


def _check_domains(graph: Graph) -> Iterator[str]:
    opset = default_opset(graph.model)
    if opset not in OPSETS:
        yield f"opset: expected {OPSETS[0]} to {OPSETS[-1]}, found {opset}"
    foreign = sorted({node.domain for node in graph.nodes} - {"", "ai.onnx"})
    if foreign:
        yield f"operators: expected standard ones only, found some of {foreign}"


def _check_scales(graph: Graph) -> Iterator[str]:
    for node in _pairs(graph):
        scale = graph.constants.get(node.input[1])
        if scale is None or not (np.isfinite(scale) & (scale >= LEAST_SCALE)).all():
            yield f"{node.name}: expected a constant scale of at least {LEAST_SCALE:.3g}, found {_brief(scale)}"


def _check_codes(graph: Graph, encoding: ActivationEncoding) -> Iterator[str]:
    least, largest = encoding.weight_codes
    for node in _pairs(graph):
        codes = graph.constants.get(node.input[0])
        wanted = encoding.activation_zero if codes is None else np.int8(0)
        zero = graph.constants.get(node.input[2]) if len(node.input) > 2 else None
        if zero is None or zero.dtype != wanted.dtype or (zero != wanted).any():
            yield f"{node.name}: expected the zero point {wanted.dtype} {wanted}, found {_brief(zero)}"
        if codes is not None and (codes.min(initial=0) < least or codes.max(initial=0) > largest):
            yield f"{node.name}: expected codes from {least} to {largest}, found {codes.min()} to {codes.max()}"


def _pairs(graph: Graph) -> Iterator[NodeProto]:
    return (node for node in graph.nodes if node.op_type in _PAIR)


def _check_pairs(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.op_type == "QuantizeLinear":
            yield from _check_quantize(graph, node)
        elif node.op_type == "DequantizeLinear":
            yield from _check_dequantize(graph, node)


def _check_quantize(graph: Graph, node: NodeProto) -> Iterator[str]:
    if node.input[0] in graph.constants:
        yield f"{node.name}: expected weights stored as int8, found float ones behind a QuantizeLinear"
    if np.size(graph.constants.get(node.input[1], 0.0)) != 1:
        yield f"{node.name}: expected one scale for an activation, found several"
    readers = graph.consumers.get(node.output[0], ())
    if not readers or any(reader.op_type != "DequantizeLinear" for reader in readers):
        yield f"{node.name}: expected DequantizeLinear alone behind it, found {[reader.op_type for reader in readers]}"
    for reader in readers:
        if reader.op_type == "DequantizeLinear" and reader.input[1:] != node.input[1:]:
            yield f"{node.name}: expected {reader.name} to have the same scale and zero point"


def _check_dequantize(graph: Graph, node: NodeProto) -> Iterator[str]:
    if not graph.consumers.get(node.output[0]):
        yield f"{node.name}: nothing reads it"
    codes = graph.constants.get(node.input[0])
    producer = graph.producer.get(node.input[0])
    if codes is None:
        if producer is None or producer.op_type != "QuantizeLinear":
            yield f"{node.name}: expected a QuantizeLinear or int8 weights before it"
        return
    if codes.dtype != np.int8:
        yield f"{node.name}: expected int8 weights, found {codes.dtype} (a bias stays float)"
    scale = graph.constants.get(node.input[1])
    if scale is not None and (scale.shape != codes.shape[:1] or attribute(node, "axis", 1) != 0):
        yield f"{node.name}: expected {codes.shape[:1]} scales on axis 0, found {scale.shape}"


def _check_convolutions(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.op_type != "Conv":
            continue
        if len(node.input) > 2 and node.input[2]:
            bias = graph.constants.get(node.input[2])
            if bias is None or bias.dtype != np.float32:
                yield f"{node.name}: expected a constant float32 bias, found {_brief(bias)}"
        if _made_by(graph, node.input[1]) == "DequantizeLinear" and not _is_quantized(graph, node.input[0]):
            yield f"{node.name}: its weights are quantized, its input is not"


def _check_concats(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.op_type != "Concat":
            continue
        scales = {scale for name in node.input for scale in _scales_behind(graph, name)}
        if len(scales) > 1:
            yield f"{node.name}: expected one scale on all its inputs, found {sorted(scales)}"


def _check_head(graph: Graph) -> Iterator[str]:
    for node in last_convolutions(graph):
        if _made_by(graph, node.input[1]) == "DequantizeLinear":
            yield f"{node.name}: an output of the head, expected float weights"
        quantized = [later.name for later in graph.downstream(node) if later.op_type in _PAIR]
        if quantized:
            yield f"{node.name}: an output of the head, expected only float behind it, found {quantized}"


def _made_by(graph: Graph, tensor: str) -> str:
    producer = graph.producer.get(tensor)
    return "" if producer is None else str(producer.op_type)


def _is_quantized(graph: Graph, tensor: str) -> bool:
    """Say whether `tensor` is dequantized, or holds nothing but what pass-through ops moved of such values."""
    producer = graph.producer.get(tensor)
    if producer is None:
        return False
    if producer.op_type == "DequantizeLinear":
        return True
    if producer.op_type not in PASS_THROUGH:
        return False
    return all(_is_quantized(graph, name) for name in producer.input[: PASS_THROUGH[producer.op_type]])


def _scales_behind(graph: Graph, tensor: str) -> set[float]:
    """Return the scales of the dequantized values that `tensor` holds, however pass-through ops moved them."""
    producer = graph.producer.get(tensor)
    if producer is None:
        return set()
    if producer.op_type == "DequantizeLinear":
        scale = graph.constants.get(producer.input[1])
        return {float(scale)} if scale is not None and scale.size == 1 else set()
    if producer.op_type not in PASS_THROUGH:
        return set()
    moved = producer.input[: PASS_THROUGH[producer.op_type]]
    return {scale for name in moved for scale in _scales_behind(graph, name)}


def _brief(value: NDArray[np.generic] | None) -> str:
    if value is None:
        return "none"
    return f"{value.dtype} {value.ravel()[:3].tolist()}{'...' if value.size > 3 else ''}"
