# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run is made of, opened and checked before its life begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from vision_line.challenges.due_watch import DueWatch
from vision_line.challenges.plan_file import ChallengePlan, unknown_part_classes
from vision_line.config.camera_recipes import each_setting
from vision_line.config.camera_recipes import unknown_classes as classes_of_recipes
from vision_line.config.load import LoadedConfig
from vision_line.config.toml import dotted
from vision_line.errors import ConfigError
from vision_line.feed.feed_server import FeedServer
from vision_line.ingest.file_search import slow_files
from vision_line.inspection.detection_filter import unknown_classes
from vision_line.records.log import SqliteLog
from vision_line.records.overlay_video import OverlayWriter
from vision_line.runtime.companion import Companion
from vision_line.runtime.fleet_follower import FleetNodeSetup
from vision_line.runtime.options import RunOptions
from vision_line.runtime.recipe_watch import RecipeWatch
from vision_line.runtime.run_models import ModelsInForce, RunModels
from vision_line.telemetry.baseline_watch import BaselineWatch
from vision_line.telemetry.http_endpoint import HttpEndpoint
from vision_line.telemetry.outputs_watch import OutputsWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSetup:
    """What a run is made of; who opened it closes it."""

    options: RunOptions
    loaded: LoadedConfig
    models: ModelsInForce
    device_name: str
    log: SqliteLog
    overlay: OverlayWriter | None
    feed: FeedServer
    challenges: DueWatch
    silence: BaselineWatch
    outputs: OutputsWatch
    recipes: RecipeWatch
    fleet: FleetNodeSetup | None  # whose cameras come from a plan; None: they come from the file
    companions: Sequence[Companion]  # processes that were started with the run
    endpoint: HttpEndpoint | None  # for metrics and health; None: none is configured
    reminders: tuple[str, ...]  # what was accepted at the start and an operator may not want


def check_challengeable(plan: ChallengePlan | None, loaded: LoadedConfig, models: RunModels) -> None:
    """Refuse a plan whose parts or clips expect what no model can find.

    Raises:
        ConfigError: each class named.
    """
    of_clip = partial(models.classes_of_clip, loaded.config)
    if plan is not None and (problems := unknown_part_classes(plan, models.classes, of_clip)):
        raise ConfigError(*problems)


def check_usable(loaded: LoadedConfig, models: RunModels) -> None:
    """Refuse classes that the model does not have, then files with too few frames a second, under any recipe.

    Raises:
        ConfigError: each one named.
    """
    streams = each_setting(loaded.config)
    own, others = models.own.classes, {recipe: model.classes for recipe, model in models.by_recipe.items()}
    unknown = [*unknown_classes(loaded.config.enabled_streams, own)]
    unknown += [f"{dotted(path, {})}: {words}" for path, words in classes_of_recipes(loaded.config, own, others)]
    if problems := unknown or list(dict.fromkeys(slow_files(tuple(streams)))):
        raise ConfigError(*(f"{loaded.path}: {problem}" for problem in problems))
