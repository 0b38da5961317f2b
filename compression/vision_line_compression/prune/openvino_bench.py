# SPDX-License-Identifier: AGPL-3.0-or-later
"""Times convolutions and whole networks on this machine's processor, with the engine that inspects there."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13

from vision_line.errors import DeviceError
from vision_line.ports import ShapeHW
from vision_line_compression.prune.latency import ConvolutionKind

#: Runs of a point at least.
_LEAST_RUNS = 5

#: Types of the engine's nodes that a convolution with bias and activation becomes: in INT8 all in one. There a
#: `Subgraph` gives the input its codes, which in a whole network the layer before does.
_INTEGER_NODES = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "Swish", "Eltwise")
_FLOAT_NODES = (*_INTEGER_NODES, "Subgraph")

#: Where a convolution of fewer channels stays float, unless both numbers are multiples of 8: as `quantize` decides.
_NARROWEST = 16

#: The range of the codes does not matter to the time.
_LIMIT = 4.0


@dataclass(frozen=True, slots=True)
class OpenvinoBench:
    """Times on the CPU; `threads` 0 leaves their number to the engine. `seconds` are spent on each point."""

    seconds: float = 0.05
    threads: int = 0
    core: ov.Core = field(default_factory=ov.Core)

    @property
    def target(self) -> str:
        """Say what it measures on."""
        return f"{str(self.core.get_property('CPU', 'FULL_DEVICE_NAME')).strip()}, OpenVINO, int8"

    def least_ms(self, kind: ConvolutionKind, channels_in: int, channels_out: int) -> float:
        """Return the shortest run of a convolution in INT8, or in float where a quantized network has it so.

        Raises:
            DeviceError: OpenVINO cannot compile or run it.
        """
        quantized = _is_quantized(kind, channels_in, channels_out)
        network = _convolution(kind, channels_in, channels_out, quantized=quantized)
        # not the whole run: alone, a convolution also pays for two changes of memory layout
        nodes = _INTEGER_NODES if quantized else _FLOAT_NODES
        return self._least(network, (1, channels_in, *_input_hw(kind)), nodes)

    def network_ms(self, onnx: Path, size_hw: ShapeHW) -> float:
        """Return the shortest run of a whole network on one image.

        Raises:
            DeviceError: OpenVINO cannot compile or run it.
        """
        network = self.core.read_model(onnx)
        network.reshape([1, 3, *size_hw])
        return self._least(network, (1, 3, *size_hw), None)

    def _least(self, network: ov.Model, shape: tuple[int, ...], nodes: tuple[str, ...] | None) -> float:
        """Return the shortest run, of `nodes` alone where they are given."""
        config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": nodes is not None}
        if self.threads:
            config["INFERENCE_NUM_THREADS"] = self.threads
        try:
            request = self.core.compile_model(network, "CPU", config).create_infer_request()
            # Uninitialised memory may hold denormal numbers, which some processors multiply a hundred times slower.
            request.set_input_tensor(ov.Tensor(np.full(shape, 0.5, np.float32)))
            request.infer()
            runs: list[float] = []
            end = time.perf_counter() + self.seconds
            while len(runs) < _LEAST_RUNS or time.perf_counter() < end:
                begin = time.perf_counter()
                request.infer()
                took_ms = (time.perf_counter() - begin) * 1e3
                runs.append(took_ms if nodes is None else _nodes_ms(request, nodes))
        except RuntimeError as exc:
            raise DeviceError(f"OpenVINO cannot measure it: {str(exc).splitlines()[0]}") from exc
        return min(runs)


def _nodes_ms(request: ov.InferRequest, types: tuple[str, ...]) -> float:
    nodes = [node for node in request.profiling_info if node.node_type in types]
    return float(sum(node.real_time.total_seconds() for node in nodes) * 1e3)


def _input_hw(kind: ConvolutionKind) -> tuple[int, int]:
    if kind.transposed:
        return kind.grid_hw[0] // kind.stride, kind.grid_hw[1] // kind.stride
    return kind.grid_hw[0] * kind.stride, kind.grid_hw[1] * kind.stride


def _convolution(kind: ConvolutionKind, channels_in: int, channels_out: int, *, quantized: bool) -> ov.Model:
    """Build convolution, bias and SiLU, between codes where `quantized`, as a layer of the deployed network is."""
    image = opset13.parameter([1, channels_in, *_input_hw(kind)], np.float32)
    if kind.transposed:
        return _transposed(kind, image, channels_in, channels_out)
    read = _coded(image, 256) if quantized else image
    before = [side // 2 for side in kind.kernel_hw]
    options = ([kind.stride] * 2, before, before, [1, 1])
    shape = (channels_in, 1, 1, *kind.kernel_hw) if kind.depthwise else (channels_out, channels_in, *kind.kernel_hw)
    weights = opset13.constant(np.full(shape, 0.01, np.float32))
    if quantized:
        weights = _coded(weights, 255)
    convolve = opset13.group_convolution if kind.depthwise else opset13.convolution
    bias = np.full((1, channels_in if kind.depthwise else channels_out, 1, 1), 0.01, np.float32)
    result = opset13.swish(opset13.add(convolve(read, weights, *options), bias))
    return ov.Model([_coded(result, 256) if quantized else result], [image], "convolution")


def _transposed(kind: ConvolutionKind, image: ov.Node, channels_in: int, channels_out: int) -> ov.Model:
    """Build a transposed convolution and its bias, which a quantized network has in float, without padding."""
    weights = np.full((channels_in, channels_out, *kind.kernel_hw), 0.01, np.float32)
    made = opset13.convolution_backprop_data(image, weights, [kind.stride] * 2, pads_begin=[0, 0], pads_end=[0, 0])
    return ov.Model([opset13.add(made, np.full((1, channels_out, 1, 1), 0.01, np.float32))], [image], "convolution")


def _coded(values: ov.Node, levels: int) -> ov.Node:
    low, high = (np.full([1] * len(values.shape), limit, np.float32) for limit in (-_LIMIT, _LIMIT))
    return opset13.fake_quantize(values, low, high, low, high, levels)


def _is_quantized(kind: ConvolutionKind, channels_in: int, channels_out: int) -> bool:
    if kind.transposed:
        return False
    if kind.depthwise:
        return channels_in % 8 == 0 and min(kind.kernel_hw) >= 3
    multiples = channels_in % 8 == 0 and channels_out % 8 == 0 and kind.kernel_hw[0] == kind.kernel_hw[1]
    return min(channels_in, channels_out) >= _NARROWEST or multiples
