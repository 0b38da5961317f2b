# SPDX-License-Identifier: AGPL-3.0-or-later
"""The models of a run: its own, and those that recipes name; which of them inspects a camera under a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from vision_line.challenges.clip_plan import PlannedClip
from vision_line.config.camera_recipes import each_case, names_model
from vision_line.config.load import LoadedConfig
from vision_line.config.models import Config
from vision_line.devices.model.failed_gates import gates_problem, gates_warning
from vision_line.devices.model.model import Model, open_model
from vision_line.errors import ConfigError, ModelError
from vision_line.frames import OWN_MODEL, ClassIds


@dataclass(frozen=True)
class RunModels:
    """The run's own model, and by recipe the one that it names."""

    own: Model
    by_recipe: Mapping[str, Model] = field(default_factory=dict)

    @cached_property
    def by_key(self) -> Mapping[str, Model]:
        """Each model once, by its key: `OWN_MODEL` first, a recipe's by its SHA-256."""
        return {OWN_MODEL: self.own} | {self.key_of(model): model for model in self.by_recipe.values()}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes of all: those of the run's own with their own numbers, then what the others add."""
        return tuple(dict.fromkeys(chain.from_iterable(model.classes for model in self.by_key.values())))

    def recipes_of(self, key: str) -> list[str]:
        """Return the recipes that name a model."""
        return [recipe for recipe, model in self.by_recipe.items() if self.key_of(model) == key]

    def key_of(self, model: Model) -> str:
        """Return what a model is called among those of the run."""
        return OWN_MODEL if model.sha256 == self.own.sha256 else model.sha256

    def classes_of_clip(self, config: Config, clip: PlannedClip) -> tuple[str, ...]:
        """Return what can be found in a challenge clip: by its recipe's model, by any where it names no recipe."""
        if clip.recipe is None:
            return self.classes
        return self.by_key[self.key_at(config, clip.recipe, clip.camera)].classes

    def key_at(self, config: Config, recipe: str, camera: str) -> str:
        """Return the key of the model that inspects a camera under a recipe, "" for none."""
        named = self.by_recipe.get(recipe) if names_model(config, recipe, camera) else None
        return OWN_MODEL if named is None else self.key_of(named)


def class_numbers(model: Model, classes: tuple[str, ...]) -> ClassIds:
    """Return (classes,): the number of each of the model's classes among `classes`, which has them all."""
    return np.array([classes.index(name) for name in model.classes], np.int32)


def recipe_model_path(loaded: LoadedConfig, recipe: str) -> Path | None:
    """Return the model that a recipe names, None where it names none. Pure."""
    path = loaded.config.recipe[recipe].model
    return None if path is None else loaded.path.parent / path


def line_models(loaded: LoadedConfig, own: Path | None) -> list[tuple[str, Path | None]]:
    """Return each model of a line once, with who names it: `own`, None the shipped one, and those of recipes. Pure."""
    found: dict[Path | None, list[str]] = {own: ["the line"]}
    for recipe in loaded.config.recipe:
        if (path := recipe_model_path(loaded, recipe)) is not None:
            found.setdefault(path, []).append(f"recipe {recipe}")
    return [(", ".join(names), path) for path, names in found.items()]


def open_recipe_model(loaded: LoadedConfig, recipe: str, own: Model, *, allow_failed_gates: bool) -> Model | None:
    """Read the model that a recipe names and return it, None where it names none.

    Raises:
        ModelError: it cannot be used, or did not pass its gates and that was not allowed; the message names no key.
    """
    path = recipe_model_path(loaded, recipe)
    if path is None:
        return None
    model = open_model(path)
    if problem := gates_problem(model, allowed=allow_failed_gates) or _ambiguous(model, own):
        raise ModelError(problem)
    return model


def open_run_models(loaded: LoadedConfig, own: Model, *, allow_failed_gates: bool) -> RunModels:
    """Read the models that the recipes name.

    Raises:
        ModelError: naming the recipe, one that cannot be used.
    """
    found = dict[str, Model]()
    for recipe in loaded.config.recipe:
        try:
            model = open_recipe_model(loaded, recipe, own, allow_failed_gates=allow_failed_gates)
            if model is not None:
                if problem := next(filter(None, (_ambiguous(model, other) for other in found.values())), ""):
                    raise ModelError(problem)
                found[recipe] = model
        except ModelError as exc:
            raise ModelError(f"{loaded.path}: recipe.{recipe}.model: {exc}") from exc
    return RunModels(own, found)


