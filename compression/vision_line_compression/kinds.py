# SPDX-License-Identifier: AGPL-3.0-or-later
"""The kinds of stages that a recipe's graph is made of: what each depends on, and what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from vision_line_compression import compressing, measuring
from vision_line_compression.distill import Distillation
from vision_line_compression.inputs import Inputs
from vision_line_compression.prune.settings import Budget
from vision_line_compression.recipe import DistillSection, PruneSection
from vision_line_compression.schedule import (
    QatSettings,
    RecoverSettings,
    Schedule,
    plan_distillation,
    plan_qat,
    plan_recovery,
)
from vision_line_compression.stages import Report, Stage, Workspace

Work = Callable[[Path, Report], list[Path]]


@dataclass(frozen=True, slots=True)
class Source:
    """A file that stages read: one of a stage's outputs, or one that was there before."""

    path: Path
    stage: Stage | None = None

    @property
    def after(self) -> tuple[Stage, ...]:
        """The stages that must be done before the file is there."""
        return () if self.stage is None else (self.stage,)


@dataclass(frozen=True, slots=True)
class Trained:
    """A model of the report as a checkpoint, and the epochs it has had since the parent."""

    checkpoint: Source
    epochs: float


@dataclass(frozen=True, slots=True)
class Line:
    """Plan, prune, recover, step after step: all plans, the last pruning, and the checkpoint in the end."""

    plans: tuple[Stage, ...]
    pruned: Stage
    recovered: Source


