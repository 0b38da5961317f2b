# SPDX-License-Identifier: AGPL-3.0-or-later
"""INT8 by NNCF with the settings of `yolo export format=openvino int8=True`: a control, which no bundle holds.

Ultralytics quantizes OpenVINO's own format; here NNCF does the same to the ONNX file, which the application runs as any
other: the mixed preset, weights of 7 bits where a processor needs them, biases corrected, sigmoids and the decoding of
the head in float.
"""

from __future__ import annotations

import importlib
import io
import logging
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import onnx

from vision_line.errors import ConfigError, ModelError
from vision_line.packages import install_extra
from vision_line_compression.quantize.graph import Graph, open_graph
from vision_line_compression.quantize.onnx_session import InputImage


def quantize_by_nncf(float_onnx: Path, images: Iterable[InputImage]) -> onnx.ModelProto:
    """Return `float_onnx` quantized with ranges of `images` (3, h, w).

    Raises:
        ConfigError: NNCF is not installed.
        ModelError: it cannot quantize the model.
    """
    nncf = _library()
    graph = open_graph(float_onnx)
    model = graph.model
    inputs = [{graph.input_name: image[None]} for image in images]
    if not inputs:
        raise ModelError(f"{float_onnx}: expected calibration images, found none")
    try:
        with redirect_stdout(io.StringIO()):  # it draws its progress there
            quantized: onnx.ModelProto = nncf.quantize(
                model,
                nncf.Dataset(inputs),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(inputs),
                ignored_scope=nncf.IgnoredScope(names=_kept_float(graph), validate=False),
            )
    except (RuntimeError, ValueError, nncf.ValidationError) as exc:
        raise ModelError(f"{float_onnx}: NNCF cannot quantize it: {(str(exc).splitlines() or [''])[0]}") from exc
    onnx.helper.set_model_props(quantized, {entry.key: entry.value for entry in model.metadata_props})
    return quantized


def _library() -> ModuleType:  # it is not installed where nobody asked for it
    try:
        nncf = importlib.import_module("nncf")
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"report.controls: 'parent-int8-nncf' needs NNCF, which is not installed: {install_extra('nncf')}"
        ) from exc
    nncf.set_log_level(logging.ERROR)
    return nncf


def _kept_float(graph: Graph) -> list[str]:
    """Return the nodes that Ultralytics' export leaves float: sigmoids, and what the head itself decodes."""
    names = [node.name for node in graph.nodes]
    head = [node.name for node in graph.nodes if node.op_type == "Sigmoid"][-1].rsplit("/", 1)[0]
    own = {name for name in names if name.rsplit("/", 1)[0] == head or name.startswith(f"{head}/dfl/")}
    return [node.name for node in graph.nodes if node.op_type == "Sigmoid" or node.name in own]
