# SPDX-License-Identifier: AGPL-3.0-or-later
"""Our figures against Ultralytics' own validation of the same model on the same images.

They cannot be equal: Ultralytics lets a box count for several classes, matches by overlap instead of by score, and
integrates precision differently. On hundreds of images these stay within 0.005. Where images are shrunk its filter
skips pixels; with images resized as in an inspection, as our trainings see them, mAP50-95 stays within 0.005 there too.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from ultralytics.models.yolo.detect import DetectionValidator

from vision_line.devices.model.model import open_model
from vision_line.simulator.labelled_images import write_dataset
from vision_line_compression.data.dataset import open_dataset
from vision_line_compression.evaluate.evaluation import evaluate, open_evaluated
from vision_line_compression.training.training_images import InspectedImages

#: Two engines compute INT8 differently, and a few dozen images show it.
TOLERANCE_DRAWN = 0.02
TOLERANCE_REAL = 0.01

#: Real boards and a model trained on them, which cannot be part of the project; some machines have them beside it.
REAL = Path(__file__).parents[4] / "shared"
REAL_IMAGES = 40


def validate(model: Path, data: Path, split: str, side: int, nms_iou: float, folder: Path) -> tuple[float, float]:
    """Return Ultralytics' mAP50-95 and mAP50."""
    from ultralytics.models import YOLO

    metrics: Any = YOLO(model, task="detect").val(
        data=str(data), split=split, imgsz=side, iou=nms_iou, batch=1, rect=False, device="cpu", workers=0,
        plots=False, verbose=False, project=str(folder),
    )  # fmt: skip
    return float(metrics.box.map), float(metrics.box.map50)


def test_shipped_model_on_drawn_boards(tmp_path: Path) -> None:
    """The shipped model's ONNX file scores the same in Ultralytics' hands."""
    data = write_dataset(tmp_path / "boards", 30, 5)
    model = open_model(None)
    copy = shutil.copyfile(model.path, tmp_path / "model.onnx")

    ours = evaluate(model, open_dataset(data, "train"), (320, 320)).accuracy
    theirs = validate(copy, data, "train", 320, model.nms_iou, tmp_path)

    assert (ours.map50_95, ours.map50) == pytest.approx(theirs, abs=TOLERANCE_DRAWN)
    assert theirs[1] > 0.2


@pytest.fixture
def real(tmp_path: Path) -> tuple[Path, Path]:
    """Return data.yaml of real boards of 640 x 640 pixels, and a model trained on such."""
    for kind, suffix in (("images", ".jpg"), ("labels", ".txt")):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for path in sorted((REAL / "data" / "deeppcb" / kind / "test").glob(f"*{suffix}"))[::8][:REAL_IMAGES]:
            shutil.copyfile(path, tmp_path / "set" / kind / path.name)
    data = tmp_path / "set" / "data.yaml"
    names = "[open, short, mousebite, spur, copper, pin-hole]"
    data.write_text(f"path: {data.parent}\ntrain: images\nval: images\nnames: {names}\n", encoding="utf-8")
    return data, shutil.copyfile(REAL / "models" / "yolov8n-deeppcb.pt", tmp_path / "parent.pt")


def as_inspected(validator: DetectionValidator, images: str, mode: str = "val", batch: int | None = None) -> Any:
    """Open the images of a validation as our trainings do."""
    del mode
    return InspectedImages(
        images, imgsz=validator.args.imgsz, batch_size=batch, augment=False, hyp=validator.args, rect=False,
        cache=None, stride=validator.stride, pad=0.5, task="detect", data=validator.data,
    )  # fmt: skip


@pytest.mark.foreign_data
@pytest.mark.skipif(not (REAL / "data" / "deeppcb").is_dir(), reason=f"no real boards at {REAL}")
def test_trained_model_on_real_boards(real: tuple[Path, Path], tmp_path: Path) -> None:
    """A float model on real images scores the same, and a checkpoint is evaluated as its export."""
    data, checkpoint = real
    model = open_evaluated(checkpoint, tmp_path)

    ours = evaluate(model, open_dataset(data, "val"), (640, 640)).accuracy
    theirs = validate(checkpoint, data, "val", 640, model.nms_iou, tmp_path)

    assert (ours.map50_95, ours.map50) == pytest.approx(theirs, abs=TOLERANCE_REAL)
    assert theirs[1] > 0.8


@pytest.mark.foreign_data
@pytest.mark.skipif(not (REAL / "data" / "deeppcb").is_dir(), reason=f"no real boards at {REAL}")
def test_trained_model_on_shrunk_boards(
    real: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluation and training see the same images at less than their size; Ultralytics' own validation sees others."""
    data, checkpoint = real
    model = open_evaluated(checkpoint, tmp_path)

    ours = evaluate(model, open_dataset(data, "val"), (480, 480)).accuracy
    monkeypatch.setattr(DetectionValidator, "build_dataset", as_inspected)
    theirs = validate(checkpoint, data, "val", 480, model.nms_iou, tmp_path)

    assert ours.map50_95 == pytest.approx(theirs[0], abs=TOLERANCE_REAL)
    assert ours.map50 == pytest.approx(theirs[1], abs=2 * TOLERANCE_REAL)
    assert theirs[1] > 0.8
