# SPDX-License-Identifier: AGPL-3.0-or-later
"""OBB models as Ultralytics exports them: opened, proven, run, and their boxes are where its own predictor has them."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from tests.builders import make_frame
from tests.fakes.tiny_model import build_tiny_model

from vision_line.devices.model.heads import HeadDecoder, HeadKind, class_floors
from vision_line.devices.model.model import Model, open_model
from vision_line.devices.model.rotated_boxes import boxes_of
from vision_line.devices.preprocessing.definition import normalise
from vision_line.devices.preprocessing.letterbox import Letterbox, in_frame
from vision_line.devices.selection import open_device
from vision_line.frames import Detections

ultralytics = pytest.importorskip("ultralytics", reason="needs Ultralytics: pip install '.[dev]'")

pytestmark = pytest.mark.filterwarnings("ignore")  # exporting warns of what torch will do differently one day

SIDE = 160


def drawn(seed: int) -> NDArray[np.uint8]:
    """Return an image (h, w, 3) of bars at all angles."""
    random = np.random.default_rng(seed)
    image = np.full((SIDE, SIDE * 2, 3), 90, np.uint8)
    for _ in range(12):
        rectangle = (
            random.uniform(20, [SIDE * 2, SIDE]).tolist(),
            random.uniform(8, 60, 2).tolist(),
            random.uniform(0, 180),
        )
        corners = cv2.boxPoints(rectangle).astype(np.int32)
        cv2.fillPoly(image, [corners], random.integers(0, 256, 3).tolist())
    return image


def exported(name: str, folder: Path, *, end2end: bool) -> Model:
    """Return an untrained network of two classes whose scores and angles differ from place to place."""
    import torch
    from ultralytics.nn.tasks import OBBModel

    torch.manual_seed(3)
    network = ultralytics.YOLO(f"{name}.yaml", verbose=False)
    built: Any = OBBModel(f"{name}.yaml", nc=2, verbose=False)  # type: ignore[no-untyped-call]
    built.args, built.task, network.model = network.model.args, "obb", built
    _spread(built, torch.tensor(normalise(drawn(2)[..., ::-1])))
    network.ckpt_path = str(folder / f"{name}.pt")
    nms = False if end2end else None  # False asks for the head without
    path = network.export(format="onnx", imgsz=[SIDE, SIDE * 2], simplify=True, nms=nms, verbose=False)
    return open_model(Path(path))


def _spread(network: Any, image: Any) -> None:
    """Scale what the branches of a head put out for an image, which is all but the same everywhere before training."""
    for name in ("cv2", "cv3", "cv4", "one2one_cv2", "one2one_cv3", "one2one_cv4"):
        for branch in getattr(network.model[-1], name, ()):
            convolution, seen = branch[-1], list[Any]()
            hook = convolution.register_forward_hook(lambda _layer, _inputs, output, seen=seen: seen.append(output))
            network.eval()(image)
            hook.remove()
            for own in seen:
                convolution.weight.data *= 1.0 / max(float(own.std()), 1e-6)
            convolution.bias.data[:] = 4.0 if name.endswith("cv2") else 0.0  # of v26 sides, which are above 0


def decoded(model: Model, image: NDArray[np.uint8], most: int) -> tuple[Detections, float]:
    """Return what the model finds in an image, by ONNX Runtime, from the score on that `most` places have."""
    from ultralytics.data.augment import LetterBox

    boxed: Any = LetterBox(model.input_shapes_hw[0], auto=False)(image=image)
    network = onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    output = network.run(None, {model.input_name: normalise(boxed[..., ::-1])})[0][0]
    scores = np.sort(output[:, 4] if model.head.is_end2end else output[4:-1].max(axis=0))[::-1]
    floor = float(scores[most - 1] + scores[most]) / 2  # between two, so that rounding decides nothing
    found = HeadDecoder(model.head, class_floors(2, floor), model.nms_iou).decode(output)
    return in_frame(found, Letterbox((image.shape[1], image.shape[0]), model.input_shapes_hw[0])), floor


def inspected(model: Model, image: NDArray[np.uint8]) -> Detections:
    """Return what a device with `model` finds in an image, once its engine is proven."""
    woken = threading.Event()
    frame = make_frame("cam", 1, size_wh=(image.shape[1], image.shape[0]))
    frame.data = av.VideoFrame.from_ndarray(image, format="bgr24")
    with closing(open_device("cpu", model, model.input_shapes_hw, woken.set, 0.5)) as device:
        device.submit([frame])
        while not (found := device.collect()):
            assert woken.wait(40)
            woken.clear()
    return found[0].detections


@pytest.mark.parametrize(
    ("name", "head"), [("yolo11n-obb", HeadKind.YOLOV8_OBB), ("yolo26n-obb", HeadKind.END2END_OBB)]
)
def test_boxes_are_where_ultralytics_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, head: HeadKind
) -> None:
    """Each that it keeps is found here, with the same corners, score and class; it rounds the letterbox otherwise."""
    monkeypatch.chdir(tmp_path)
    model, image = exported(name, tmp_path, end2end=head.is_end2end), drawn(1)
    ours, floor = decoded(model, image, 60)
    network = ultralytics.YOLO(model.path, task="obb")
    shape = list(model.input_shapes_hw[0])
    (theirs,) = network.predict(image, imgsz=shape, conf=floor, iou=model.nms_iou, rect=False, verbose=False)

    assert (model.head, model.classes) == (head, ("0", "1"))
    assert ours.outlines is not None
    assert len(ours) >= len(theirs.obb) >= 5
    for corners, score, number in zip(
        theirs.obb.xyxyxyxy.numpy(), theirs.obb.conf.numpy(), theirs.obb.cls.numpy(), strict=True
    ):
        alike = (np.abs(ours.score - score) < 1e-3) & (ours.class_id == number)
        apart = np.abs(ours.outlines[:, [2, 1, 0, 3]] - corners).max(axis=(1, 2), initial=0.0)
        assert apart[alike].min(initial=np.inf) < 1.0


@pytest.mark.parametrize("end2end", [False, True])
def test_a_tiny_model_is_proven_and_finds_its_tiles(tmp_path: Path, end2end: bool) -> None:
    """Each tile half as high as wide, and turned by its brightness."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(build_tiny_model((64, 128), rotated=True, end2end=end2end))
    image = np.zeros((64, 128, 3), np.uint8)
    image[:32, 32:64, 2] = 204  # red, of 4 fifths
    found = inspected(open_model(path), image)

    assert found.class_id.tolist() == [0]
    assert found.outlines is not None
    np.testing.assert_allclose(boxes_of(found.outlines)[0], [48, 16, 32, 16, 0.8], atol=0.02)
