# SPDX-License-Identifier: AGPL-3.0-or-later
"""Recovery: plan, prune and train, once or in several steps; the pruned network finds again what it found before."""

from __future__ import annotations

from dataclasses import dataclass

from vision_line_compression.pipeline.context import Artifact, Context
from vision_line_compression.pipeline.recipe import PruneSection, Recipe
from vision_line_compression.pipeline.stage import Stage
from vision_line_compression.pipeline.steps.plan import plan
from vision_line_compression.pipeline.steps.prune import RECALIBRATED, prune
from vision_line_compression.pipeline.steps.train import train
from vision_line_compression.prune.settings import Budget
from vision_line_compression.training.schedule import RecoverSettings, Schedule, plan_epochs, plan_fine_tuning


@dataclass(frozen=True, slots=True)
class PruningChain:
    """Plan, prune, recover, step after step: all plans, all prunings, and the checkpoint in the end."""

    plans: tuple[Stage, ...]
    prunings: tuple[Stage, ...]
    fine_tuned: Artifact

    @property
    def pruned(self) -> Stage:
        """The last pruning."""
        return self.prunings[-1]


def prune_and_fine_tune(
    context: Context,
    prefix: str,
    section: PruneSection,
    start: Artifact,
    ends: list[tuple[Budget, int | None]],
    begun: PruningChain | None = None,
) -> PruningChain:
    """Lay out plan, prune and recover for each budget and its epochs (None: the recipe's own length).

    All budgets are shares of the first plan's network, the original. A chain that prunes as `begun` does until its
    first training takes its plan and pruning.
    """
    plans: list[Stage] = []
    prunings: list[Stage] = []
    newest = start
    for number, (budget, epochs) in enumerate(ends, start=1):
        ending = "" if number == len(ends) else f"-step{number}"
        wanted = section.model_copy(update={"budget": budget})
        if begun is not None and number == 1:
            decided, pruned = begun.plans[0], begun.prunings[0]
        else:
            decided = plan(context, f"{prefix}plan{ending}", newest, wanted, plans[0] if plans else None)
            pruned = prune(context, f"{prefix}prune{ending}", newest, decided)
        recalibrated = context.output(pruned, RECALIBRATED)
        newest = fine_tune(context, f"{prefix}recover{ending}", recalibrated, epochs)
        plans.append(decided)
        prunings.append(pruned)
    return PruningChain(tuple(plans), tuple(prunings), newest)


def fine_tune(context: Context, name: str, start: Artifact, epochs: int | None) -> Artifact:
    """Return the checkpoint that a fine-tuning leaves; `epochs` None: as long as the recipe says."""
    return train(context, name, start, fine_tuning(context.recipe, epochs))


def all_ends(recipe: Recipe) -> list[tuple[Budget, int | None]]:
    """Return the budgets and epochs of the recipe's steps, and of the pruning that they lead to."""
    return [*((step.budget, step.epochs) for step in recipe.step), (recipe.pruning.budget, None)]


def fine_tuning(recipe: Recipe, epochs: int | None) -> Schedule:
    """Return the phases of a fine-tuning of this many epochs; None: as long as the recipe says."""
    settings = recipe.recovery
    if epochs is not None:
        settings = RecoverSettings.model_validate(settings.model_dump() | {"epochs": epochs, "share": None})
    return plan_fine_tuning(settings, recipe.train, recipe.parent.epochs, recipe.seed)


def fine_tuning_epochs(recipe: Recipe) -> int:
    """Return the epochs of all fine-tunings of the recipe together."""
    last = 0 if recipe.recover is None else plan_epochs(recipe.recover, recipe.parent.epochs)
    return sum(step.epochs for step in recipe.step) + last
