# SPDX-License-Identifier: AGPL-3.0-or-later
"""A recorded clip as it is inspected: by the settings and the model of its camera, under a recipe or none."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vision_line.challenges.clip_plan import PlannedClip
from vision_line.config.camera_recipes import names_model, under_recipe
from vision_line.config.load import LoadedConfig
from vision_line.config.models import Stream, StreamSettings
from vision_line.errors import ConfigError
from vision_line.parts.orders import RECIPE, newest_of_each
from vision_line.parts.parts_file import reading
from vision_line.reinspection.file_line import OF_CAMERAS, FileCamera
from vision_line.runtime.active_recipes import active_recipes
from vision_line.runtime.run_models import recipe_model_path


@dataclass(frozen=True, slots=True)
class ReplayedClip:
    """A clip with the name of the camera that it is in the run, and its settings.

    `model` is the one that its recipe names, None where the line's own inspects it.
    """

    clip: PlannedClip
    name: str
    stream: Stream
    sha256: str
    recipe: str
    model: Path | None

    @classmethod
    def of(cls, number: int, clip: PlannedClip, loaded: LoadedConfig, in_force: Mapping[str, str]) -> ReplayedClip:
        """Return clip `number`; its content is read once. `in_force` has the recipe of each camera that is under one.

        Raises:
            ConfigError: the file cannot be read.
        """
        config = loaded.config
        recipe = in_force.get(clip.camera, "") if clip.recipe is None else clip.recipe
        stream = under_recipe(config, next(one for one in config.stream if one.name == clip.camera), recipe)
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", clip.path.stem)[:50]
        model = recipe_model_path(loaded, recipe) if names_model(config, recipe, clip.camera) else None
        return cls(clip, f"{number:03d}-{plain}", stream, _sha256(clip), recipe, model)

    @property
    def settings_sha256(self) -> str:
        """The digest of the camera's settings, as the records have them."""
        return hashlib.sha256(self.stream.settings_json.encode()).hexdigest()

    @property
    def camera(self) -> FileCamera:
        """The clip as a camera with the settings of the one that it stands for."""
        kept = StreamSettings.model_fields.keys() - OF_CAMERAS
        settings = json.loads(self.stream.model_dump_json(include={*kept}, exclude_none=True))
        return FileCamera(self.name, self.clip.path, settings)


def recipes_in_force(loaded: LoadedConfig, directory: Path) -> Mapping[str, str]:
    """Return the recipe of each camera that a run would begin with now; one without is not among them.

    Raises:
        RunError: what was asked for cannot be read.
    """
    with reading(directory) as connection:
        orders = [] if connection is None else newest_of_each(connection, RECIPE)
    return active_recipes(loaded.config, orders).names


def _sha256(clip: PlannedClip) -> str:
    try:
        with clip.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise ConfigError(f"{clip.path}: cannot be read: {exc.strerror}") from exc