class Kinds:
    """Makes the stages of one recipe in one workspace; nothing is done here."""

    def __init__(self, inputs: Inputs, workspace: Workspace) -> None:
        """Make stages for a recipe's opened inputs."""
        self._inputs = inputs
        self._recipe = inputs.loaded.recipe
        self._workspace = workspace

    def stage(
        self,
        name: str,
        work: Work,
        settings: Mapping[str, JsonValue],
        *,
        after: tuple[Stage, ...] = (),
        data: tuple[str, ...] = (),
        start: Source | None = None,
        version: int = 1,
    ) -> Stage:
        """Return a stage; `data` are the splits that it reads, `start` the checkpoint."""
        inputs = {part: self._inputs.hashes[part] for part in data}
        if start is not None and start.stage is None:
            inputs["checkpoint"] = self._inputs.parent.sha256
        return Stage(name, work, settings, inputs, (*(() if start is None else start.after), *after), version)

    def line(self, prefix: str, section: PruneSection, start: Source, ends: list[tuple[Budget, int | None]]) -> Line:
        """Lay out plan, prune and recover for each budget and its epochs (None: the recipe's own length).

        All budgets are shares of the first plan's network, the original.
        """
        plans: list[Stage] = []
        newest = start
        for number, (budget, epochs) in enumerate(ends, start=1):
            ending = "" if number == len(ends) else f"-step{number}"
            wanted = section.model_copy(update={"budget": budget})
            plan = self.plan(f"{prefix}plan{ending}", newest, wanted, plans[0] if plans else None)
            pruned = self.prune(f"{prefix}prune{ending}", newest, plan)
            recalibrated = Source(self._workspace.folder(pruned) / compressing.RECALIBRATED, pruned)
            newest = self.train(f"{prefix}recover{ending}", recalibrated, self.recovery(epochs))
            plans.append(plan)
        return Line(tuple(plans), pruned, newest)

    def plan(self, name: str, start: Source, section: PruneSection, reference: Stage | None) -> Stage:
        """Return the stage that decides what goes."""
        latency = self.latency if section.budget.latency is not None else None

        def work(folder: Path, report: Report) -> list[Path]:
            table = None if latency is None else self._workspace.folder(latency) / compressing.LATENCY
            first = None if reference is None else self._workspace.folder(reference) / compressing.PLAN
            return compressing.plan(folder, start.path, section, self._inputs, table, first, report)

        before = tuple(stage for stage in (latency, reference) if stage is not None)
        return self.stage(name, work, {"prune": plain(section)}, after=before, data=("train", "val"), start=start)

    @cached_property
    def latency(self) -> Stage:
        """The stage that measures what convolutions cost on this machine."""
        parent, size_hw = self._inputs.loaded.checkpoint, self._recipe.prune.size_hw

        def work(folder: Path, _report: Report) -> list[Path]:
            return compressing.measure_target(folder, parent, size_hw)

        return self.stage("latency", work, {"size_hw": list(size_hw)}, start=Source(parent))

    def prune(self, name: str, start: Source, plan: Stage) -> Stage:
        """Return the stage that carries out a plan."""
        pictures, shape_hw = self._recipe.recover.calibration_images, self._recipe.input.shapes_hw[0]

        def work(folder: Path, _report: Report) -> list[Path]:
            chosen = self._workspace.folder(plan) / compressing.PLAN
            return compressing.prune(folder, start.path, chosen, self._inputs.train.subset(pictures), shape_hw)

        settings: dict[str, JsonValue] = {"calibration_images": pictures, "shape_hw": list(shape_hw)}
        return self.stage(name, work, settings, after=(plan,), data=("train",), start=start)

    def recovery(self, epochs: int | None) -> Schedule:
        """Return the phases of a recovery of so many epochs; None: as long as the recipe says."""
        settings = self._recipe.recover
        if epochs is not None:
            settings = RecoverSettings.model_validate(settings.model_dump() | {"epochs": epochs, "share": None})
        return plan_recovery(settings, self._recipe.train, self._recipe.parent.epochs, self._recipe.seed)

    def train(self, name: str, start: Source, schedule: Schedule) -> Source:
        """Return what a training from labels alone leaves."""

        def work(folder: Path, report: Report) -> list[Path]:
            return compressing.train(folder, start.path, schedule, self._inputs, self._data_folder, report)

        settings = {"schedule": _deciding(schedule)}
        stage = self.stage(name, work, settings, data=("train", "val"), start=start)
        return Source(self._workspace.folder(stage) / compressing.TRAINED, stage)

    def distill(self, name: str, start: Trained, settings: DistillSection, *, teacher: bool = True) -> Trained:
        """Return what a training with the recipe's teacher leaves; without: its control."""
        schedule = plan_distillation(settings, self._recipe.train, self._recipe.seed)
        epochs = start.epochs + settings.epochs
        if not teacher:
            return Trained(self.train(name, start.checkpoint, schedule), epochs)
        distillation = Distillation(self._inputs.teacher.path, settings)

        def work(folder: Path, report: Report) -> list[Path]:
            return compressing.train_with_teacher(
                folder, start.checkpoint.path, schedule, distillation, self._inputs, self._data_folder, report
            )

        lessons = plain(settings) | {"teacher": self._inputs.teacher.sha256}
        stage = self.stage(
            name,
            work,
            {"schedule": _deciding(schedule), "distill": lessons},
            data=("train", "val"),
            start=start.checkpoint,
        )
        return Trained(Source(self._workspace.folder(stage) / compressing.TRAINED, stage), epochs)

    def train_aware(self, name: str, start: Trained, settings: QatSettings) -> Trained:
        """Return what a quantization-aware training leaves."""
        schedule = plan_qat(settings, self._recipe.train, self._recipe.seed)

        def work(folder: Path, report: Report) -> list[Path]:
            return compressing.train_aware(
                folder, start.checkpoint.path, schedule, self._inputs, self._data_folder, report
            )

        decided: dict[str, JsonValue] = {"schedule": _deciding(schedule), "quantization_aware": True}
        stage = self.stage(name, work, decided, data=("train", "val"), start=start.checkpoint)
        return Trained(
            Source(self._workspace.folder(stage) / compressing.TRAINED, stage), start.epochs + settings.epochs
        )

    def export(self, name: str, checkpoint: Source) -> Source:
        """Return the float ONNX file of a checkpoint."""
        recipe = self._recipe

        def work(folder: Path, _report: Report) -> list[Path]:
            return measuring.export(folder, checkpoint.path, recipe)

        stage = self.stage(f"export-{name}", work, {"shape_hw": list(recipe.input.shapes_hw[0])}, start=checkpoint)
        return Source(self._workspace.folder(stage) / measuring.FLOAT_ONNX, stage)

    def quantize(self, onnx: Source) -> Stage:
        """Return the stage that makes the INT8 files."""

        def work(folder: Path, report: Report) -> list[Path]:
            return measuring.quantize(folder, onnx.path, self._inputs, report)

        # Of a folder of pictures the content counts, whatever its name.
        quantize = {key: value for key, value in plain(self._recipe.quantize).items() if key != "calibration"}
        source = "train" if self._inputs.calibration is None else "calibration"
        settings: dict[str, JsonValue] = {"quantize": quantize, **self._measured()}
        # version 2 ranks the parts that may stay float by what they do to the outputs
        version = 1 if self._recipe.quantize.protect is None else 2
        return self.stage("quantize", work, settings, after=onnx.after, data=(source, "val"), version=version)

    def prove(self, onnx: Source) -> Stage:
        """Return the stage that writes an INT8 file's other form and the proof of both."""

        def work(folder: Path, _report: Report) -> list[Path]:
            return measuring.prove(folder, onnx.path, self._inputs)

        recipe = self._recipe
        settings: dict[str, JsonValue] = {
            "name": recipe.name,
            "operating": plain(recipe.operating),
            "input": plain(recipe.input),
            "proof": plain(recipe.proof),
        }
        source = "train" if self._inputs.calibration is None else "calibration"
        return self.stage(
            "prove", work, settings, after=onnx.after, data=(source,) if recipe.proof.pictures == "calibration" else ()
        )

    def evaluate(self, name: str, onnx: Source) -> Stage:
        """Return the stage that evaluates an ONNX file on the split that judges."""

        def work(folder: Path, report: Report) -> list[Path]:
            return measuring.evaluate_file(folder, onnx.path, self._inputs, report)

        # the name is part of the key: two rows of one file are two stages; version 2 says what computed it
        return self.stage(f"eval-{name}", work, self._measured(), after=onnx.after, data=("judge",), version=2)

    def time(self, parent: str, files: Mapping[str, Source]) -> Stage:
        """Return the stage that measures models in turns."""
        paths = {name: source.path for name, source in files.items()}

        def work(folder: Path, _report: Report) -> list[Path]:
            return measuring.time_files(folder, parent, paths, self._inputs)

        after = tuple(stage for source in files.values() for stage in source.after)
        settings = self._measured() | {"speed_s": self._recipe.evaluate.speed_s}
        return self.stage("speed", work, settings, after=after, data=("judge",))

    def spoil(self, original: Source, quantized: Source) -> Stage:
        """Return the stage that compares float and INT8 on spoiled pictures."""

        def work(folder: Path, report: Report) -> list[Path]:
            return measuring.spoil(folder, original.path, quantized.path, self._inputs, report)

        images = self._recipe.report.corrupted_images
        settings = self._measured() | {"images": images, "seed": self._recipe.seed}
        return self.stage("robustness", work, settings, after=(*original.after, *quantized.after), data=("judge",))

    def _measured(self) -> dict[str, JsonValue]:
        """Return how files are measured, without how long their speed is."""
        recipe = self._recipe
        evaluate = {key: value for key, value in plain(recipe.evaluate).items() if key != "speed_s"}
        return {"evaluate": evaluate, "operating": plain(recipe.operating), "input": plain(recipe.input)}

    @property
    def _data_folder(self) -> Path:
        hashes = self._inputs.hashes
        return self._workspace.root / f"data-{hashes['train'][:12]}-{hashes['val'][:12]}"


def plain(model: Any) -> dict[str, JsonValue]:
    """Return a settings model as plain values for a key."""
    values: dict[str, JsonValue] = model.model_dump(mode="json")
    return values


def _deciding(schedule: Schedule) -> dict[str, JsonValue]:
    """Return what of a schedule its result depends on: not how fast it is done."""
    return schedule.model_dump(mode="json", exclude={"train": {"threads", "workers", "cache"}})
