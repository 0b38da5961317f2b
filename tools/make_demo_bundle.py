# SPDX-License-Identifier: AGPL-3.0-or-later
"""Make the shipped demo bundle: draw boards, fine-tune YOLOv8n, quantize to INT8, evaluate, write `bundle.json`.

    python -m tools.make_demo_bundle --parent yolov8n-coco.pt --work build/pcb-demo

needs the `dev` extra and, from the repository's root, about an hour on two cores. What `--work` already holds
(pictures, weights) is used again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tools.bundle_evaluation import Labelled, evaluate, read_rgb, read_split

from vision_line.devices.preprocess import letterbox_rgb, normalise
from vision_line.simulator.dataset import write_dataset
from vision_line.simulator.defects import KINDS

SHAPES_HW = ((192, 320), (256, 320), (320, 192), (320, 320))
CALIBRATION_PICTURES = 256
INPUT = "images"
SCORE, NMS_IOU = 0.4, 0.5


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the result, besides the versions of the libraries."""

    parent: Path
    images: int
    seed: int
    epochs: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all steps; each is skipped when its product is in the work folder."""
    options = _parse(arguments)
    recipe = Recipe(options.parent, options.images, options.seed, options.epochs)
    work: Path = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    data = work / "boards" / "data.yaml"
    if not data.exists():
        write_dataset(data.parent, recipe.images, recipe.seed, _show_progress)
    weights = options.weights or train(recipe, data, work, bfloat16=options.bfloat16)
    float_model = export_float(weights, work)
    model = quantize(float_model, read_split(data.parent, "train"), work)
    test = read_split(data.parent, "test")
    results = {
        name: evaluate(path, test, SHAPES_HW[0], SCORE, NMS_IOU)
        for name, path in (("fp32", float_model), ("int8", model))
    }
    print(json.dumps(results, indent=2))
    write_bundle(options.output, model, recipe, results)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make the shipped demo bundle of vision-line.")
    parser.add_argument("--parent", type=Path, required=True, help="YOLOv8n checkpoint trained on COCO")
    parser.add_argument("--work", type=Path, required=True, help="folder for pictures, weights and models")
    parser.add_argument(
        "--output", type=Path, default=Path("app/vision_line/models/pcb-demo"), help="the bundle's folder"
    )
    parser.add_argument("--weights", type=Path, help="trained checkpoint: skips training")
    parser.add_argument(
        "--bfloat16", action="store_true", help="train in bfloat16: twice as fast where the CPU has AMX"
    )
    parser.add_argument("--images", type=int, default=2600)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=20)
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

    yolo = YOLO(recipe.parent)
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


def export_float(weights: Path, work: Path) -> Path:
    """Export to ONNX with free batch, height and width."""
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_CONFIG_DIR=str(work))
    from ultralytics.models import YOLO

    copy = work / "pcb-demo.pt"
    shutil.copyfile(weights, copy)
    return Path(YOLO(copy).export(format="onnx", imgsz=320, dynamic=True, opset=17, simplify=True))


class _Pictures:
    """Calibration pictures in the form that onnxruntime asks for, preprocessed as at run time."""

    def __init__(self, pictures: Sequence[Labelled]) -> None:
        self._inputs = self._read(pictures)

    @staticmethod
    def _read(pictures: Sequence[Labelled]) -> Iterator[dict[str, NDArray[np.float32]]]:
        for picture in pictures:
            yield {INPUT: normalise(letterbox_rgb(read_rgb(picture.path), SHAPES_HW[0]))}

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._inputs, None)


def quantize(float_model: Path, pictures: Sequence[Labelled], work: Path) -> Path:
    """Put signed symmetric Q/DQ pairs around the convolutions.

    Weights are per channel, biases stay float. The head's last convolutions and the DFL stay float: they cost most of
    the accuracy for a small share of the time.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, target = work / "prepared.onnx", work / "model.onnx"
    quant_pre_process(str(float_model), str(prepared), skip_symbolic_shape=True)
    convolutions = [node.name for node in onnx.load(str(prepared)).graph.node if node.op_type == "Conv"]
    in_float = [name for name in convolutions if "/model.22/" in name and (name.endswith(".2/Conv") or "dfl" in name)]
    CalibrationDataReader.register(_Pictures)
    quantize_static(
        str(prepared),
        str(target),
        _Pictures(pictures[:: max(len(pictures) // CALIBRATION_PICTURES, 1)]),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=in_float,
        op_types_to_quantize=["Conv"],
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    )
    model = onnx.load(str(target))
    del model.metadata_props[:]
    model.metadata_props.extend(onnx.load(str(float_model)).metadata_props)
    onnx.save(model, str(target))
    return target


def write_bundle(output: Path, model: Path, recipe: Recipe, results: dict[str, dict[str, Any]]) -> None:
    """Write model and description; the description comes last, so that a reader never meets a half bundle."""
    output.mkdir(parents=True, exist_ok=True)
    content = model.read_bytes()
    partial = output / "model.onnx.part"
    partial.write_bytes(content)
    description = {
        "bundle_version": 1,
        "name": "pcb-demo",
        "task": "detect",
        "classes": list(KINDS),
        "stride": 32,
        "head": "yolov8",
        "model": {
            "file": "model.onnx",
            "sha256": hashlib.sha256(content).hexdigest(),
            "precision": "int8",
            "quantization": "qdq-s8-symmetric",
            "input": {"name": INPUT, "layout": "NCHW", "dtype": "float32", "dynamic": True},
        },
        "input_shapes_hw": [list(shape) for shape in SHAPES_HW],
        "preprocessing": {"definition": 1, "scale": "1/255", "padding_value": 114, "colour": "RGB"},
        "thresholds": {"score": SCORE, "nms_iou": NMS_IOU},
        "lineage": {
            "parent": recipe.parent.stem,
            "trained_on": f"simulator boards, seed {recipe.seed}, {recipe.images} images",
            "epochs": recipe.epochs,
            "stop_gap": True,
            "licence": "AGPL-3.0-or-later",
        },
        "results": {
            "test": {**results["int8"], **{f"fp32_{k}": results["fp32"][k] for k in ("map50", "map50_95", "recall")}}
        },
    }
    part = output / "bundle.json.part"
    part.write_text(f"{json.dumps(description, indent=2)}\n", encoding="utf-8")
    partial.replace(output / "model.onnx")
    part.replace(output / "bundle.json")


if __name__ == "__main__":
    sys.exit(main())
