# SPDX-License-Identifier: AGPL-3.0-or-later
"""A training set of belt images with YOLO labels; splits share no board."""

from __future__ import annotations

from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vision_line.ports import ProgressCallback
from vision_line.simulator.barcode import write_barcode
from vision_line.simulator.clips import CONTEXT, open_workers
from vision_line.simulator.codec import through_h264
from vision_line.simulator.defects import KINDS
from vision_line.simulator.scene import FPS, SIZE_WH, Pixels, Scene, ScenePlan, draw_scene
from vision_line.simulator.truth import TrueBox

SPLITS: dict[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}
# A defect cut by the image's side is labelled while this share of its box is visible.
LEAST_VISIBLE = 0.6
_IMAGES_A_SCENE = 4
_BOARDS_A_SCENE = 4


@dataclass(frozen=True, slots=True)
class _Task:
    """One scene's images: where they go, its own seed, and how many are wanted."""

    directory: Path
    split: str
    seed: tuple[int, int, int]
    images: int


def write_dataset(directory: Path, images: int, seed: int, progress: ProgressCallback | None = None) -> Path:
    """Write `images` images in train, val and test with labels; returns the path of data.yaml.

    Layout: `images/SPLIT/NAME.jpg` and `labels/SPLIT/NAME.txt` (class cx cy w h, shares of the image;
    empty for an image without defects). Reproducible from `seed`. `progress` is called in this thread.
    """
    for split in SPLITS:
        for kind in ("images", "labels"):
            (directory / kind / split).mkdir(parents=True, exist_ok=True)
    tasks = _plan_tasks(directory, images, seed)
    done = 0
    with open_workers(CONTEXT.Value("i", 0)) as pool:
        for future in as_completed([pool.submit(_write_scene, task) for task in tasks]):
            done += future.result()
            if progress is not None:
                progress(done, images)
    names = "\n".join(f"  {number}: {kind}" for number, kind in enumerate(KINDS))
    splits = "\n".join(f"{split}: images/{split}" for split in SPLITS)
    data = directory / "data.yaml"
    data.write_text(f"path: {directory.resolve()}\n{splits}\nnames:\n{names}\n", encoding="utf-8")
    return data


def _plan_tasks(directory: Path, images: int, seed: int) -> list[_Task]:
    counts = {split: round(images * share) for split, share in SPLITS.items()}
    counts["train"] += images - sum(counts.values())
    return [
        _Task(directory, split, (seed, number, scene), min(_IMAGES_A_SCENE, count - scene * _IMAGES_A_SCENE))
        for number, (split, count) in enumerate(counts.items())
        for scene in range(-(-count // _IMAGES_A_SCENE))
    ]


def _write_scene(task: _Task) -> int:
    """Draw one scene and write its images; runs in a worker process."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(task.seed)
    scene = draw_scene(_plan_scene(rng))
    for number in range(task.images):
        index = round((number + float(rng.uniform(0, 0.4))) * scene.plan.frames / _IMAGES_A_SCENE)
        name = f"{task.seed[2]:05d}_{number}"
        pixels = _degraded(rng, scene, index)
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(70, 97))]
        cv2.imwrite(str(task.directory / "images" / task.split / f"{name}.jpg"), pixels, quality)
        lines = [yolo_label(box) for box in scene.boxes(index) if box.visible >= LEAST_VISIBLE]
        label = task.directory / "labels" / task.split / f"{name}.txt"
        label.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return task.images


def _plan_scene(rng: np.random.Generator) -> ScenePlan:
    speed = float(rng.uniform(70, 140))
    belt_px = float(rng.uniform(1250, 1650))
    return ScenePlan(
        seed=int(rng.integers(2**31)),
        frames=round(belt_px * FPS / speed),
        boards=_BOARDS_A_SCENE,
        speed_px_s=speed,
        defective_share=0.0 if rng.random() < 0.1 else 0.8,
        most_defects=6,
    )


def _degraded(rng: np.random.Generator, scene: Scene, index: int) -> Pixels:
    """Render an image and send it through the codec of the clips, or through none but JPEG."""
    if rng.random() < 0.35:
        return _marked(rng, scene.render(index))
    run = range(index - int(rng.integers(0, 6)), index + 1)
    return through_h264([_marked(rng, scene.render(i)) for i in run], FPS)


def _marked(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    write_barcode(pixels, int(rng.integers(256)), int(rng.integers(65536)))
    return pixels


def yolo_label(box: TrueBox) -> str:
    """Write one label line: class index and cx cy w h as shares of the image."""
    x0, y0, x1, y1 = box.xyxy
    width, height = SIZE_WH
    y0, y1 = max(y0, 0.0), min(y1, float(height))
    shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
    return f"{KINDS.index(box.kind)} " + " ".join(f"{share:.6f}" for share in shares)
