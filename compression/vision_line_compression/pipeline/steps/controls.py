# SPDX-License-Identifier: AGPL-3.0-or-later
"""The controls of the report that cost a training: what the same epochs would have given with one thing otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vision_line_compression.pipeline.context import Context, TrainedModel
from vision_line_compression.pipeline.recipe import PLANNED_OTHERWISE, Control, DistillSection, Recipe
from vision_line_compression.pipeline.steps.distill import distill
from vision_line_compression.pipeline.steps.narrow import narrow_from_pretrained, narrow_from_scratch
from vision_line_compression.pipeline.steps.recover import (
    PruningChain,
    all_ends,
    fine_tune,
    fine_tuning,
    fine_tuning_epochs,
    prune_and_fine_tune,
)
from vision_line_compression.pipeline.steps.train import train
from vision_line_compression.prune.settings import Budget
from vision_line_compression.training.schedule import (
    Phase,
    RecoverSettings,
    Schedule,
    plan_distillation,
    plan_qat,
    plan_sparsifying,
)

#: The published fall of the temperature, and the constant that it is compared with.
_FALLING, _CONSTANT = (8.0, 4.0), (2.0, 2.0)

#: Share of the parent's epochs after which the published method has recovered.
_FIFTH = 0.2


@dataclass(frozen=True, slots=True)
class ProductModels:
    """The product's models on its way; `chain` is None where the recipe prunes nothing."""

    start: TrainedModel
    chain: PruningChain | None
    fine_tuned: TrainedModel


def control(context: Context, wanted: Control, product: ProductModels) -> TrainedModel:
    """Return the model of one control that trains.

    Raises:
        ValueError: it compares prunings, and the recipe prunes nothing.
    """
    if wanted in PLANNED_OTHERWISE:
        return _planned_otherwise(context, wanted, product.start)
    made = _MADE.get(wanted, _narrow)
    return made(context, wanted, product)


def varied(context: Context, wanted: Control) -> Context:
    """Return the recipe with what a control of one change in training changes."""
    recipe = context.recipe
    match wanted:
        case Control.TEMPERATURE:
            first, last = _other_temperature(_distillation(recipe))
            return context.varied(
                distill=_distillation(recipe).model_copy(update={"temperature": first, "final_temperature": last})
            )
        case Control.ATTENTION:
            weight = 0.0 if _distillation(recipe).attention_weight else 1.0
            return context.varied(distill=_distillation(recipe).model_copy(update={"attention_weight": weight}))
        case Control.STAGED_RATE:
            return context.varied(recover=recipe.recovery.model_copy(update={"settle_share": _other_staging(recipe)}))
        case Control.FIFTH:
            return _shortened(context)
        case _:
            raise ValueError(f"{wanted}: changes more than the training")


def note(recipe: Recipe, wanted: Control) -> str:
    """Say what a control changes in this recipe, where its name alone does not."""
    match wanted:
        case Control.TEMPERATURE:
            first, last = _other_temperature(_distillation(recipe))
            own = _distillation(recipe)
            return f"T {first:g} to {last:g} instead of {own.temperature:g} to {own.final_temperature:g}"
        case Control.ATTENTION:
            return "without" if _distillation(recipe).attention_weight else "with"
        case Control.STAGED_RATE:
            return "with a gentle phase first" if not recipe.recovery.settle_share else "without the gentle phase"
        case _:
            return ""


def product_phases(recipe: Recipe) -> tuple[Phase, ...]:
    """Return every phase of training that the product had after the parent; channels are pulled to zero in none."""
    schedules: list[Schedule] = []
    if recipe.sparsify is not None:
        schedules.append(plan_sparsifying(recipe.sparsify, recipe.train, recipe.seed))
    schedules += [fine_tuning(recipe, step.epochs) for step in recipe.step]
    if recipe.recover is not None:
        schedules.append(fine_tuning(recipe, None))
    if recipe.distill is not None:
        schedules.append(plan_distillation(recipe.distill, recipe.train, recipe.seed))
    if recipe.qat is not None:
        schedules.append(plan_qat(recipe.qat, recipe.train, recipe.seed))
    return tuple(
        phase.model_copy(update={"name": f"{phase.name}-{number}", "sparsity": 0.0})
        for number, schedule in enumerate(schedules, start=1)
        for phase in schedule.phases
    )


def _longer(context: Context, wanted: Control, _product: ProductModels) -> TrainedModel:
    """Train the parent with the very phases that the product had."""
    recipe = context.recipe
    schedule = Schedule(phases=product_phases(recipe), train=recipe.train, seed=recipe.seed)
    return TrainedModel(train(context, wanted.value, context.parent, schedule), schedule.epochs)


