# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ultralytics' trainer for a model that is already there: its own would rebuild the full width from the YAML, silently.

Importable by name, as Ultralytics' machinery and pickled checkpoints want it. What it adds to the stock trainer: the
given model is trained, all CPU cores work, bfloat16 on CPUs, distillation, sparsity, and a last checkpoint that
survives a crash while it is being written.
"""

from __future__ import annotations

import copy
import importlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator
from ultralytics.models.yolo.obb import OBBValidator
from ultralytics.models.yolo.segment import SegmentationValidator
from ultralytics.utils.torch_utils import unwrap_model

from vision_line.cores import usable_cores
from vision_line.devices.model.tasks import ModelTask
from vision_line.errors import ConfigError, ModelError, RunError
from vision_line.ports import ProgressCallback
from vision_line_compression.data.dataset import SUFFIXES
from vision_line_compression.network.detection_network import head_of, network_of
from vision_line_compression.training.distillation import DistillingCriterion, Forward, ensure_projector
from vision_line_compression.training.schedule import DistillSettings, Phase, TrainSettings
from vision_line_compression.training.training_images import InspectedImages

_P = ParamSpec("_P")
_Outputs = TypeVar("_Outputs")

#: Taken before `last.pt` is written anew; a process killed in between leaves this one whole.
PREVIOUS = "previous.pt"


@dataclass(frozen=True, slots=True)
class Task:
    """One phase to train; `teacher` is used, not copied. `quantization_aware` rounds to INT8 on the way forward."""

    phase: Phase
    train: TrainSettings
    teacher: nn.Module | None = None
    distill: DistillSettings | None = None
    report: ProgressCallback | None = None
    quantization_aware: bool = False


def cpu_threads(wanted: int) -> int:
    """Return `wanted`, or for 0 the number of cores that this process may run on."""
    return wanted or usable_cores()


#: A process that the others hear nothing of for so long has failed.
_SILENCE = timedelta(minutes=30)


class GivenModelTrainer(DetectionTrainer):
    """Trains the model of a checkpoint as it is, layer for layer."""

    model: Any  # a path until the training is set up, then the module

    def __init__(self, task: Task, overrides: dict[str, object], *, processes: int = 1) -> None:
        """Prepare the training; `overrides` are Ultralytics' arguments, `processes` those that train together."""
        self._task = task
        super().__init__(overrides=overrides)
        self.args.workers = task.train.workers  # Ultralytics sets 0 on CPUs
        self._cpus = processes if self.device.type == "cpu" else 1
        if self._cpus > 1:
            self.world_size = self._cpus  # Ultralytics shares a training among GPUs alone
        self._criterion: DistillingCriterion | None = None
        self._done = 0
        self._use_threads()
        # select_device(), which every validation calls, takes a core away again
        for event in ("on_train_start", "on_train_epoch_start", "on_val_start"):
            self.add_callback(event, lambda _: self._use_threads())
        self.add_callback("on_train_epoch_start", lambda _: self._report_progress())
        self.add_callback("on_train_batch_end", lambda _: self._count_batch())

    def get_model(self, cfg: object = None, weights: nn.Module | None = None, verbose: bool = True) -> nn.Module:  # noqa: ARG002
        """Return a trainable copy of `weights`; `cfg`, the YAML of the full width, is not used.

        Raises:
            ModelError: no weights.
            ConfigError: the data set has other classes than the model.
        """
        if weights is None:
            raise ModelError("expected the weights of a checkpoint to train, found none")
        model = copy.deepcopy(weights).float().requires_grad_(True)
        classes, wanted = list(network_of(model).names.values()), list(self.data["names"].values())
        if classes != wanted:
            raise ConfigError(f"{self.args.data}: expected the model's classes {classes}, found {wanted}")
        if self._task.teacher is not None and self._task.distill is not None:
            ensure_projector(model, self._task.teacher, self._task.distill.method)
        return model

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> InspectedImages:
        """Return the images of a split, with Ultralytics' own settings but resized as an inspection does."""
        trains = mode == "train"
        return InspectedImages(
            img_path,
            imgsz=self.args.imgsz,
            batch_size=batch,
            augment=trains,
            hyp=self.args,
            rect=not trains,
            cache=self.args.cache or None,
            stride=max(int(head_of(unwrap_model(self.model)).stride.max()), 32),
            pad=0.0 if trains else 0.5,
            prefix=f"{mode}: ",
            task=self.args.task,
            data=self.data,
            corrupted=self._task.train.corrupted,
        )

    def get_validator(self) -> DetectionValidator:
        """Return what measures the model after each epoch: rotated boxes by their angles, masks beside their boxes."""
        validators = {ModelTask.OBB: OBBValidator, ModelTask.SEGMENT: SegmentationValidator}
        if self.args.task not in validators:
            return super().get_validator()  # type: ignore[no-untyped-call, no-any-return]
        arguments = copy.copy(self.args)
        return validators[self.args.task](self.test_loader, self.save_dir, arguments, self.callbacks)

    def carry_out(self) -> None:
        """Train until the last epoch, or go on where `resume` says.

        Raises:
            RunError: torch or Ultralytics gave up: out of memory, a full disk, or losses that are not numbers; or the
                trainer leaves images out.
            KeyboardInterrupt: the last complete epoch is kept.
        """
        try:
            self.train()  # type: ignore[no-untyped-call]
        except (RuntimeError, OSError) as exc:
            reason = (str(exc).splitlines() or [type(exc).__name__])[0]
            raise RunError(f"{self.save_dir}: training failed: {reason}") from exc

    def _setup_train(self) -> None:
        if self._task.quantization_aware:
            load_model_optimizer()
        with _cpus_by_gloo() if self._cpus > 1 else nullcontext():
            super()._setup_train()  # type: ignore[no-untyped-call]
        check_images(Path(self.data["train"]), self.train_loader.dataset.im_files)
        check_images(Path(self.data["val"]), self.test_loader.dataset.im_files)
        self._use_threads()
        # after the EMA was copied: what is set here is in no checkpoint
        if self.device.type == "cpu":
            self.model.to(memory_format=torch.channels_last)  # oneDNN's own order
        model = getattr(self.model, "module", self.model)  # without what shares it among processes
        if self._low_on_cpu:
            model.predict = in_bfloat16(model.predict)
        if self._task.teacher is not None and self._task.distill is not None:
            teacher = self._task.teacher.to(self.device)
            forward = self._teacher_forward(teacher)
            self._criterion = DistillingCriterion(model, teacher, self._task.distill, forward)
            model.criterion = self._criterion

    def _setup_ddp(self) -> None:
        if self._cpus == 1:
            super()._setup_ddp()  # type: ignore[no-untyped-call]
        else:
            dist.init_process_group("gloo", timeout=_SILENCE)

    def _teacher_forward(self, teacher: nn.Module) -> Forward:
        if not self._low_on_cpu:
            return teacher
        return in_bfloat16(teacher.to(memory_format=torch.channels_last))

    @property
    def _low_on_cpu(self) -> bool:
        """Whether convolutions run in bfloat16 on the CPU, which Ultralytics' own autocast refuses."""
        return self._task.train.precision == "bf16" and self.device.type == "cpu"

    def _use_threads(self) -> None:
        torch.set_num_threads(cpu_threads(self._task.train.threads))

    def _report_progress(self) -> None:
        if self._criterion is not None:
            self._criterion.progress = self.epoch / self.epochs

    def _count_batch(self) -> None:
        self._done = max(self._done, self.start_epoch * len(self.train_loader)) + 1
        if self._task.report is not None:
            self._task.report(self._done, self.epochs * len(self.train_loader))

    def optimizer_step(self) -> None:
        """Add the sparsity's subgradient, then step as usual."""
        if self._task.phase.sparsity:
            fade = 1 - 0.9 * self.epoch / max(self.epochs - 1, 1)
            add_sparsity(self.model, self._task.phase.sparsity * fade * self.scaler.get_scale())
        super().optimizer_step()  # type: ignore[no-untyped-call]

    def save_model(self) -> bool:
        """Write `last.pt` and, if it is the best so far, `best.pt`; the last one before stays until then."""
        if self.last.exists():
            self.last.replace(self.wdir / PREVIOUS)
        return bool(super().save_model())  # type: ignore[no-untyped-call]

    def final_eval(self) -> None:
        """Leave the checkpoints as they are: the result is evaluated by the application's own engine."""


