# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every figure says which variant of a model was computed by which instructions; float is never measured as INT8."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.fakes.miniature_yolo import draw_images, draw_yolo
from tests.fakes.quantizing import quantize_onnx
from typer.testing import CliRunner

from vision_line.devices.model.model import Model, open_model
from vision_line.devices.proof.processor import this_processor
from vision_line.errors import ConfigError, DeviceError
from vision_line_compression.cli import cli
from vision_line_compression.data.dataset import open_dataset
from vision_line_compression.evaluate.evaluation import evaluate
from vision_line_compression.evaluate.predict import (
    load_predictions,
    only_variant,
    predict,
    save_predictions,
    why_not_on_integers,
)
from vision_line_compression.evaluate.results import Evaluation
from vision_line_compression.evaluate.speed import measure_speed
from vision_line_compression.quantize.settings import QuantizeSettings

UNSIGNED = "unsigned INT8, 7-bit weights"


def test_a_variant_is_measured_alone_and_named(boards: Path) -> None:
    """By the command that measures any model, for people and for programs."""
    arguments = ["eval", str(open_model(None).path.parent), "--data", str(boards), "--split", "train"]
    arguments += ["--form", "qdq-u8-7bit", "--images", "3"]

    words, figures = CliRunner().invoke(cli, arguments), CliRunner().invoke(cli, [*arguments, "--json"])

    where = this_processor().instruction_set
    assert f"computed as {UNSIGNED}, on {where}" in words.stdout
    evaluation = Evaluation.model_validate_json(figures.stdout)
    assert evaluation.execution is not None
    assert json.loads(figures.stdout)["execution"] == {
        "instruction_set": where, "form": UNSIGNED, "precision": "int8"
    }  # fmt: skip
    assert evaluation.model.sha256 == only_variant(open_model(None), "qdq-u8-7bit").sha256 != open_model(None).sha256


def test_a_variant_that_is_not_there_is_refused() -> None:
    """The message names those that are."""
    with pytest.raises(ConfigError, match=r"qdq-s8-symmetric.*qdq-u8-7bit.*found 'other'"):
        only_variant(open_model(None), "other")


def test_speed_and_saved_predictions_name_it_too(boards: Path, tmp_path: Path) -> None:
    """What is read again is what was written; archives from before have nothing to say."""
    model = only_variant(open_model(None), "qdq-u8-7bit")
    dataset = open_dataset(boards, "train")
    predictions = predict(model, dataset.subset(2))
    save_predictions(predictions, tmp_path / "predictions.npz")
    (speed,) = measure_speed([model], dataset, (192, 320), seconds=0.1, rounds=1)

    assert predictions.execution is not None
    assert load_predictions(tmp_path / "predictions.npz").execution == predictions.execution == speed.execution


@pytest.fixture
def unprovable(tmp_path: Path) -> Model:
    """Return an INT8 model that finds nothing: no engine of it can be proven, so the device executes it in float."""
    model = draw_yolo()
    for tensor in model.graph.initializer:
        if tensor.name == "head/cv3.2.bias":
            tensor.CopyFrom(numpy_helper.from_array(np.full(3, -30, np.float32), tensor.name))
    onnx.save(model, str(tmp_path / "float.onnx"))
    quantize_onnx(tmp_path / "float.onnx", tmp_path / "int8.onnx", QuantizeSettings(), draw_images(2))
    return open_model(tmp_path / "int8.onnx")


def test_float_execution_is_not_measured_as_int8(unprovable: Model, boards: Path) -> None:
    """Neither its accuracy, unless asked for, and then it is named so; nor its speed, ever."""
    drawn = replace(open_dataset(boards, "train").subset(1), classes=unprovable.classes)

    with pytest.raises(DeviceError, match=r"int8.onnx: not measured: on .* its INT8 engine is not used"):
        evaluate(unprovable, drawn)
    with pytest.raises(DeviceError, match="not measured"):
        measure_speed([unprovable], drawn, (64, 96), seconds=0.1, rounds=1)
    assert "its INT8 engine is not used" in why_not_on_integers(unprovable, (64, 96))
    assert why_not_on_integers(open_model(None), (192, 320)) == ""
    allowed = predict(unprovable, drawn, float_execution=True).execution

    assert allowed is not None
    assert (allowed.form, allowed.precision) == ("signed INT8 executed in float", "fp32")
