# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a recipe works on, opened and checked as a whole, so that nothing fails after hours of training."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from itertools import product
from pathlib import Path

from vision_line.devices.model.tasks import ModelTask, task_problem
from vision_line.devices.proof.processor import this_processor
from vision_line.errors import ConfigError, ModelError
from vision_line.packages import install_extra
from vision_line_compression.data.data_health import data_warnings, describe_data
from vision_line_compression.data.dataset import Dataset, has_split, open_dataset, open_images
from vision_line_compression.data.grouping import group_images
from vision_line_compression.files import sha256_of
from vision_line_compression.network.checkpoint import Checkpoint, complexity, load_checkpoint
from vision_line_compression.network.family import at_scale, with_classes
from vision_line_compression.network.onnx_file import export_onnx
from vision_line_compression.network.ultralytics_log import NOWHERE, ultralytics_log
from vision_line_compression.pipeline.recipe import PLANNED_OTHERWISE, Control, LoadedRecipe
from vision_line_compression.prune.latency import LatencyTable
from vision_line_compression.prune.planner import plan_pruning
from vision_line_compression.prune.settings import PruneSettings
from vision_line_compression.quantize.graph import open_graph
from vision_line_compression.quantize.qdq_placement import plan_placement
from vision_line_compression.training.distillation import Architecture, check_teacher

#: Flags of processors that compute in bfloat16.
_BFLOAT16 = frozenset({"amx_bf16", "avx512_bf16", "bf16"})

#: Ultralytics trains on no smaller images.
LEAST_SIDE = 10


@dataclass(frozen=True, slots=True)
class LatencyTableFile:
    """A latency table that was made on the target."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Inputs:
    """The opened inputs of a recipe; `teacher` is the parent where no other was named.

    `calibration` are images of a folder of their own; None: training images calibrate. `teacher_network` is what is
    trained to be the teacher, before it is; its hash is that of what it begins with. None: nothing is.
    """

    loaded: LoadedRecipe
    parent: Checkpoint
    teacher: Checkpoint
    train: Dataset
    val: Dataset
    test: Dataset
    calibration: Dataset | None = None
    teacher_network: Checkpoint | None = None
    pretrained: Checkpoint | None = None
    latency_table: LatencyTableFile | None = None

    @property
    def report_images(self) -> Dataset:
        """The images of all figures in the report."""
        most = self.loaded.recipe.evaluate.images
        return self.test if most is None else self.test.subset(most)

    def with_seed(self, seed: int) -> Inputs:
        """Return the same inputs with another seed in the recipe, trained once."""
        recipe = self.loaded.recipe
        report = recipe.report.model_copy(update={"seeds": ()})
        again = recipe.model_copy(update={"seed": seed, "report": report})
        inputs = replace(self, loaded=replace(self.loaded, recipe=again))
        inputs.__dict__["hashes"] = self.hashes  # the same files, which need not be read again
        return inputs

    @cached_property
    def hashes(self) -> dict[str, str]:
        """The hash of each data set by its part, whatever folder it lies in."""
        parts = self._splits
        if self.calibration is not None:
            parts["calibration"] = self.calibration
        return {name: part.sha256() for name, part in parts.items()}

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What is legal in data set and recipe and hardly ever meant."""
        recipe = self.loaded.recipe
        found = list(data_warnings(self._splits, self.calibration, recipe.input.shapes_hw))
        if recipe.prune is not None and recipe.prune.importance == "bn" and recipe.sparsify is None:
            found.append(
                f'{self.loaded.path}: prune.importance: "bn" rates channels by scales that [sparsify] drives to zero, '
                "and there is no [sparsify]: they say little"
            )
        flags = this_processor().flags
        low = recipe.trains and recipe.train.precision == "bf16" and recipe.train.device == "cpu"
        if low and flags and not flags & _BFLOAT16:
            found.append(
                f'{self.loaded.path}: train.precision: "bf16" is many times slower than "fp32" on this processor, '
                "which has no instructions for it"
            )
        return tuple(found)

    @property
    def description(self) -> tuple[str, ...]:
        """What is in the data set, a line for each split."""
        return tuple(describe_data(self._splits, self.loaded.recipe.input.shapes_hw))

    @property
    def _splits(self) -> dict[str, Dataset]:
        return {"train": self.train, "val": self.val, "judge": self.test}


