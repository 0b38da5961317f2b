# SPDX-License-Identifier: AGPL-3.0-or-later
"""`eval` of a model of rotated boxes: by the angles of its boxes, as Ultralytics labels and measures them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.fakes.tiny_model import build_tiny_model

from vision_line.devices.model.model import open_model
from vision_line.devices.model.rotated_boxes import RotatedBoxes, outlines_of, overlaps
from vision_line.devices.model.tasks import ModelTask
from vision_line.errors import ConfigError, ModelError
from vision_line_compression.data.dataset import open_dataset
from vision_line_compression.evaluate.command import evaluate_model
from vision_line_compression.evaluate.predict import load_predictions, predict, save_predictions

SIZE_WH = (128, 96)
#: What the tiny model finds of a red tile of 4 fifths: centre, width, height, angle.
FOUND = (48.0, 48.0, 32.0, 16.0, 0.8)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that finds each bright tile, turned by its brightness."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(build_tiny_model((96, 128), rotated=True))
    return path


def data_set(folder: Path, *boxes: tuple[float, ...]) -> Path:
    """Write one image with a red tile, and its labels as Ultralytics has them: a class and four corners."""
    image = np.zeros((SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
    image[32:64, 32:64, 2] = 204
    corners = outlines_of(np.array(boxes, np.float32).reshape(-1, 5)).reshape(-1, 8) / np.array(SIZE_WH * 4)
    for name in ("images/test", "labels/test"):
        (folder / name).mkdir(parents=True)
    assert cv2.imwrite(str(folder / "images/test/a.png"), image)
    rows = [" ".join(map(str, ("0", *row))) for row in corners.tolist()]
    (folder / "labels/test/a.txt").write_text("\n".join(rows))
    (folder / "data.yaml").write_text("test: images/test\nnames: [red, green, blue]\n")
    return folder / "data.yaml"


def rotated(data: Path) -> RotatedBoxes:
    (image,) = open_dataset(data, "test", task=ModelTask.OBB).images
    assert image.rotated is not None
    return image.rotated


@pytest.mark.parametrize(("angle", "precision"), [(0.8, 1.0), (-0.8, 0.2)])
def test_a_box_that_is_turned_otherwise_is_another(model: Path, tmp_path: Path, angle: float, precision: float) -> None:
    """The upright boxes around both are the same, which would be right at all ten thresholds; ProbIoU is at two."""
    data = data_set(tmp_path / "data", (*FOUND[:4], angle))
    said = json.loads(evaluate_model(model, data, "test", None, {}, as_json=True))

    assert said["model"]["task"] == "obb"
    assert said["operating"][0]["boxes"] == 1
    assert said["accuracy"]["map50_95"] == pytest.approx(precision)


def test_labels_are_read_as_ultralytics_reads_them(tmp_path: Path) -> None:
    """Centre, sides and angle are those of its own reader; two boxes with one upright box around them are two."""
    from ultralytics.utils.ops import xyxyxyxy2xywhr

    data = data_set(tmp_path / "data", FOUND, (*FOUND[:4], -0.8), (90.0, 60.0, 20.0, 9.0, 2.5))
    outlines = outlines_of(np.array([FOUND, (*FOUND[:4], -0.8), (90.0, 60.0, 20.0, 9.0, 2.5)], np.float32))
    theirs = xyxyxyxy2xywhr(outlines.reshape(-1, 8)).astype(np.float32)  # type: ignore[no-untyped-call]

    assert overlaps(rotated(data), theirs).diagonal() == pytest.approx([1.0] * 3, abs=2e-3)


def test_upright_labels_are_boxes_without_an_angle(tmp_path: Path) -> None:
    """A line of centre and sides is a rectangle too; corners on one line are refused."""
    data = data_set(tmp_path / "data")
    (tmp_path / "data/labels/test/a.txt").write_text("0 0.5 0.5 0.25 0.5")
    expected = np.array([[64, 48, 32, 48, 0]], np.float32)

    assert overlaps(rotated(data), expected)[0, 0] == pytest.approx(1.0, abs=2e-3)
    (tmp_path / "data/labels/test/a.txt").write_text("0 0.25 0.25 0.5 0.5 0.75 0.75 0.5 0.5")
    with pytest.raises(ConfigError, match="corners on one line"):
        open_dataset(data, "test", task=ModelTask.OBB)


def test_saved_predictions_keep_their_corners(model: Path, tmp_path: Path) -> None:
    """Also beside images in which nothing is found; without the labels' angles nothing is measured."""
    data = data_set(tmp_path / "data", FOUND)
    opened = open_model(model)
    found = predict(opened, open_dataset(data, "test", task=ModelTask.OBB))
    save_predictions(found, tmp_path / "found.npz")
    (again,) = load_predictions(tmp_path / "found.npz").detections

    assert found.detections[0].outlines is not None
    assert again.outlines is not None
    np.testing.assert_array_equal(again.outlines, found.detections[0].outlines)
    with pytest.raises(ModelError, match="task 'obb'"):
        predict(opened, open_dataset(data, "test"))
