# SPDX-License-Identifier: AGPL-3.0-or-later
"""Segmentation models as Ultralytics exports them: opened, proven, run, and their masks are those of its predictor."""

from __future__ import annotations

import threading
from contextlib import chdir, closing
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from tests.builders import make_frame

from vision_line.devices.model.agreement import Tolerance, compare, reference_of, weakness
from vision_line.devices.model.heads import HeadDecoder, HeadKind, HeadOutput, SegmentOutput, class_floors
from vision_line.devices.model.masks import edges_of, mask_at
from vision_line.devices.model.model import Model, open_model
from vision_line.devices.model.proof import drawn_images, shaped
from vision_line.devices.preprocessing.definition import normalise
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.devices.result_reader import HeadReader
from vision_line.devices.selection import open_device
from vision_line.errors import DeviceError
from vision_line.frames import Detections

ultralytics = pytest.importorskip("ultralytics", reason="needs Ultralytics: pip install '.[dev]'")

pytestmark = pytest.mark.filterwarnings("ignore")  # exporting warns of what torch will do differently one day

SHAPE = (160, 320)
NETWORKS = [
    ("yolov8n-seg", HeadKind.YOLOV8_SEG),
    ("yolo26n-seg", HeadKind.YOLOV8_SEG),
    ("yolo26n-seg", HeadKind.END2END_SEG),
]


def drawn(seed: int) -> NDArray[np.uint8]:
    """Return an image (h, w, 3) of spots and bars, of other sides than the networks' input."""
    random = np.random.default_rng(seed)
    image = np.full((140, 320, 3), 90, np.uint8)
    for _ in range(14):
        middle = random.uniform(20, [300, 120]).astype(int).tolist()
        axes = random.uniform(8, 45, 2).astype(int).tolist()
        colour = random.integers(0, 256, 3).tolist()
        cv2.ellipse(image, middle, axes, random.uniform(0, 180), 0, 360, colour, cv2.FILLED)
    return image


@pytest.fixture(scope="module", params=NETWORKS, ids="-".join)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """An untrained network of two classes whose scores and masks differ from place to place, as it is exported."""
    import torch
    from ultralytics.nn.tasks import SegmentationModel

    name, head = request.param
    torch.manual_seed(3)
    network = ultralytics.YOLO(f"{name}.yaml", verbose=False)
    built: Any = SegmentationModel(f"{name}.yaml", nc=2, verbose=False)  # type: ignore[no-untyped-call]
    built.args, built.task, network.model = network.model.args, "segment", built
    images = [*(cv2.resize(drawn(seed), SHAPE[::-1])[..., ::-1] for seed in (1, 2)), *shaped(drawn_images(), SHAPE)]
    _spread(built, torch.tensor(np.concatenate([normalise(image) for image in images])))
    network.ckpt_path = str(tmp_path_factory.mktemp("exported") / f"{name}.pt")
    nms = False if head.is_end2end else None  # False asks for the head without
    with chdir(Path(network.ckpt_path).parent):
        path = Path(network.export(format="onnx", imgsz=list(SHAPE), simplify=False, nms=nms, verbose=False))
        model = open_model(path.resolve())
    assert (model.head, model.classes) == (head, ("0", "1"))
    return model


def _spread(network: Any, images: Any) -> None:
    """Have each layer of a network, and its head, put out what differs from place to place, as after a training."""
    import torch

    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        network.train()(images)
    head = network.model[-1]
    names = ("cv2", "cv3", "cv4", "one2one_cv2", "one2one_cv3", "one2one_cv4")
    for name in names:
        for branch in getattr(head, name, None) or ():
            convolution = branch[-1]
            (seen, *_) = _seen(network, convolution, images)
            convolution.weight.data *= 1.0 / max(float(seen.std()), 1e-20)
            convolution.bias.data[:] = 4.0 if name.endswith("cv2") else 0.0  # of v26 sides, which are above 0


def _seen(network: Any, layer: Any, image: Any) -> list[Any]:
    """Return what a layer puts out while the network looks at an image."""
    seen = list[Any]()
    hook = layer.register_forward_hook(lambda _layer, _inputs, output: seen.append(output.detach()))
    network.eval()(image)
    hook.remove()
    return seen


def outputs(model: Model, image: NDArray[np.uint8]) -> SegmentOutput:
    """Return what the model puts out for an image, by ONNX Runtime."""
    from ultralytics.data.augment import LetterBox

    boxed: Any = LetterBox(model.input_shapes_hw[0], auto=False)(image=image)
    network = onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    places, prototypes = network.run(None, {model.input_name: normalise(boxed[..., ::-1])})
    return SegmentOutput(places[0], prototypes[0])