def gate_reminders(models: RunModels) -> list[str]:
    """Return which gates the models did not pass that may inspect all the same."""
    return [warning for model in models.by_key.values() if (warning := gates_warning(model))]


class ModelsInForce:
    """The models of a run that lasts: what a file that is read again may change of them.

    Records say the recipe of each row, and by it the model. So within a run a recipe keeps its model at each camera,
    as the run keeps its own; and the classes of the run are those of its start.
    """

    def __init__(self, loaded: LoadedConfig, models: RunModels, *, allow_failed_gates: bool) -> None:
        """Begin with `models`, which are those of `loaded`."""
        self.models = models
        self.classes = models.classes
        self._allow_failed_gates = allow_failed_gates
        self.by_key: dict[str, Model] = {}  # all that may be open: those that were in use stay so
        self._paths: dict[Path, Model] = {}
        self._uses: dict[tuple[str, str], str] = {}  # as of `_uses`, all so far
        self.adopt(loaded, models)

    def key_at(self, recipe: str, camera: str) -> str:
        """Return the key of the model that inspects a camera under a recipe, "" for none."""
        return self._uses.get((recipe, camera), OWN_MODEL)

    def at(self, recipe: str, camera: str) -> Model:
        """Return the model that inspects a camera under a recipe, "" for none."""
        return self.by_key[self.key_at(recipe, camera)]

    def following(self, loaded: LoadedConfig) -> RunModels:
        """Return the models of a file that was read again; what is in use is not read again.

        Raises:
            ConfigError: naming each recipe, a model that cannot be used, or a change that needs a restart.
        """
        found, problems = dict[str, Model](), list[str]()
        for recipe in loaded.config.recipe:
            try:
                model = self._known_or_read(loaded, recipe)
            except ModelError as exc:
                problems.append(f"{loaded.path}: recipe.{recipe}.model: {exc}")
            else:
                if model is not None:
                    found[recipe] = model
        models = RunModels(self.models.own, found)
        problems += self._changes(loaded, models)
        if problems:
            raise ConfigError(*problems)
        self.by_key |= models.by_key  # they may be open, and fitted to cameras, before they are in use
        return models

    def adopt(self, loaded: LoadedConfig, models: RunModels) -> None:
        """Take `models`, those of `loaded`, to be in use; what was before stays known."""
        self.models = models
        self.by_key |= models.by_key
        self._paths |= {
            path: model for recipe, model in models.by_recipe.items() if (path := recipe_model_path(loaded, recipe))
        }
        self._uses |= _uses(loaded, models)

    def _known_or_read(self, loaded: LoadedConfig, recipe: str) -> Model | None:
        path = recipe_model_path(loaded, recipe)
        if path is not None and path in self._paths:
            return self._paths[path]
        model = open_recipe_model(loaded, recipe, self.models.own, allow_failed_gates=self._allow_failed_gates)
        if model is not None:
            for other in self._paths.values():
                if problem := _ambiguous(model, other):
                    raise ModelError(problem)
        return model

    def _changes(self, loaded: LoadedConfig, models: RunModels) -> Iterator[str]:
        """Give what of `models` needs a restart."""
        where = f"{loaded.path}: recipe"
        for (recipe, camera), key in _uses(loaded, models).items():
            if self._uses.get((recipe, camera), key) != key:
                yield (
                    f"{where}.{recipe}.model: camera {camera} would be inspected by another model under this name"
                    " than before in this run: restart, or give the recipe another name"
                )
        for recipe, model in models.by_recipe.items():
            if new := [name for name in model.classes if name not in self.classes]:
                yield f"{where}.{recipe}.model: its classes {', '.join(new)} are new to this run, which needs a restart"


def _uses(loaded: LoadedConfig, models: RunModels) -> dict[tuple[str, str], str]:
    """Return by recipe, or the camera's own label, and camera, as rows have them, the model's key."""
    config = loaded.config
    return {(one.recipe, one.name): models.key_at(config, recipe, one.name) for recipe, one in each_case(config)}


def _ambiguous(model: Model, other: Model) -> str:
    """Return why two models cannot be told apart: one file, by which records name them, and yet not alike."""

    def facts(one: Model) -> tuple[object, ...]:
        return one.classes, one.score_threshold, one.nms_iou, one.input_shapes_hw

    if model.sha256 != other.sha256 or facts(model) == facts(other):
        return ""
    return f"{model.path} and {other.path} are one file, with other classes, thresholds or shapes: expected two alike"