def _untaught(context: Context, wanted: Control, product: ProductModels) -> TrainedModel:
    return distill(context, wanted.value, product.fine_tuned, teacher=False)


def _taught_otherwise(context: Context, wanted: Control, product: ProductModels) -> TrainedModel:
    return distill(varied(context, wanted), wanted.value, product.fine_tuned)


def _planned_otherwise(context: Context, wanted: Control, start: TrainedModel) -> TrainedModel:
    """Plan with other settings; all else is the product's."""
    recipe = context.recipe
    section = recipe.pruning.model_copy(update=PLANNED_OTHERWISE[wanted])
    chain = prune_and_fine_tune(context, f"{wanted.value}-", section, start.checkpoint, all_ends(recipe))
    epochs = start.epochs + fine_tuning_epochs(recipe)
    return distill(context, f"{wanted.value}-distill", TrainedModel(chain.fine_tuned, epochs))


def _one_shot(context: Context, wanted: Control, product: ProductModels) -> TrainedModel:
    recipe, start = context.recipe, product.start
    epochs = fine_tuning_epochs(recipe)
    ends: list[tuple[Budget, int | None]] = [(recipe.pruning.budget, epochs)]
    chain = prune_and_fine_tune(context, f"{wanted.value}-", recipe.pruning, start.checkpoint, ends)
    return distill(context, f"{wanted.value}-distill", TrainedModel(chain.fine_tuned, start.epochs + epochs))


def _trained_otherwise(context: Context, wanted: Control, product: ProductModels) -> TrainedModel:
    """Train with other settings; the first pruning is the product's."""
    context = varied(context, wanted)
    recipe, name, start = context.recipe, wanted.value, product.start
    epochs = start.epochs + fine_tuning_epochs(recipe)
    if product.chain is None:
        tuned = fine_tune(context, f"{name}-recover", start.checkpoint, None)
    else:
        ends = all_ends(recipe)
        chain = prune_and_fine_tune(context, f"{name}-", recipe.pruning, start.checkpoint, ends, product.chain)
        tuned = chain.fine_tuned
    return distill(context, f"{name}-distill", TrainedModel(tuned, epochs))


def _narrow(context: Context, wanted: Control, product: ProductModels) -> TrainedModel:
    if product.chain is None:
        raise ValueError(f"{wanted}: the recipe prunes nothing")
    made = narrow_from_pretrained if wanted is Control.NARROW_PRETRAINED else narrow_from_scratch
    return made(context, product.chain.pruned, sum(phase.epochs for phase in product_phases(context.recipe)))


_MADE: dict[Control, Callable[[Context, Control, ProductModels], TrainedModel]] = {
    Control.LONGER: _longer,
    Control.NO_TEACHER: _untaught,
    Control.ONE_SHOT: _one_shot,
    Control.TEMPERATURE: _taught_otherwise,
    Control.ATTENTION: _taught_otherwise,
    Control.STAGED_RATE: _trained_otherwise,
    Control.FIFTH: _trained_otherwise,
}


def _shortened(context: Context) -> Context:
    """Return the recipe with trainings after pruning scaled to a fifth of the parent's epochs, at least one each."""
    recipe = context.recipe
    taught = 0 if recipe.distill is None else recipe.distill.epochs
    whole = fine_tuning_epochs(recipe) + taught
    factor = _FIFTH * (recipe.parent.epochs or whole) / whole

    def short(epochs: int) -> int:
        return max(1, round(factor * epochs))

    own = fine_tuning_epochs(recipe) - sum(step.epochs for step in recipe.step)
    recover = RecoverSettings.model_validate(recipe.recovery.model_dump() | {"epochs": short(own), "share": None})
    steps = tuple(step.model_copy(update={"epochs": short(step.epochs)}) for step in recipe.step)
    sections: dict[str, object] = {"recover": recover, "step": steps}
    if recipe.distill is not None:
        sections["distill"] = recipe.distill.model_copy(update={"epochs": short(taught)})
    return context.varied(**sections)


def _other_temperature(settings: DistillSection) -> tuple[float, float]:
    falls = settings.temperature != settings.final_temperature
    return _CONSTANT if falls else _FALLING


def _other_staging(recipe: Recipe) -> float:
    default = RecoverSettings.model_fields["settle_share"].default
    return 0.0 if recipe.recovery.settle_share else float(default)


def _distillation(recipe: Recipe) -> DistillSection:
    if recipe.distill is None:
        raise ValueError(f"{recipe.name}: the recipe has no [distill]")
    return recipe.distill