def floor_of(model: Model, output: SegmentOutput, most: int) -> float:
    """Return a score that `most` places lie above, between two, so that rounding decides nothing."""
    scores = output.places[:, 4] if model.head.is_end2end else output.places[4:6].max(axis=0)
    ordered = np.sort(scores)[::-1]
    return float(ordered[most - 1] + ordered[most]) / 2


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the intersection over union of two masks."""
    return float((one & other).sum() / max((one | other).sum(), 1))


def inspected(model: Model, image: NDArray[np.uint8], floor: float) -> Detections:
    """Return what a device with `model` finds in an image, once its engine is proven."""
    woken = threading.Event()
    frame = make_frame("cam", 1, size_wh=(image.shape[1], image.shape[0]))
    frame.data = av.VideoFrame.from_ndarray(image, format="bgr24")
    with closing(open_device("cpu", model, model.input_shapes_hw, woken.set, floor)) as device:
        device.submit([frame])
        while not (found := device.collect()):
            assert woken.wait(40)
            woken.clear()
    return found[0].detections


def test_masks_are_those_of_ultralytics(network: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each that it keeps is found here with the same box, score, class and mask."""
    monkeypatch.chdir(tmp_path)
    image, size = drawn(1), (320, 140)
    output = outputs(network, image)
    floor, box = floor_of(network, output, 60), Letterbox(size, SHAPE)
    found, coefficients = HeadDecoder(network.head, class_floors(2, floor), network.nms_iou).decode_segments(
        output.places
    )
    cut = box.cut_to_content(found.xyxy)
    in_content = np.flatnonzero((cut[:, 2:] > cut[:, :2]).all(axis=1))
    found, coefficients = found[in_content], coefficients[in_content]
    ours = HeadReader(network, floor).read(make_frame("cam", 1, size_wh=size), box, output)
    predictor = ultralytics.YOLO(network.path, task="segment")
    (theirs,) = predictor.predict(image, imgsz=list(SHAPE), conf=floor, iou=network.nms_iou, rect=False, verbose=False)

    assert len(ours) == len(found) >= len(theirs.boxes) >= 5
    for xyxy, score, number, mask in zip(
        theirs.boxes.xyxy.numpy(),
        theirs.boxes.conf.numpy(),
        theirs.boxes.cls.numpy(),
        theirs.masks.data.numpy().astype(bool),
        strict=True,
    ):
        apart = np.abs(ours.xyxy - xyxy).max(axis=1) + np.abs(ours.score - score) + np.abs(ours.class_id - number)
        row = int(apart.argmin())
        edges = edges_of(found.xyxy[row].astype(np.float64), output.prototypes)
        (left, top), own = edges[:2], mask_at(edges, coefficients[row], output.prototypes, 1)
        whole = np.zeros(SHAPE, bool)
        whole[top : top + own.shape[0], left : left + own.shape[1]] = own
        figures, seen = ours.mask(row), mask[box.content]

        assert apart[row] < 0.1
        assert overlap(whole, mask) >= 0.95
        assert figures is not None
        assert figures.area_px == pytest.approx(seen.sum(), rel=0.05)
        middle = np.argwhere(seen).mean(axis=0)[::-1] + 0.5
        np.testing.assert_allclose([figures.centre_x, figures.centre_y], middle, atol=0.5)


def test_a_device_proves_the_model_and_finds_the_same(network: Model) -> None:
    """Through the engine and the whole device as through ONNX Runtime and the reader alone, or it says what to do."""
    if network.head.is_end2end:
        with pytest.raises(DeviceError, match=r"OpenVINO cannot compile .*; export it with nms=None"):
            inspected(network, drawn(1), 0.5)
        return
    image, size = drawn(1), (320, 140)
    output = outputs(network, image)
    floor = floor_of(network, output, 60)
    ours = HeadReader(network, floor).read(make_frame("cam", 1, size_wh=size), Letterbox(size, SHAPE), output)
    found = inspected(network, image, floor)

    assert found.masks is not None
    assert ours.masks is not None
    same = 0
    for box, area in zip(ours.xyxy, ours.masks.figures[:, 0], strict=True):
        row = int(np.abs(found.xyxy - box).max(axis=1).argmin())
        same += bool(np.abs(found.xyxy[row] - box).max() < 1 and abs(found.masks.figures[row, 0] - area) < 20)
    # of boxes that overlap by all but what suppresses one of them, rounding decides
    assert same >= 0.8 * max(len(ours), len(found))


def test_flipped_masks_fail_the_proof(network: Model) -> None:
    """An engine whose boxes and scores are right and whose prototypes are mirrored is not right."""
    images = shaped(drawn_images(), SHAPE)
    right: list[HeadOutput] = [outputs(network, image[..., ::-1]) for image in images]
    reference = reference_of(network.head, 2, network.nms_iou, right)
    mirrored = [one._replace(prototypes=one.prototypes[..., ::-1]) for one in right if isinstance(one, SegmentOutput)]
    turned = [one._replace(prototypes=one.prototypes[:, ::-1]) for one in right if isinstance(one, SegmentOutput)]

    assert not weakness(reference)
    assert compare(reference, network.head, 2, network.nms_iou, right, Tolerance()).holds
    for wrong in (mirrored, turned):
        assert not compare(reference, network.head, 2, network.nms_iou, wrong, Tolerance()).holds
