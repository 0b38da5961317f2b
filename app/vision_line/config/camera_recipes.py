# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras under a recipe: their settings with its keys in place of theirs, and what of that can never work. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import ValidationError

from vision_line.config.feasible import contradictions
from vision_line.config.models import Config, Stream, StreamSettings
from vision_line.config.recipe_settings import RecipeSettings
from vision_line.config.toml import KeyPath, Problem, problems_of

#: The keys of a camera that a recipe can set. A camera that differs in nothing else need not be opened again.
KEYS = frozenset(RecipeSettings.model_fields) - {"cameras", "model"}

#: By recipe the classes of its model, of those that name one.
ClassesByRecipe = Mapping[str, Sequence[str]]


def under_recipe(config: Config, stream: Stream, recipe: str) -> Stream:
    """Return the camera with the settings of a recipe of the file, "" for none, and its name as `recipe`.

    Raises:
        ValidationError: the two do not fit; never of a configuration that was loaded.
    """
    if not recipe:
        return stream
    settings = config.recipe[recipe]
    overrides = settings.overrides if settings.concerns(stream.name) else {}
    return Stream.model_validate({**dict(stream), **overrides, "recipe": recipe})


def each_setting(config: Config) -> list[Stream]:
    """Return the enabled cameras as they are without a recipe, and under each."""
    return [stream for _, stream in each_case(config)]


def each_case(config: Config) -> list[tuple[str, Stream]]:
    """Return the enabled cameras without a recipe, "", and under each, with the recipe's name."""
    return [
        (recipe, under_recipe(config, one, recipe)) for recipe in ("", *config.recipe) for one in config.enabled_streams
    ]


def names_model(config: Config, recipe: str, camera: str) -> bool:
    """Whether a recipe, "" for none, has a camera inspected by a model that it names."""
    settings = config.recipe.get(recipe)
    return settings is not None and settings.model is not None and settings.concerns(camera)


def differs_in_recipe_only(one: Stream, other: Stream) -> bool:
    """Whether two are one camera and differ in nothing but what a recipe can set, and the labels of records.

    How often a live camera is inspected needs no new connection either; of a file the decoder chooses the frames.
    """
    labels = KEYS | {"station", "recipe"} | ({"inspect_fps"} if one.is_live else set())
    return all(value == getattr(other, key) for key, value in one if key not in labels)


def recipe_problems(config: Config) -> Iterator[Problem]:
    """Yield what could never work if a recipe were in force, each once with the cameras that it concerns."""
    found: dict[Problem, list[str]] = {}
    for name, recipe in config.recipe.items():
        for stream in config.enabled_streams:
            for path, words in _faults(config, stream, name, recipe) if recipe.concerns(stream.name) else ():
                found.setdefault((("recipe", name, *path), words), []).append(stream.name)
    for (path, words), cameras in found.items():
        yield path, f"at {_some(cameras)}: {words}"
    for name in config.recipe:
        if alike := [one.name for one in config.stream if one.recipe == name and names_model(config, name, one.name)]:
            # Records say the recipe and, by it, the model.
            yield ("recipe", name, "model"), f"at {_some(alike)}: its own `recipe` has this name too, use another one"


def unknown_cameras(config: Config) -> Iterator[Problem]:
    """Yield each recipe whose cameras are not all there."""
    known = {stream.name for stream in config.stream}
    for name, recipe in config.recipe.items():
        if missing := [camera for camera in recipe.cameras or () if camera not in known]:
            yield ("recipe", name, "cameras"), f"expected names of streams, found {', '.join(missing)}"


def recipe_words(problems: Iterator[Problem]) -> Iterator[Problem]:
    """Say of keys that are known elsewhere why a recipe cannot have them."""
    for path, words in problems:
        key = path[2] if path[:1] == ("recipe",) and len(path) == 3 and words.startswith("unknown key") else None
        if key in Stream.model_fields:
            yield path, f"a recipe cannot change it, expected one of {', '.join(sorted(KEYS | {'model'}))}"
        else:
            yield path, words


def unknown_classes(config: Config, classes: Sequence[str], by_recipe: ClassesByRecipe) -> list[Problem]:
    """Return each class of a recipe that its model does not have; `classes` are those of the run's own.

    Of a recipe with a model of its own also what it leaves as the cameras have it: their classes are of another model.
    """
    return [
        problem
        for name, recipe in config.recipe.items()
        for problem in (
            *_named_wrongly(name, recipe, by_recipe.get(name, classes)),
            *(_inherited_wrongly(config, name, by_recipe[name]) if name in by_recipe else ()),
        )
    ]


def _named_wrongly(name: str, recipe: RecipeSettings, classes: Sequence[str]) -> Iterator[Problem]:
    for key, wanted in named_classes(recipe):
        if wanted not in classes:
            yield ("recipe", name, key, wanted), f"no class of the model, expected one of {', '.join(classes)}"


def _inherited_wrongly(config: Config, name: str, classes: Sequence[str]) -> Iterator[Problem]:
    recipe, found = config.recipe[name], dict[tuple[str, str], list[str]]()
    for stream in config.enabled_streams:
        for key, wanted in named_classes(stream) if recipe.concerns(stream.name) else ():
            if key not in recipe.overrides and wanted not in classes:
                found.setdefault((key, wanted), []).append(stream.name)
    for (key, wanted), cameras in found.items():
        yield (
            ("recipe", name, "model"),
            f"at {_some(cameras)}: {key}.{wanted} of the camera is no class of this model ({', '.join(classes)}):"
            f" give the recipe {key} of its own",
        )


def named_classes(settings: StreamSettings | RecipeSettings) -> Iterator[tuple[str, str]]:
    """Yield each class that settings name, with the key that names it."""
    for key in ("classes", "thresholds", "reject_thresholds", "warn_thresholds", "accept_classes"):
        for name in getattr(settings, key) or ():
            yield key, name


def _faults(config: Config, stream: Stream, name: str, recipe: RecipeSettings) -> Iterator[tuple[KeyPath, str]]:
    """Yield what a camera lacks under a recipe and not without it: its path within the recipe, and the words."""
    try:
        under = under_recipe(config, stream, name)
    except ValidationError as exc:
        problems: list[tuple[KeyPath, str]] = problems_of(exc, Stream)
    else:
        before = set(contradictions(stream))
        problems = [((key,), words) for key, words in contradictions(under) if (key, words) not in before]
    for path, words in problems:
        own = path[0] in recipe.overrides
        yield (path if own else ()), (words if own else f"{path[0]}: {words}")


def _some(names: Sequence[str], most: int = 4) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" + {more} more" if more > 0 else "")
