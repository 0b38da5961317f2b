# SPDX-License-Identifier: AGPL-3.0-or-later
"""On real images and the COCO checkpoint, our decoding of a network's output is Ultralytics' own result."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray

from vision_line.devices.model.heads import HeadDecoder, HeadKind, class_floors
from vision_line.devices.model.model import Model, open_model
from vision_line.devices.preprocessing.definition import normalise
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.frames import Detections

ultralytics = pytest.importorskip("ultralytics", reason="needs Ultralytics: pip install '.[dev]'")

pytestmark = pytest.mark.filterwarnings("ignore")  # exporting warns of what torch will do differently one day

SHARED = Path(os.environ.get("VISION_LINE_SHARED", Path(__file__).parents[4] / "shared"))
CHECKPOINT = SHARED / "models" / "yolov8n-coco.pt"
ASSETS = Path(ultralytics.__file__).parent / "assets"
SCORE, IOU = 0.25, 0.7

#: Ways to export: name -> (arguments, head). The last has the suppression in its graph.
EXPORTS: dict[str, tuple[dict[str, Any], HeadKind]] = {
    "static": ({"imgsz": [192, 320]}, HeadKind.YOLOV8),
    "dynamic": ({"imgsz": 320, "dynamic": True}, HeadKind.YOLOV8),
    "nms": ({"imgsz": 320, "nms": True}, HeadKind.END2END),
}

Export = Callable[[str], Model]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Export the checkpoint once for each way."""
    if not CHECKPOINT.exists():
        pytest.skip(f"needs the COCO checkpoint {CHECKPOINT} (VISION_LINE_SHARED names the folder with models/)")
    folder = tmp_path_factory.mktemp("exports")
    opened: dict[str, Model] = {}

    def export_once(name: str) -> Model:
        if name not in opened:
            checkpoint = folder / f"{name}.pt"
            shutil.copyfile(CHECKPOINT, checkpoint)
            network = ultralytics.YOLO(checkpoint)
            network.export(format="onnx", simplify=False, **EXPORTS[name][0])
            opened[name] = open_model(checkpoint.with_suffix(".onnx"))
        return opened[name]

    return export_once


def _ultralytics(model: Model, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return its boxes (n, 6: x1 y1 x2 y2 score class) and the input that it gave to the network (1, 3, h, w)."""
    from ultralytics.data.augment import LetterBox

    shape = model.input_shapes_hw[0]
    network = ultralytics.YOLO(model.path, task="detect")
    (result,) = network.predict(pixels, imgsz=list(shape), conf=SCORE, iou=IOU, rect=False, verbose=False)
    boxed: Any = LetterBox(shape, auto=False)(image=pixels)
    return result.boxes.data.numpy(), normalise(boxed[..., ::-1])


def _ours(model: Model, network_input: NDArray[np.float32], size_wh: tuple[int, int]) -> Detections:
    network = ov.Core().compile_model(model.path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    decoder = HeadDecoder(model.head, class_floors(len(model.classes), SCORE), IOU)
    found = decoder.decode(network(network_input)[0][0])
    box = Letterbox(size_wh, model.input_shapes_hw[0])
    return Detections(box.to_frame(found.xyxy), found.score, found.class_id)


@pytest.mark.foreign_data
@pytest.mark.parametrize("image_name", ["bus.jpg", "zidane.jpg"])
@pytest.mark.parametrize("name", list(EXPORTS))
def test_the_same_detections(export: Export, name: str, image_name: str) -> None:
    """Given the same input, the same boxes (a hundredth of a pixel), scores and classes, in the same order."""
    model = export(name)
    pixels = cv2.imread(str(ASSETS / image_name))
    assert pixels is not None
    expected, network_input = _ultralytics(model, np.asarray(pixels, np.uint8))

    found = _ours(model, network_input, (pixels.shape[1], pixels.shape[0]))

    assert len(expected) >= 2
    np.testing.assert_allclose(found.xyxy, expected[:, :4], atol=0.01)
    np.testing.assert_allclose(found.score, expected[:, 4], atol=1e-4)
    assert found.class_id.tolist() == expected[:, 5].astype(int).tolist()


@pytest.mark.foreign_data
@pytest.mark.parametrize("name", list(EXPORTS))
def test_exports_describe_themselves(export: Export, name: str) -> None:
    """Class names, stride and head come out of each way to export."""
    model = export(name)

    assert (len(model.classes), model.classes[5], model.stride) == (80, "bus", 32)
    assert (model.head, model.dynamic) == (EXPORTS[name][1], name == "dynamic")
