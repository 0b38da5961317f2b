# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a recipe works on, opened and checked as a whole, so that nothing fails after hours of training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from vision_line.errors import ConfigError, ModelError
from vision_line_compression.checkpoint import Checkpoint, load_checkpoint
from vision_line_compression.dataset import Dataset, open_dataset
from vision_line_compression.distill import Architecture, check_teacher
from vision_line_compression.prune.planner import plan_pruning
from vision_line_compression.prune.settings import Budget, PruneSettings
from vision_line_compression.recipe import LoadedRecipe


@dataclass(frozen=True)
class Inputs:
    """The opened inputs of a recipe; `teacher` is the parent where no other was named."""

    loaded: LoadedRecipe
    parent: Checkpoint
    teacher: Checkpoint
    train: Dataset
    val: Dataset
    judge: Dataset

    @cached_property
    def hashes(self) -> dict[str, str]:
        """The hash of each data set by its part, whatever folder it lies in."""
        return {"train": self.train.sha256(), "val": self.val.sha256(), "judge": self.judge.sha256()}


def open_inputs(loaded: LoadedRecipe) -> Inputs:
    """Open the checkpoint, the teacher and the data set of a recipe, and make sure that they fit together.

    Raises:
        ConfigError: all problems of data set and checkpoint at once, or a teacher that does not fit.
        ModelError: a checkpoint cannot be used, and nothing else is wrong.
    """
    problems: list[str] = []
    parent, failure = _opened(loaded, problems)
    datasets = _opened_data(loaded, problems)
    if failure is not None and not problems:
        raise failure
    if failure is not None:
        raise ConfigError(str(failure), *problems)
    if problems or parent is None or len(datasets) < 3:
        raise ConfigError(*problems)
    teacher = parent if loaded.teacher is None else load_checkpoint(loaded.teacher)
    inputs = Inputs(loaded, parent, teacher, *datasets)
    _check_together(inputs)
    return inputs


def check_budget(inputs: Inputs) -> None:
    """Try the recipe's budget by weights alone, which takes seconds: what is reachable depends on the structure only.

    Raises:
        ConfigError: it cannot be reached; the message holds the reachable frontier.
    """
    recipe = inputs.loaded.recipe
    shares = {kind: share for kind, share in recipe.prune.budget.shares.items() if kind != "latency"}
    if not shares:
        return  # what a latency share needs is measured first
    settings = PruneSettings.model_validate(
        recipe.prune.model_dump(include=set(PruneSettings.model_fields))
        | {"budget": Budget.model_validate(shares), "importance": "l2"}
    )
    try:
        plan_pruning(inputs.parent, settings)
    except ConfigError as exc:
        raise ConfigError(*(f"{inputs.loaded.path}: prune.{problem}" for problem in exc.problems)) from exc


def _opened(loaded: LoadedRecipe, problems: list[str]) -> tuple[Checkpoint | None, ModelError | None]:
    try:
        return load_checkpoint(loaded.checkpoint), None
    except ModelError as exc:
        return None, exc
    except ConfigError as exc:
        problems += exc.problems
        return None, None


def _opened_data(loaded: LoadedRecipe, problems: list[str]) -> list[Dataset]:
    datasets = []
    faults: dict[str, None] = {}  # a fault of data.yaml itself is found with every split
    for split in ("train", "val", loaded.recipe.data.judge):
        try:
            datasets.append(open_dataset(loaded.data_yaml, split))
        except ConfigError as exc:
            faults |= dict.fromkeys(exc.problems)
    problems += faults
    return datasets


def _check_together(inputs: Inputs) -> None:
    parent, loaded = inputs.parent, inputs.loaded
    if inputs.train.classes != parent.classes:
        raise ConfigError(
            f"{loaded.data_yaml}: names: expected {', '.join(parent.classes)} as in {loaded.checkpoint}, "
            f"found {', '.join(inputs.train.classes)}"
        )
    student = Architecture.of(parent.model, parent.family)
    check_teacher(student, Architecture.of(inputs.teacher.model, inputs.teacher.family))
