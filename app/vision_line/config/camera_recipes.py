# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras under a recipe: their settings with its keys in place of theirs, and what of that can never work. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from vision_line.config.feasible import contradictions
from vision_line.config.models import Config, Stream, StreamSettings
from vision_line.config.recipe_settings import RecipeSettings
from vision_line.config.toml import KeyPath, Problem, problems_of

#: The keys of a camera that a recipe can set. A camera that differs in nothing else need not be opened again.
KEYS = frozenset(RecipeSettings.model_fields) - {"cameras"}


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
    streams = config.enabled_streams
    return [*streams, *(under_recipe(config, stream, recipe) for recipe in config.recipe for stream in streams)]


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
        if key == "model":
            yield path, f"a recipe cannot change the model, expected one of {', '.join(sorted(KEYS))}"
        elif key in Stream.model_fields:
            yield path, f"a recipe cannot change it, expected one of {', '.join(sorted(KEYS))}"
        else:
            yield path, words


def unknown_classes(config: Config, classes: Sequence[str]) -> list[Problem]:
    """Return each class of a recipe that the model does not have."""
    known = ", ".join(classes)
    return [
        (("recipe", name, key, wanted), f"no class of the model, expected one of {known}")
        for name, recipe in config.recipe.items()
        for key, wanted in named_classes(recipe)
        if wanted not in classes
    ]


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
