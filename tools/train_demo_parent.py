# SPDX-License-Identifier: AGPL-3.0-or-later
"""Train the model that the demo's recipe compresses: draw boards, fine-tune YOLOv8n on them.

    python -m tools.train_demo_parent --start yolov8n-coco.pt --work build/pcb-demo

needs the `dev` extra and, from the repository's root, about an hour on two cores. What `--work` already holds
(images, weights) is used again. `compression/recipes/demo.toml` then makes the shipped bundle of `trained.pt` and the
same boards: the command is in its first lines.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vision_line.cores import usable_cores
from vision_line.simulator.labelled_images import write_dataset


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, train; each is skipped when its product is in the work folder."""
    options = _parse(arguments)
    work: Path = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    data = work / "boards" / "data.yaml"
    if not data.exists():
        write_dataset(data.parent, options.images, options.seed, _show_progress)
    print(train(options, data, work))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the parent of vision-line's demo model.")
    parser.add_argument("--start", type=Path, required=True, help="YOLOv8n checkpoint to go on from")
    parser.add_argument("--work", type=Path, required=True, help="folder for images and weights")
    parser.add_argument(
        "--bfloat16", action="store_true", help="train in bfloat16: twice as fast where the CPU has AMX"
    )
    parser.add_argument("--images", type=int, default=3300)
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=30)
    return parser.parse_args(arguments)


def _show_progress(done: int, total: int) -> None:
    print(f"\rdrawn {done}/{total}", end="" if done < total else "\n", flush=True)


def train(options: argparse.Namespace, data: Path, work: Path) -> Path:
    """Fine-tune the checkpoint on the drawn boards; gives the best one of all epochs.

    Mosaics fill the square input with boards of four images; the last fifth of the epochs sees images as the
    cameras send them. Every epoch is kept.
    """
    trained = work / "trained.pt"
    if trained.exists():
        return trained
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_CONFIG_DIR=str(work))
    from ultralytics.models import YOLO

    yolo = YOLO(options.start)
    yolo.add_callback("on_train_start", _use_all_cores)
    if options.bfloat16:
        yolo.add_callback("on_train_start", _predict_in_bfloat16)
    yolo.train(
        data=str(data), project=str(work), name="training", exist_ok=True, save_period=1, plots=False,
        device="cpu", workers=1, cache="ram", amp=False, seed=3, imgsz=320, batch=16, epochs=options.epochs,
        optimizer="AdamW", lr0=0.0015, lrf=0.02, cos_lr=True, warmup_epochs=1,
        mosaic=1.0, close_mosaic=max(options.epochs // 5, 2), scale=0.2, translate=0.08, fliplr=0.5, flipud=0.5,
        hsv_h=0.03, hsv_s=0.4, hsv_v=0.3, erasing=0.0,
    )  # fmt: skip
    shutil.copyfile(work / "training" / "weights" / "best.pt", trained)
    return trained


def _use_all_cores(_: Any) -> None:
    """Undo Ultralytics' limit of cores - 1, which halves a two-core machine."""
    import torch

    torch.set_num_threads(usable_cores())  # more than that wait for each other, each tenfold as long


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


if __name__ == "__main__":
    sys.exit(main())