@contextmanager
def _cpus_by_gloo() -> Iterator[None]:
    """Let Ultralytics share a model among processes on CPUs: torch takes no numbers of devices for them."""
    original = nn.parallel.DistributedDataParallel
    wrap = cast("Callable[..., nn.Module]", original)

    def without_numbers(model: nn.Module, *, device_ids: object, **options: object) -> nn.Module:
        del device_ids
        return wrap(model, **options)

    nn.parallel.DistributedDataParallel = without_numbers  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        nn.parallel.DistributedDataParallel = original  # type: ignore[misc]


def check_images(folder: Path, taken: Sequence[str]) -> None:
    """Make sure that a trainer took all images of `folder`: what it cannot use it leaves out, and says so in its log.

    Raises:
        RunError: with their number, and the first.
    """
    there = {path.name: path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES}
    missing = sorted(there.keys() - {Path(name).name for name in taken})
    if missing:
        first = there[missing[0]]
        raise RunError(
            f"{folder}: the trainer cannot use {len(missing)} of {len(there)} images, and would train without them: "
            f"the first is {first.readlink() if first.is_symlink() else first}"
        )


def load_model_optimizer() -> None:
    """Import NVIDIA Model Optimizer; what it says of old torch functions and language models concerns nobody here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in ("modelopt.torch.quantization", "modelopt.torch.export.layer_utils"):
            importlib.import_module(module)


def add_sparsity(model: nn.Module, strength: float) -> None:
    """Add `strength` times the sign of each batch norm scale to its gradient: the subgradient of their L1 norm.

    Source: Liu et al., "Learning efficient convolutional networks through network slimming", ICCV 2017.
    """
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.weight.grad is not None:
            layer.weight.grad.add_(layer.weight.detach().sign(), alpha=strength)


def in_bfloat16(forward: Callable[_P, _Outputs]) -> Callable[_P, _Outputs]:
    """Return `forward` with its convolutions in bfloat16 and its outputs in float32, so that losses keep their bits."""

    def cast_forward(*args: _P.args, **kwargs: _P.kwargs) -> _Outputs:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = forward(*args, **kwargs)
        return cast("_Outputs", to_float32(outputs))

    return cast_forward


def to_float32(outputs: object) -> object:
    """Return nested lists, tuples and dicts of tensors with every floating tensor in float32."""
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.is_floating_point() else outputs
    if isinstance(outputs, dict):
        return {key: to_float32(value) for key, value in outputs.items()}
    if isinstance(outputs, list | tuple):
        return type(outputs)(to_float32(value) for value in outputs)
    return outputs


def ultralytics_arguments(
    task: Task, data_yaml: Path, seed: int, model_task: ModelTask = ModelTask.DETECT
) -> dict[str, object]:
    """Return Ultralytics' arguments for a phase; all that matters is explicit, nothing is chosen automatically."""
    phase, train = task.phase, task.train
    on_gpu = not train.device.startswith("cpu")
    return {
        "task": model_task.value,
        "data": str(data_yaml),
        "epochs": phase.epochs,
        "patience": phase.patience or 0,  # 0: never
        "lr0": phase.rate,
        "lrf": phase.final_share,
        "cos_lr": phase.final_share < 1,
        "optimizer": train.optimizer,
        "momentum": train.momentum,
        "weight_decay": train.weight_decay,
        "warmup_epochs": train.warmup_epochs,
        "warmup_bias_lr": 0.0,  # 0.1 would be a hundred times the rate
        "imgsz": train.image_size,
        "batch": train.batch,
        "nbs": train.nominal_batch or train.batch,
        "mosaic": train.mosaic,
        "close_mosaic": min(train.close_mosaic, phase.epochs - 1),
        "scale": train.scale,
        "translate": train.translate,
        "fliplr": train.flip_left_right,
        "flipud": train.flip_up_down,
        "hsv_h": train.hue,
        "hsv_s": train.saturation,
        "hsv_v": train.brightness,
        "amp": "bf16" if on_gpu and train.precision == "bf16" else False,
        "device": "cpu" if train.device.startswith("cpu") else train.device,
        "workers": train.workers,
        "cache": "ram" if train.cache else False,
        "seed": seed,
        "quantize": 8 if task.quantization_aware else None,
        "plots": False,
        "verbose": False,
        "exist_ok": True,
    }
