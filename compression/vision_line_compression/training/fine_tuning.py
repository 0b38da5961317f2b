# SPDX-License-Identifier: AGPL-3.0-or-later
"""Recovery training, with or without a teacher: phase after phase, resumable at each epoch, widths checked after it."""

from __future__ import annotations

import logging
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import nn

from vision_line.devices.model.tasks import ModelTask
from vision_line.errors import RunError
from vision_line.ports import ProgressCallback
from vision_line_compression.data.dataset import Dataset, LabelledImage
from vision_line_compression.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from vision_line_compression.network.ultralytics_log import ultralytics_log
from vision_line_compression.training.distillation import Architecture, Distillation, check_teacher, drop_projector
from vision_line_compression.training.distributed import PhaseOrder, device_count, train_distributed
from vision_line_compression.training.schedule import DistillSettings, Phase, Schedule
from vision_line_compression.training.trainer import PREVIOUS, GivenModelTrainer, Task, ultralytics_arguments

logger = logging.getLogger(__name__)

RESULT = "trained.pt"


def recover(
    checkpoint: Path,
    data_yaml: Path,
    schedule: Schedule,
    folder: Path,
    distillation: Distillation | None = None,
    report: ProgressCallback | None = None,
    *,
    quantization_aware: bool = False,
) -> Path:
    """Train the model in `checkpoint` as it is, layer for layer, and return the path of the trained checkpoint.

    Each phase keeps its state in `folder/NAME`; called again with the same arguments after an interruption, training
    goes on with the epoch after the last complete one. Finished phases are not repeated.

    Args:
        checkpoint: an Ultralytics checkpoint, pruned or not.
        data_yaml: the data set, as `link_training_data` leaves it; its `val` split chooses each phase's best epoch.
        schedule: what to do.
        folder: where everything is kept; for this training alone.
        distillation: whom to learn from; None: from the labels alone.
        quantization_aware: round weights and activations to INT8 on the way forward; the result is a plain float
            checkpoint whose weights bear it. Needs NVIDIA Model Optimizer.
        report: called with (batches done, batches in all) from this thread; an early end of a phase skips ahead.

    Raises:
        ConfigError: the data set's classes differ from the model's, or the teacher's outputs from the student's.
        ModelError: a checkpoint cannot be used.
        RunError: the trainer leaves images out, it changed the widths of a layer, or left no checkpoint.
    """
    result = folder / RESULT
    if result.exists():
        return result
    folder.mkdir(parents=True, exist_ok=True)
    original, teacher, settings = load_checkpoint(checkpoint), None, None
    if distillation is not None:
        teacher, settings = _open_teacher(original, distillation.teacher), distillation.settings
    run = _Run(
        original,
        data_yaml,
        schedule,
        folder,
        teacher,
        settings,
        teacher_path=None if distillation is None else distillation.teacher,
        report=report,
        aware=quantization_aware,
    )
    newest, done = checkpoint, 0
    for phase in schedule.phases:
        newest = run.ensure_phase(phase, newest, done)
        done += phase.epochs
    partial = result.with_suffix(".partial")
    shutil.copyfile(newest, partial)
    partial.replace(result)
    return result


def link_training_data(folder: Path, splits: dict[str, Dataset]) -> Path:
    """Write `folder/data.yaml`, links to the images of `splits` by the names train, val, test, and their labels.

    The trainer writes caches beside the labels; so the user's folder is never written to, and may be read-only. Labels
    are written as they were read: the trainer leaves out images whose files it likes less than we do. `folder` is for
    one training alone; called again it is made whole. Returns the path of data.yaml.
    """
    for name, dataset in splits.items():
        images, labels = folder / "images" / name, folder / "labels" / name
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(dataset.images):
            link = f"{number:06d}_{image.path.stem}"
            _ensure_link(images / f"{link}{image.path.suffix}", image.path)
            (labels / f"{link}.txt").write_text(label_lines(image), encoding="utf-8")
    data_yaml = folder / "data.yaml"
    classes = next(iter(splits.values())).classes
    content = {
        "path": str(folder.absolute()),
        **{name: f"images/{name}" for name in splits},
        "names": dict(enumerate(classes)),
    }
    data_yaml.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return data_yaml


def label_lines(image: LabelledImage) -> str:
    """Return the boxes of an image as a label file: lines of class, centre and size in shares of the image.

    Of rotated boxes and masks lines of class and corners, of all: Ultralytics takes no file with lines of both kinds.
    """
    if image.task is not ModelTask.DETECT:
        polygons = zip(image.class_id.tolist(), (polygon.ravel() for polygon in image.polygons), strict=True)
        return "".join(_label_line(class_id, corners.tolist()) for class_id, corners in polygons)
    left, top, right, bottom = (image.xyxy.astype(np.float64) / (image.size_wh * 2)).T
    shares = np.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], axis=1)
    rows = zip(image.class_id.tolist(), shares.tolist(), strict=True)
    return "".join(_label_line(class_id, row) for class_id, row in rows)


