# SPDX-License-Identifier: AGPL-3.0-or-later
"""A recipe as a graph of stages: prune, then distill, then quantize; each model of the report hangs from it.

Nothing is done here. The graph is pure: it is known, keys and all, before the first stage runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from pydantic import JsonValue

from vision_line_compression import compressing, measuring
from vision_line_compression.inputs import Inputs
from vision_line_compression.kinds import Kinds, Line, Source, Trained, plain
from vision_line_compression.proving import UNSIGNED_FILE
from vision_line_compression.recipe import Control
from vision_line_compression.report.card import RowKind
from vision_line_compression.reporting import ReportSources, make_report
from vision_line_compression.schedule import Phase, Schedule, plan_distillation, plan_epochs, plan_qat, plan_sparsifying
from vision_line_compression.siblings import NARROW, write_narrow_sibling
from vision_line_compression.stages import Report, Stage, Workspace


class Pipeline:
    """The stages of one recipe in one workspace."""

    def __init__(self, inputs: Inputs, workspace: Workspace) -> None:
        """Lay out the stages."""
        self._inputs = inputs
        self._recipe = inputs.loaded.recipe
        self._workspace = workspace
        self._kinds = Kinds(inputs, workspace)

    @cached_property
    def start(self) -> Source:
        """The parent, or the parent after its sparsity training."""
        parent, settings = Source(self._inputs.loaded.checkpoint), self._recipe.sparsify
        if settings is None:
            return parent
        schedule = plan_sparsifying(settings, self._recipe.train, self._recipe.seed)
        return self._kinds.train("sparsify", parent, schedule)

    @property
    def latency(self) -> Stage | None:
        """The measurements that a budget of latency needs; they need the parent alone."""
        budgets = (self._recipe.prune.budget, *(step.budget for step in self._recipe.step))
        return self._kinds.latency if any(budget.latency is not None for budget in budgets) else None

    @cached_property
    def line(self) -> Line:
        """Plans, prunings and recoveries of the product."""
        steps = [(step.budget, step.epochs) for step in self._recipe.step]
        return self._kinds.line("", self._recipe.prune, self.start, [*steps, (self._recipe.prune.budget, None)])

    @cached_property
    def recovered(self) -> Trained:
        """The pruned model, healed."""
        return Trained(self.line.recovered, self._recovery_epochs)

    @cached_property
    def distilled(self) -> Trained:
        """The recovered model after its lessons; without a teacher the recovered model itself."""
        return self._distilled("distill", self.recovered)

    @cached_property
    def finished(self) -> Trained:
        """The float model that is quantized: the distilled one, after quantization-aware training if there is any."""
        settings = self._recipe.qat
        return self.distilled if settings is None else self._kinds.train_aware("qat", self.distilled, settings)

    @cached_property
    def quantized(self) -> Stage:
        """The INT8 files."""
        return self._kinds.quantize(self.files[self._float_product])

    @cached_property
    def product(self) -> RowKind:
        """The row that the bundle holds."""
        return _int8_row(self._recipe.quantize.method.value)

    @property
    def _float_product(self) -> RowKind:
        if self._recipe.qat is not None:
            return RowKind.QUANTIZATION_AWARE
        return RowKind.RECOVERED if self._recipe.distill is None else RowKind.DISTILLED

    @cached_property
    def proven(self) -> Stage:
        """The product in all its forms with its proof."""
        return self._kinds.prove(self._int8_files[self.product])

    @cached_property
    def bundle(self) -> Stage:
        """The folder that `vision-line --model` takes."""
        evaluation = self._kinds.evaluate(self.product.value, self._int8_files[self.product])
        lineage = self._lineage()

        def work(folder: Path, _report: Report) -> list[Path]:
            measured = self._workspace.folder(evaluation) / measuring.EVALUATION
            return measuring.pack(folder, self._packed[self.product].path, measured, lineage)

        # version 2 has forms and a proof
        return self._kinds.stage("bundle", work, {"lineage": lineage}, after=(self.proven, evaluation), version=2)

    @cached_property
    def _packed(self) -> dict[RowKind, Source]:
        """The product as it is inspected with, in the form that suits the processor; and its unsigned form alone."""
        folder = self._workspace.folder(self.proven) / measuring.BUNDLE
        unsigned = Source(folder / UNSIGNED_FILE, self.proven)
        return {self.product: Source(folder, self.proven), RowKind.INT8_UNSIGNED: unsigned}

    def _lineage(self) -> dict[str, JsonValue]:
        # not what names files of the machine that compressed
        recipe = self._recipe.model_dump(
            mode="json", exclude={"parent": True, "data": True, "quantize": {"calibration"}}
        )
        return {
            "parent_sha256": self._inputs.parent.sha256,
            "family": self._inputs.parent.family,
            "teacher_sha256": None if self._recipe.distill is None else self._inputs.teacher.sha256,
            "data_sha256": dict(self._inputs.hashes),
            "recipe": recipe,
        }

    @cached_property
    def checkpoints(self) -> dict[RowKind, Trained]:
        """Every float model of the report."""
        pruned = self._workspace.folder(self.line.pruned)
        steps = sum(step.epochs for step in self._recipe.step)
        rows = {
            RowKind.PARENT: Trained(Source(self._inputs.loaded.checkpoint), 0),
            RowKind.PRUNED: Trained(Source(pruned / compressing.PRUNED, self.line.pruned), steps),
            RowKind.RECALIBRATED: Trained(Source(pruned / compressing.RECALIBRATED, self.line.pruned), steps),
            RowKind.RECOVERED: self.recovered,
        }
        if self._recipe.distill is not None:
            rows[RowKind.DISTILLED] = self.distilled
        if self._recipe.qat is not None:
            rows[RowKind.QUANTIZATION_AWARE] = self.finished
        makers: dict[Control, Callable[[], Trained]] = {
            Control.LONGER: self._longer,
            Control.NO_TEACHER: lambda: self._distilled("no-teacher", self.recovered, teacher=False),
            Control.UNIFORM: self._uniform,
            Control.ONE_SHOT: self._one_shot,
            Control.NARROW: self._narrow,
        }
        return rows | {RowKind(control.value): makers[control]() for control in self._recipe.report.controls}

    @cached_property
    def files(self) -> dict[RowKind, Source]:
        """The float ONNX file of every float model of the report."""
        return {kind: self._kinds.export(kind.value, made.checkpoint) for kind, made in self.checkpoints.items()}

    @cached_property
    def _int8_files(self) -> dict[RowKind, Source]:
        folder = self._workspace.folder(self.quantized)
        return {
            _int8_row(method.value): Source(folder / measuring.int8_file(method), self.quantized)
            for method in measuring.methods(self._recipe.quantize)
        }

    @cached_property
    def evaluations(self) -> dict[RowKind, Stage]:
        """One stage for each model of the report."""
        files = self._packed | self.files | self._int8_files
        return {kind: self._kinds.evaluate(kind.value, onnx) for kind, onnx in files.items()}

    @cached_property
    def speed(self) -> Stage | None:
        """Parent, float product, product and its unsigned form in turns, where the recipe wants it."""
        files = self.files | self._packed
        rows = (RowKind.PARENT, self._float_product, self.product, RowKind.INT8_UNSIGNED)
        wanted = {kind.value: files[kind] for kind in rows}
        return self._kinds.time(RowKind.PARENT.value, wanted) if self._recipe.evaluate.speed_s else None

    @cached_property
    def robustness(self) -> Stage | None:
        """Float product and product on spoiled pictures, where the recipe wants it."""
        if not self._recipe.report.corrupted_images:
            return None
        return self._kinds.spoil(self.files[self._float_product], self._int8_files[self.product])

    @cached_property
    def report(self) -> Stage:
        """The report card."""
        sources = self._report_sources()

        def work(folder: Path, _report: Report) -> list[Path]:
            return make_report(folder, sources, self._inputs)

        extras = tuple(stage for stage in (self.speed, self.robustness) if stage is not None)
        after = (*self.evaluations.values(), self.line.plans[-1], *self.finished.checkpoint.after, *extras)
        settings: dict[str, JsonValue] = {
            "gates": plain(self._recipe.gates),
            "name": self._recipe.name,
            "seed": self._recipe.seed,
        }
        return self._kinds.stage("report", work, settings, after=after, data=("train", "val", "judge"))

    def _report_sources(self) -> ReportSources:
        folder = self._workspace.folder
        int8_epochs = dict.fromkeys((*self._int8_files, RowKind.INT8_UNSIGNED), self.finished.epochs)
        lessons = None if self._recipe.distill is None else self.distilled.checkpoint.path.parent
        return ReportSources(
            runs={kind: folder(stage) for kind, stage in self.evaluations.items()},
            epochs={kind: trained.epochs for kind, trained in self.checkpoints.items()} | int8_epochs,
            product=self.product,
            plan=folder(self.line.plans[-1]) / compressing.PLAN,
            speed=None if self.speed is None else folder(self.speed) / measuring.SPEED,
            robustness=None if self.robustness is None else folder(self.robustness) / measuring.ROBUSTNESS,
            teacher=None if lessons is None else lessons / compressing.TEACHER,
        )

    @cached_property
    def _recovery_epochs(self) -> int:
        steps = sum(step.epochs for step in self._recipe.step)
        return steps + plan_epochs(self._recipe.recover, self._recipe.parent.epochs)

    def _distilled(self, name: str, start: Trained, *, teacher: bool = True) -> Trained:
        settings = self._recipe.distill
        return start if settings is None else self._kinds.distill(name, start, settings, teacher=teacher)

    def _uniform(self) -> Trained:
        section = self._recipe.prune.model_copy(update={"method": "uniform"})
        ends = [*((step.budget, step.epochs) for step in self._recipe.step), (section.budget, None)]
        line = self._kinds.line("uniform-", section, self.start, ends)
        return self._distilled("uniform-distill", Trained(line.recovered, self._recovery_epochs))

    def _one_shot(self) -> Trained:
        section = self._recipe.prune
        line = self._kinds.line("one-shot-", section, self.start, [(section.budget, self._recovery_epochs)])
        return self._distilled("one-shot-distill", Trained(line.recovered, self._recovery_epochs))

    def _longer(self) -> Trained:
        """Train the parent with the very phases that the product had."""
        phases = self._all_phases()
        schedule = Schedule(phases=phases, train=self._recipe.train, seed=self._recipe.seed)
        parent = Source(self._inputs.loaded.checkpoint)
        return Trained(self._kinds.train("longer", parent, schedule), schedule.epochs)

    def _narrow(self) -> Trained:
        """Scale the family's network down to the product's operations, and train it from scratch as long."""
        recipe, pruned = self._recipe, self.line.pruned

        def work(folder: Path, _report: Report) -> list[Path]:
            example = self._workspace.folder(pruned) / compressing.PRUNED
            return [write_narrow_sibling(self._inputs.parent, example, folder, recipe.prune.size_hw, recipe.seed)]

        stage = self._kinds.stage("narrow-build", work, {"seed": recipe.seed}, after=(pruned,))
        epochs = (recipe.parent.epochs or 0) + sum(phase.epochs for phase in self._all_phases())
        train = recipe.train.model_copy(update={"warmup_epochs": min(3.0, epochs / 10)})
        phase = Phase(name="scratch", epochs=epochs, rate=train.base_rate, final_share=0.01)
        schedule = Schedule(phases=(phase,), train=train, seed=recipe.seed)
        start = Source(self._workspace.folder(stage) / NARROW, stage)
        return Trained(self._kinds.train("narrow", start, schedule), epochs)

    def _all_phases(self) -> tuple[Phase, ...]:
        recipe = self._recipe
        schedules = [self._kinds.recovery(step.epochs) for step in recipe.step]
        schedules.append(self._kinds.recovery(None))
        if recipe.distill is not None:
            schedules.append(plan_distillation(recipe.distill, recipe.train, recipe.seed))
        if recipe.qat is not None:
            schedules.append(plan_qat(recipe.qat, recipe.train, recipe.seed))
        return tuple(
            phase.model_copy(update={"name": f"{phase.name}-{number}"})
            for number, schedule in enumerate(schedules, start=1)
            for phase in schedule.phases
        )


def _int8_row(method: str) -> RowKind:
    return RowKind(f"int8-{method}")
