# SPDX-License-Identifier: AGPL-3.0-or-later
"""The stand-in for TensorRT computes what the model's file says: as ONNX Runtime does without its optimizations."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from tools.gpu_check.standin.graph_in_torch import TorchGraph

from vision_line.devices.model.model import Model, open_model
from vision_line.devices.model.proof import shaped, unpack_proof
from vision_line.devices.preprocessing.definition import SCALE

_IMAGES = 4


def _images(model: Model) -> NDArray[np.float32]:
    """Return some of the proof's images as the network's input (n, 3, 192, 320)."""
    proof = unpack_proof((model.path.parent / "proof.npz").read_bytes())
    images = shaped(proof.images[:_IMAGES], (192, 320)).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images * SCALE, dtype=np.float32)


@pytest.fixture(scope="module")
def model() -> Model:
    """Return the shipped model."""
    return open_model(None)


@pytest.mark.parametrize("which", ["as shipped", "float16 between its pairs", "INT8 weights alone"])
def test_the_stand_in_computes_what_onnx_runtime_computes(model: Model, which: str) -> None:
    """Scores of the proof's images, within what another order of additions does to INT8."""
    between, weights, _float16 = model.gpu_variants
    path = {"as shipped": model.path, "INT8 weights alone": weights.path}.get(which, between.path)
    loaded = onnx.load(path)
    images = _images(model).astype(np.float32 if which == "as shipped" else np.float16)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(loaded.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {model.input_name: images})
    graph = TorchGraph(loaded, "cpu", exact=True)
    with torch.no_grad():
        first, again = (run(torch.from_numpy(images)).numpy() for run in (graph.first, graph))

    scores = np.abs(first[:, 4:] - wanted[:, 4:])
    assert np.array_equal(first, again)
    assert wanted[:, 4:].max() > 0.5  # there is something to be found
    assert (scores < 0.05).mean() > 0.995  # the others lie where INT8 rounds to the other side
    assert scores.mean() < 0.001