def _label_line(class_id: int, shares: list[float]) -> str:
    return f"{class_id} {' '.join(f'{share:.9g}' for share in shares)}\n"


def _ensure_link(link: Path, target: Path) -> None:
    target = target.absolute()
    if link.is_symlink() and link.readlink() == target:
        return
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def layer_widths(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight of a model by its name."""
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def check_widths(expected: nn.Module, found: nn.Module) -> None:
    """Make sure that two models have the same layers and widths: a trainer that rebuilds the full model is noticed.

    Raises:
        RunError: naming the first difference and the parameters of both.
    """
    wanted, got = layer_widths(expected), layer_widths(found)
    if wanted == got:
        return
    name = next(name for name in (*wanted, *got) if wanted.get(name) != got.get(name))
    count = sum(parameter.numel() for parameter in found.parameters())
    before = sum(parameter.numel() for parameter in expected.parameters())
    raise RunError(
        f"training changed the model: {name}: expected {wanted.get(name)}, found {got.get(name)};"
        f" parameters: expected {before}, found {count}"
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """What the phases of one training share."""

    original: Checkpoint
    data_yaml: Path
    schedule: Schedule
    folder: Path
    teacher: nn.Module | None
    settings: DistillSettings | None
    teacher_path: Path | None
    report: ProgressCallback | None
    aware: bool

    def ensure_phase(self, phase: Phase, start: Path, epochs_before: int) -> Path:
        """Train a phase, or what is left of it; its weights folder goes when its result is written."""
        folder = self.folder / phase.name
        result = folder / f"{phase.name}.pt"
        if result.exists():
            return result
        folder.mkdir(exist_ok=True)
        report = self._counted(phase, epochs_before)
        task = Task(phase, self.schedule.train, self.teacher, self.settings, report, self.aware)
        last = _newest_checkpoint(folder / "weights")
        if last is None or _epochs_done(last) < phase.epochs:
            logger.info("phase %s: %s", phase.name, "begins" if last is None else "continues")
            arguments = ultralytics_arguments(task, self.data_yaml, self.schedule.seed, self.original.task)
            arguments |= {"model": str(start), "save_dir": str(folder), "resume": str(last) if last else False}
            if device_count(self.schedule.train.device) > 1:
                order = PhaseOrder(
                    phase=phase,
                    train=self.schedule.train,
                    arguments=arguments,
                    teacher=self.teacher_path,
                    distill=self.settings,
                )
                train_distributed(order, folder, report)
            else:
                with ultralytics_log(folder / "train.log"):
                    GivenModelTrainer(task, arguments).carry_out()
        _save_result(folder / "weights", result, self.original)
        return result

    def _counted(self, phase: Phase, epochs_before: int) -> ProgressCallback | None:
        """Return a report for one phase that counts the batches of all phases."""
        report = self.report
        if report is None:
            return None

        def counted(done: int, total: int) -> None:
            an_epoch = total // phase.epochs
            report(epochs_before * an_epoch + done, self.schedule.epochs * an_epoch)

        return counted


def _open_teacher(student: Checkpoint, path: Path) -> nn.Module:
    teacher = load_checkpoint(path)
    check_teacher(Architecture.of(student), Architecture.of(teacher))
    return teacher.model


def _save_result(weights: Path, result: Path, original: Checkpoint) -> None:
    best = weights / "best.pt"
    if not best.exists():
        raise RunError(f"{weights}: training left no checkpoint")
    trained = load_checkpoint(best).model
    drop_projector(trained)
    check_widths(original.model, trained)
    save_checkpoint(trained, result, original)
    shutil.rmtree(weights)


def _newest_checkpoint(weights: Path) -> Path | None:
    """Return the checkpoint to go on from; files that a crash left half-written are replaced by whole ones."""
    last, previous, best = weights / "last.pt", weights / PREVIOUS, weights / "best.pt"
    if not zipfile.is_zipfile(last):
        if not zipfile.is_zipfile(previous):
            return None
        previous.replace(last)
    if best.exists() and not zipfile.is_zipfile(best):
        shutil.copyfile(last, best)  # best.pt is written right after last.pt, with the same content
    return last


def _epochs_done(last: Path) -> int:
    content = torch.load(last, map_location="cpu", weights_only=False)  # our own file
    return int(content["epoch"]) + 1