def open_inputs(loaded: LoadedRecipe, *, trains_here: bool = True) -> Inputs:
    """Open the checkpoint, the teacher and the data set of a recipe, and make sure that they fit together.

    Unless it `trains_here` the training device need not be in this machine.

    Raises:
        ConfigError: all problems of data set and checkpoint at once, or a teacher that does not fit.
        ModelError: a checkpoint cannot be used, and nothing else is wrong.
    """
    problems: list[str] = []
    parent = failure = calibration = None
    datasets: list[Dataset] = []
    added: dict[str, list[Dataset]] = {"train": [], "val": []}
    try:
        parent = load_checkpoint(loaded.checkpoint)
    except ModelError as exc:
        failure = exc
    task = ModelTask.DETECT if parent is None else parent.task
    for split in ("train", "val", loaded.recipe.data.judge):
        with _collected(problems):
            datasets.append(open_dataset(loaded.data_yaml, split, task=task))
    for data_yaml, split in product(loaded.more_data, added):
        with _collected(problems):
            if split == "train" or has_split(data_yaml, split):
                added[split].append(open_dataset(data_yaml, split, task=task))
    if loaded.calibration is not None:
        with _collected(problems, "quantize.calibration: "):
            calibration = open_images(loaded.calibration)
    if failure is not None and not problems:
        raise failure
    if problems or parent is None:
        found = [] if failure is None else [str(failure)]
        raise ConfigError(*found, *dict.fromkeys(problems))  # a fault of data.yaml itself is found with every split
    teacher = parent if loaded.teacher is None else load_checkpoint(loaded.teacher)
    datasets = [own.named_as(parent.classes) for own in datasets]
    added = {split: [own.named_as(parent.classes) for own in more] for split, more in added.items()}
    for own in (datasets[0], *added["train"]):
        _check_classes(own, parent)
    train, val, test = (own.joined(added.get(own.split, ())) for own in datasets)
    inputs = Inputs(
        loaded=loaded,
        parent=parent,
        teacher=teacher,
        train=train,
        val=val,
        test=test,
        calibration=calibration,
        teacher_network=_teacher_network(loaded, parent),
        pretrained=None if loaded.pretrained is None else load_checkpoint(loaded.pretrained),
        latency_table=None if loaded.latency_table is None else _open_table(loaded, loaded.latency_table),
    )
    _check_together(inputs)
    _check_training(inputs, here=trains_here)
    return inputs


def check_budgets(inputs: Inputs, latency: LatencyTable | None = None) -> None:
    """Try the budgets of all steps, and of the uniform control, by weights alone.

    That takes seconds: what is reachable depends on the network's structure only. `latency` is needed where a budget
    is a share of it.

    Raises:
        ConfigError: some cannot be reached; the message holds the reachable frontier of each.
    """
    recipe = inputs.loaded.recipe
    if recipe.prune is None:
        return
    budgets = {f"step[{number}]": step.budget for number, step in enumerate(recipe.step, start=1)}
    variants: dict[str, dict[str, object]] = {"": {}}
    for control, change in PLANNED_OTHERWISE.items():
        if control in recipe.report.controls:
            variants[f"report.controls: {control.value}: "] = change
    keys = set(PruneSettings.model_fields)
    problems: list[str] = []
    for key, budget in (budgets | {"prune": recipe.prune.budget}).items():
        for wanted_by, variant in variants.items():
            changes = {"budget": budget, "importance": "l2"} | variant
            settings = PruneSettings.model_validate(recipe.prune.model_dump(include=keys) | changes)
            try:
                plan_pruning(inputs.parent, settings, latency=latency)
            except ConfigError as exc:
                first, *frontier = exc.problems
                problems += [f"{inputs.loaded.path}: {wanted_by}{key}.{first}", *frontier]
    if problems:
        raise ConfigError(*problems)


@contextmanager
def _collected(problems: list[str], key: str = "") -> Iterator[None]:
    """Add the problems that the block raises to `problems`, each behind `key`."""
    try:
        yield
    except ConfigError as exc:
        problems += [f"{key}{problem}" for problem in exc.problems]


def _check_together(inputs: Inputs) -> None:
    parent, loaded = inputs.parent, inputs.loaded
    if loaded.recipe.qat is not None and find_spec("modelopt") is None:
        raise ConfigError(
            f"{loaded.path}: qat: needs NVIDIA Model Optimizer, which is not installed: {install_extra('qat')}"
        )
    if loaded.recipe.qat is not None and parent.task is not ModelTask.DETECT:
        raise ConfigError(f"{loaded.path}: qat: {parent.path}: {task_problem(parent.task, [ModelTask.DETECT])}")
    if Control.PARENT_INT8_NNCF in loaded.recipe.report.controls and parent.task is ModelTask.SEGMENT:
        problem = task_problem(parent.task, [ModelTask.DETECT, ModelTask.OBB])
        raise ConfigError(f"{loaded.path}: report.controls: 'parent-int8-nncf': {parent.path}: {problem}")
    ours = Architecture.of(parent)
    check_teacher(ours, Architecture.of(inputs.teacher_network or inputs.teacher))
    if inputs.pretrained is not None and _kind(inputs.pretrained) != _kind(parent):
        raise ConfigError(
            f"{loaded.path}: report.pretrained: expected a {_kind(parent)} model as the parent, found a "
            f"{_kind(inputs.pretrained)} model"
        )
    if Control.PARENT_INT8_NNCF in loaded.recipe.report.controls and find_spec("nncf") is None:
        raise ConfigError(
            f"{loaded.path}: report.controls: 'parent-int8-nncf' needs NNCF, which is not installed: "
            f"{install_extra('nncf')}"
        )
    group = loaded.recipe.data.group
    if group is not None:
        group_images(inputs.report_images, group)
        if corrupted := loaded.recipe.report.corrupted_images:
            group_images(inputs.test.subset(corrupted), group)


