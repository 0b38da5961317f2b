# SPDX-License-Identifier: AGPL-3.0-or-later
"""The parent in INT8 by NNCF, where it is installed; and what is said where it is not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from tests.fakes.board_checkpoint import write_board_checkpoint

from vision_line.devices.model.model import open_model
from vision_line.errors import ConfigError
from vision_line_compression.network.onnx_file import export_onnx, load_model, save_model
from vision_line_compression.quantize.nncf_quantizer import quantize_by_nncf

pytestmark = pytest.mark.filterwarnings("ignore")  # NNCF and what it imports announce their own futures


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The float file of an untrained v8n."""
    folder = tmp_path_factory.mktemp("nncf")
    write_board_checkpoint("yolov8n", folder / "parent.pt")
    return export_onnx(folder / "parent.pt", folder / "float.onnx", shape_hw=(64, 64))


@pytest.mark.left_out
def test_the_application_opens_what_nncf_quantized(exported: Path, tmp_path: Path) -> None:
    """As an INT8 model of the same classes; sigmoids and the decoding of boxes read no codes."""
    pytest.importorskip("nncf")
    images = [np.random.default_rng(seed).random((3, 64, 64), np.float32) for seed in range(2)]

    save_model(quantize_by_nncf(exported, images), tmp_path / "int8.onnx")

    made, original = open_model(tmp_path / "int8.onnx"), open_model(exported)
    assert (made.precision, made.classes, made.head) == ("int8", original.classes, original.head)
    nodes = load_model(tmp_path / "int8.onnx").graph.node
    codes = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    readers = {node.op_type for node in nodes if codes & set(node.input)}
    assert "Conv" in readers
    assert not readers & {"Sigmoid", "Softmax"}


def test_a_missing_nncf_is_named_with_its_extra(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a traceback; a recipe is refused before anything is done, too."""
    monkeypatch.setitem(sys.modules, "nncf", None)

    with pytest.raises(ConfigError, match=r"needs NNCF, which is not installed: run pip install '\.\[nncf\]'"):
        quantize_by_nncf(exported, [])
