# SPDX-License-Identifier: AGPL-3.0-or-later
"""Make the shipped demo bundle: draw boards, fine-tune YOLOv8n, quantize to INT8, evaluate, write `bundle.json`.

    python -m tools.make_demo_bundle --parent yolov8n-coco.pt --work build/pcb-demo

needs the `dev` extra and, from the repository's root, about an hour on two cores. What `--work` already holds
(pictures, weights) is used again. A stop-gap: nothing is pruned or distilled.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from vision_line.devices.model import open_model
from vision_line.simulator.dataset import write_dataset
from vision_line_compression.bundle import write_bundle
from vision_line_compression.dataset import Dataset, open_dataset
from vision_line_compression.evaluate.evaluation import evaluate
from vision_line_compression.evaluate.schema import Evaluation, EvaluationSettings
from vision_line_compression.export import export_onnx
from vision_line_compression.pictures import network_inputs
from vision_line_compression.quantize.quantizer import quantize_onnx
from vision_line_compression.quantize.settings import QuantizeSettings

SHAPES_HW = ((192, 320), (256, 320), (320, 192), (320, 320))
CALIBRATION_PICTURES = 256
SCORE, NMS_IOU = 0.55, 0.5
#: The first two stages see the finest structures: in INT8 they cost four points of mAP50, in float a tenth of the time.
KEPT_FLOAT = ("/model.1", "/model.2")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the result, besides the versions of the libraries."""

    parent: Path
    start: Path | None
    start_note: str
    images: int
    seed: int
    epochs: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all steps; each is skipped when its product is in the work folder."""
    options = _parse(arguments)
    recipe = Recipe(options.parent, options.start, options.start_note, options.images, options.seed, options.epochs)
    work: Path = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    data = work / "boards" / "data.yaml"
    if not data.exists():
        write_dataset(data.parent, recipe.images, recipe.seed, _show_progress)
    weights = options.weights or train(recipe, data, work, bfloat16=options.bfloat16)
    float_model = export_onnx(weights, work / "pcb-demo.onnx", shape_hw=(320, 320))
    model = quantize(float_model, open_dataset(data, "train"), work / "model.onnx")
    test = open_dataset(data, "test")
    settings = EvaluationSettings(score_threshold=SCORE, nms_iou=NMS_IOU)
    fp32, int8 = (evaluate(open_model(path), test, SHAPES_HW[0], settings) for path in (float_model, model))
    results: dict[str, JsonValue] = {"test": {**_figures(int8), **{f"fp32_{k}": v for k, v in _figures(fp32).items()}}}
    print(json.dumps(results, indent=2))
    write_bundle(
        options.output,
        model,
        "pcb-demo",
        input_shapes_hw=SHAPES_HW,
        score=SCORE,
        nms_iou=NMS_IOU,
        lineage=_lineage(recipe),
        results=results,
    )
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make the shipped demo bundle of vision-line.")
    parser.add_argument("--parent", type=Path, required=True, help="YOLOv8n checkpoint trained on COCO")
    parser.add_argument("--start", type=Path, help="checkpoint of an earlier run, to go on from instead of the parent")
    parser.add_argument("--start-note", default="checkpoint of an earlier run", help="what --start is, for the bundle")
    parser.add_argument("--work", type=Path, required=True, help="folder for pictures, weights and models")
    parser.add_argument(
        "--output", type=Path, default=Path("app/vision_line/models/pcb-demo"), help="the bundle's folder"
    )
    parser.add_argument("--weights", type=Path, help="trained checkpoint: skips training")
    parser.add_argument(
        "--bfloat16", action="store_true", help="train in bfloat16: twice as fast where the CPU has AMX"
    )
    parser.add_argument("--images", type=int, default=3300)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=30)
    return parser.parse_args(arguments)


def _show_progress(done: int, total: int) -> None:
    print(f"\rdrawn {done}/{total}", end="" if done < total else "\n", flush=True)


def train(recipe: Recipe, data: Path, work: Path, *, bfloat16: bool) -> Path:
    """Fine-tune the parent on the drawn boards; gives the best checkpoint.

    Mosaics fill the square input with boards of four pictures; the last fifth of the epochs sees pictures as the
    cameras send them. Every epoch is kept.
    """
    trained = work / "trained.pt"
    if trained.exists():
        return trained
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_CONFIG_DIR=str(work))
    from ultralytics.models import YOLO

    yolo = YOLO(recipe.start or recipe.parent)
    yolo.add_callback("on_train_start", _use_all_cores)
    if bfloat16:
        yolo.add_callback("on_train_start", _predict_in_bfloat16)
    yolo.train(
        data=str(data), project=str(work), name="training", exist_ok=True, save_period=1, plots=False,
        device="cpu", workers=1, cache="ram", amp=False, seed=3, imgsz=320, batch=16, epochs=recipe.epochs,
        optimizer="AdamW", lr0=0.0015, lrf=0.02, cos_lr=True, warmup_epochs=1,
        mosaic=1.0, close_mosaic=max(recipe.epochs // 5, 2), scale=0.2, translate=0.08, fliplr=0.5, flipud=0.5,
        hsv_h=0.03, hsv_s=0.4, hsv_v=0.3, erasing=0.0,
    )  # fmt: skip
    shutil.copyfile(work / "training" / "weights" / "best.pt", trained)
    return trained


def _use_all_cores(_: Any) -> None:
    """Undo Ultralytics' limit of cores - 1, which halves a two-core machine."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)


def _predict_in_bfloat16(trainer: Any) -> None:
    """Let the network run in bfloat16; the loss, the weights and the averaged model that is saved stay float32."""
    import torch

    predict = trainer.model.predict

    def predict_in_bfloat16(batch: Any, *args: Any, **options: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return _to_float32(predict(batch.to(memory_format=torch.channels_last), *args, **options))

    trainer.model.to(memory_format=torch.channels_last)
    trainer.model.predict = predict_in_bfloat16


def _to_float32(output: Any) -> Any:
    """Convert all tensors in nested containers."""
    if isinstance(output, dict):
        return {key: _to_float32(value) for key, value in output.items()}
    if isinstance(output, list | tuple):
        return type(output)(_to_float32(value) for value in output)
    return output.float()


def quantize(float_model: Path, pictures: Dataset, target: Path) -> Path:
    """Quantize with ranges from training pictures, preprocessed as at run time."""
    chosen = pictures.subset(CALIBRATION_PICTURES)
    quantize_onnx(float_model, target, QuantizeSettings(keep_float=KEPT_FLOAT), network_inputs(chosen, SHAPES_HW[:1]))
    return target


def _figures(found: Evaluation) -> dict[str, JsonValue]:
    point = found.operating[0]
    return {
        "map50": found.accuracy.map50,
        "map50_95": found.accuracy.map50_95,
        "recall": None if point.miss_rate.value is None else 1.0 - point.miss_rate.value,
        "precision": point.precision,
        "false_per_image": point.false_per_image.value,
        "images": found.data.images,
        "boxes": found.data.boxes,
    }


def _lineage(recipe: Recipe) -> dict[str, JsonValue]:
    return {
        "parent": recipe.parent.stem,
        "trained_on": f"simulator boards, seed {recipe.seed}, {recipe.images} images",
        "epochs": recipe.epochs,
        "started_from": recipe.start_note if recipe.start else recipe.parent.stem,
        "stop_gap": True,
        "licence": "AGPL-3.0-or-later",
    }


if __name__ == "__main__":
    sys.exit(main())
