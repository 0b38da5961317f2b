# SPDX-License-Identifier: AGPL-3.0-or-later
"""A recipe as a graph of stages: prune, then distill, then quantize; each model of the report hangs from it.

Nothing is done here. The graph is pure: it is known, keys and all, before the first stage runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from vision_line_compression.pipeline.context import Artifact, Context, TrainedModel
from vision_line_compression.pipeline.inputs import Inputs
from vision_line_compression.pipeline.recipe import AUTO, Control
from vision_line_compression.pipeline.stage import Stage, Workspace
from vision_line_compression.pipeline.stage_machine import this_machine
from vision_line_compression.pipeline.steps.controls import ProductModels, control
from vision_line_compression.pipeline.steps.data_check import data_check
from vision_line_compression.pipeline.steps.distill import distill
from vision_line_compression.pipeline.steps.evaluate import evaluate
from vision_line_compression.pipeline.steps.export import export
from vision_line_compression.pipeline.steps.latency import latency
from vision_line_compression.pipeline.steps.pack import pack, prove, proven_bundle, unsigned_variant
from vision_line_compression.pipeline.steps.parent_int8 import parent_int8
from vision_line_compression.pipeline.steps.prune import PRUNED, RECALIBRATED
from vision_line_compression.pipeline.steps.qat import train_quantization_aware
from vision_line_compression.pipeline.steps.quantize import int8_files, int8_row, quantize
from vision_line_compression.pipeline.steps.recover import (
    PruningChain,
    all_ends,
    fine_tune,
    fine_tuning_epochs,
    prune_and_fine_tune,
)
from vision_line_compression.pipeline.steps.report import Reported, report
from vision_line_compression.pipeline.steps.robustness import robustness
from vision_line_compression.pipeline.steps.sparsify import sparsify
from vision_line_compression.pipeline.steps.speed import speed
from vision_line_compression.pipeline.steps.teacher import trained_teacher
from vision_line_compression.pipeline.steps.teacher_choice import choose
from vision_line_compression.report.card import RowKind


class CompressionPipeline:
    """The stages of one recipe in one workspace, in the order in which they come."""

    def __init__(self, inputs: Inputs, workspace: Workspace, machine: str | None = None) -> None:
        """Lay out the stages; `machine` is the one of the command, this one where none is named."""
        self._context = Context(inputs, workspace, machine or this_machine())
        self._recipe = inputs.loaded.recipe

    @cached_property
    def data_check(self) -> Stage:
        """Every image decoded once; nothing comes after it."""
        return data_check(self._context)

    @cached_property
    def start(self) -> TrainedModel:
        """The parent, or the parent after its sparsity training."""
        return sparsify(self._context)

    @cached_property
    def latency(self) -> Stage | None:
        """The measurements that a budget of latency needs; they need the parent alone."""
        return latency(self._context)

    @cached_property
    def chain(self) -> PruningChain | None:
        """Plans, prunings and fine-tunings of the product; None where the recipe prunes nothing."""
        if self._recipe.prune is None:
            return None
        return prune_and_fine_tune(self._context, "", self._recipe.prune, self.start.checkpoint, all_ends(self._recipe))

    @cached_property
    def fine_tuned(self) -> TrainedModel:
        """The pruned model after its fine-tuning, or the parent after it; where there is none, the parent itself."""
        if self._recipe.recover is None:
            return self.start
        epochs = self.start.epochs + fine_tuning_epochs(self._recipe)
        if self.chain is None:
            return TrainedModel(fine_tune(self._context, "recover", self.start.checkpoint, None), epochs)
        return TrainedModel(self.chain.fine_tuned, epochs)

    @cached_property
    def distilled(self) -> TrainedModel:
        """The fine-tuned model after its distillation; without a teacher the fine-tuned model itself."""
        return distill(self._context, "distill", self.fine_tuned)

    @cached_property
    def chosen(self) -> TrainedModel:
        """The distilled model; where the recipe keeps it only if it is better, the better one on `val`."""
        if not self._chooses:
            return self.distilled
        untaught = distill(self._context, Control.NO_TEACHER.value, self.fine_tuned, teacher=False)
        return choose(self._context, self.distilled, untaught)

    @cached_property
    def finished(self) -> TrainedModel:
        """The float model that is quantized: after quantization-aware training if there is any."""
        return train_quantization_aware(self._context, self.chosen)

    @cached_property
    def checkpoints(self) -> Mapping[RowKind, TrainedModel]:
        """Every float model of the report."""
        context = self._context
        rows = {RowKind.PARENT: TrainedModel(context.parent, 0)}
        if self.chain is not None:
            pruned, epochs = self.chain.pruned, self.start.epochs + sum(step.epochs for step in self._recipe.step)
            rows[RowKind.PRUNED] = TrainedModel(context.output(pruned, PRUNED), epochs)
            rows[RowKind.RECALIBRATED] = TrainedModel(context.output(pruned, RECALIBRATED), epochs)
        if self._recipe.recover is not None:
            rows[RowKind.RECOVERED] = self.fine_tuned
        if self._recipe.distill is not None:
            rows[RowKind.DISTILLED] = self.distilled
        if self._chooses:
            rows[RowKind.CHOSEN] = self.chosen
        if self._recipe.qat is not None:
            rows[RowKind.QUANTIZATION_AWARE] = self.finished
        teacher = trained_teacher(context)
        if teacher is not None:
            rows[RowKind.TEACHER] = teacher
        product = ProductModels(self.start, self.chain, self.fine_tuned)
        for wanted in self._controls:
            if wanted.trains:
                rows[RowKind(wanted.value)] = control(context, wanted, product)
        return rows

    @cached_property
    def files(self) -> Mapping[RowKind, Artifact]:
        """The float ONNX file of every float model of the report."""
        return {row: export(self._context, row.value, made.checkpoint) for row, made in self.checkpoints.items()}

    @cached_property
    def quantized(self) -> Stage:
        """The INT8 files."""
        return quantize(self._context, self.files[self._float_product])

    @cached_property
    def proven(self) -> Stage:
        """The product in all its variants with its proof."""
        return prove(self._context, self._int8_files[self.product], self.files[self._float_product])

    @cached_property
    def bundle(self) -> Stage:
        """The folder that `vision-line --model` takes."""
        evaluation = evaluate(self._context, self.product.value, self._int8_files[self.product])
        return pack(self._context, self.proven, evaluation, self.chosen.checkpoint if self._chooses else None)

    @cached_property
    def evaluations(self) -> Mapping[RowKind, Stage]:
        """One stage for each model of the report."""
        files = {**self._variants, **self.files, **self._int8_files, **self._parent_int8}
        return {row: evaluate(self._context, row.value, onnx) for row, onnx in files.items()}

    @cached_property
    def again(self) -> Mapping[int, CompressionPipeline]:
        """The same recipe with each further seed. What does not depend on the seed is the very same stage."""
        context = self._context
        return {
            seed: CompressionPipeline(context.inputs.with_seed(seed), context.workspace)
            for seed in self._recipe.report.seeds
        }

    @cached_property
    def trained_again(self) -> Mapping[RowKind, Mapping[int, Stage]]:
        """Evaluations of what further seeds change, by their seeds; no bundle is made of any."""
        found: dict[RowKind, dict[int, Stage]] = {}
        for seed, pipeline in self.again.items():
            for row, stage in pipeline.evaluations.items():
                if row is not RowKind.INT8_UNSIGNED and stage.key != self.evaluations[row].key:
                    found.setdefault(row, {})[seed] = stage
        return found

    @cached_property
    def speed(self) -> Stage | None:
        """Parent, float product, product and its unsigned variant in turns, where the recipe wants it.

        And the parent in INT8 and the pretrained narrow network, where they are controls: what it has to beat.
        """
        files = {**self.files, **self._variants, **self._parent_int8}
        narrow = (RowKind.NARROW_PRETRAINED,) if RowKind.NARROW_PRETRAINED in self.files else ()
        own = (RowKind.PARENT, self._float_product, self.product, RowKind.INT8_UNSIGNED)
        rows = (*own, *self._parent_int8, *narrow)
        return speed(self._context, RowKind.PARENT.value, {row.value: files[row] for row in rows})

    @cached_property
    def robustness(self) -> Stage | None:
        """Float product and product on corrupted images, where the recipe wants it."""
        return robustness(self._context, self.files[self._float_product], self._int8_files[self.product])

    @cached_property
    def report(self) -> Stage:
        """The report card."""
        int8_epochs = dict.fromkeys((*self._int8_files, RowKind.INT8_UNSIGNED), self.finished.epochs)
        int8_epochs |= dict.fromkeys(self._parent_int8, 0)
        reported = Reported(
            calibrated=None if self._recipe.quantize.method != AUTO else self.quantized,
            evaluations=self.evaluations,
            epochs={row: made.epochs for row, made in self.checkpoints.items()} | int8_epochs,
            product=self.product,
            float_product=self._float_product,
            plans=() if self.chain is None else self.chain.plans,
            finished=self.finished.checkpoint,
            distilled=None if self._recipe.distill is None else self.distilled.checkpoint,
            chosen=self.chosen.checkpoint if self._chooses else None,
            teacher=trained_teacher(self._context),
            speed=self.speed,
            robustness=self.robustness,
            trained_again=self.trained_again,
        )
        return report(self._context, reported)

    @property
    def product(self) -> RowKind:
        """The row that the bundle holds."""
        return int8_row(self._recipe.quantize.method)

    @property
    def _float_product(self) -> RowKind:
        if self._recipe.qat is not None:
            return RowKind.QUANTIZATION_AWARE
        if self._chooses:
            return RowKind.CHOSEN
        if self._recipe.distill is not None:
            return RowKind.DISTILLED
        return RowKind.PARENT if self._recipe.recover is None else RowKind.RECOVERED

    @property
    def _chooses(self) -> bool:
        """Whether the validation images decide if the distillation is kept."""
        return self._recipe.distill is not None and self._recipe.distill.keep == "if-better"

    @property
    def _controls(self) -> tuple[Control, ...]:
        """The recipe's controls, and what the choice has trained anyway."""
        chosen_from = (Control.NO_TEACHER,) if self._chooses else ()
        return tuple(dict.fromkeys((*self._recipe.report.controls, *chosen_from)))

    @cached_property
    def _parent_int8(self) -> Mapping[RowKind, Artifact]:
        """The parent in INT8 by each quantizer that is a control."""
        return {
            RowKind(wanted.value): parent_int8(self._context, wanted, self.files[RowKind.PARENT])
            for wanted in self._controls
            if not wanted.trains
        }

    @cached_property
    def _int8_files(self) -> Mapping[RowKind, Artifact]:
        return int8_files(self._context, self.quantized)

    @cached_property
    def _variants(self) -> Mapping[RowKind, Artifact]:
        """The product in the variant that suits the processor, as it inspects; and its unsigned variant alone."""
        return {
            self.product: proven_bundle(self._context, self.proven),
            RowKind.INT8_UNSIGNED: unsigned_variant(self._context, self.proven),
        }