def _kind(checkpoint: Checkpoint) -> str:
    """Return the family of a checkpoint, and its task where that is another than upright boxes."""
    return checkpoint.family if checkpoint.task is ModelTask.DETECT else f"{checkpoint.family} {checkpoint.task}"


def _teacher_network(loaded: LoadedRecipe, parent: Checkpoint) -> Checkpoint | None:
    """Return the network that is trained to be the teacher; None where the recipe trains none.

    Raises:
        ConfigError: it is not larger than the parent.
        ModelError: what it begins with cannot be used.
    """
    section, seed = loaded.recipe.teacher, loaded.recipe.seed
    if section is None:
        return None
    if loaded.teacher_start is None:
        network, sha256, path = at_scale(parent, section.scale, seed), f"untrained {section.scale}", parent.path
    else:
        start = load_checkpoint(loaded.teacher_start)
        network, sha256, path = with_classes(start, parent.classes, seed), start.sha256, start.path
    size_hw = loaded.recipe.input.shapes_hw[0]
    ours, theirs = complexity(parent.model, size_hw).macs, complexity(network, size_hw).macs
    if theirs <= ours:
        raise ConfigError(
            f"{loaded.path}: teacher: expected a network of more operations than the parent's {ours / 1e9:.2f} G, "
            f"found one of {theirs / 1e9:.2f} G"
        )
    like = parent if loaded.teacher_start is None else start
    return Checkpoint(network, like.family, parent.classes, sha256, path, like.task)


def _open_table(loaded: LoadedRecipe, path: Path) -> LatencyTableFile:
    """Return a latency table that fits the recipe.

    Raises:
        ConfigError: it cannot be read, is of another input size, or was measured in float.
    """
    table, size_hw = LatencyTable.read(path), loaded.recipe.pruning.size_hw
    if table.size_hw != size_hw:
        raise ConfigError(f"{path}: size_hw: found {table.size_hw}, expected prune.size_hw {size_hw}")
    if table.precision != "int8" or table.network is None:
        raise ConfigError(
            f"{path}: expected a table of INT8 with the whole network, as `measure` makes it, found an older one"
        )
    return LatencyTableFile(path, sha256_of(path))


def _check_classes(data: Dataset, parent: Checkpoint) -> None:
    """Let a data set pass whose classes are the model's, in its order.

    Raises:
        ConfigError: they are others.
    """
    if data.classes != parent.classes:
        raise ConfigError(
            f"{data.source}: names: expected {', '.join(parent.classes)} as in {parent.path}, "
            f"found {', '.join(data.classes)}"
        )


def _check_sizes(*splits: Dataset) -> None:
    """Let images pass that can be trained on.

    Raises:
        ConfigError: some are smaller: Ultralytics leaves them out.
    """
    small = [image for data in splits for image in data.images if min(image.size_wh) < LEAST_SIDE]
    if small:
        width, height = small[0].size_wh
        raise ConfigError(
            f"{small[0].path}: found {width} x {height} pixels, expected sides of {LEAST_SIDE} or more to train on"
            + (f"; and {len(small) - 1} more images like it" if len(small) > 1 else "")
        )


def _check_training(inputs: Inputs, *, here: bool) -> None:
    if inputs.loaded.recipe.trains:
        _check_sizes(inputs.train, inputs.val)
        if here:
            check_training_device(inputs.loaded)


def check_training_device(loaded: LoadedRecipe) -> None:
    """Let devices pass that trainings can run on.

    Raises:
        ConfigError: torch does not find one on this machine, or several cannot share the batch.
    """
    train = loaded.recipe.train
    devices = train.device.split(",")
    if train.batch % len(devices):
        raise ConfigError(
            f"{loaded.path}: train.batch: expected a multiple of the {len(devices)} devices {train.device!r}, "
            f"found {train.batch}"
        )
    if devices[0] == "cpu":
        return
    if len(set(devices)) < len(devices):
        raise ConfigError(f"{loaded.path}: train.device: expected each device once, found {train.device!r}")
    import torch

    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if any(int(device) >= found for device in devices):
        raise ConfigError(
            f"{loaded.path}: train.device: found {train.device!r}, but torch finds {found} CUDA devices here; "
            f"expected 'cpu'" + (f" or numbers below {found}" if found else "")
        )


def check_keep_float(inputs: Inputs) -> None:
    """Try the names of `quantize.keep_float` on the parent's own ONNX graph, whose names all its successors keep.

    Raises:
        ConfigError: one of them names nothing.
    """
    loaded, settings = inputs.loaded, inputs.loaded.recipe.quantize
    if not settings.keep_float:
        return
    with tempfile.TemporaryDirectory(prefix="vision-line-names-") as work, ultralytics_log(NOWHERE):
        onnx = export_onnx(loaded.checkpoint, Path(work) / "parent.onnx", shape_hw=loaded.recipe.input.shapes_hw[0])
        graph = open_graph(onnx)
    try:
        plan_placement(graph, settings)
    except ModelError as exc:
        raise ConfigError(f"{loaded.path}: quantize.{exc}") from exc
