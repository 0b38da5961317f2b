# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the journal gets of the configuration: every setting, threshold and model in force, without a password."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Mapping

from vision_line.challenges.challenge_targets import PLAN_KEY
from vision_line.challenges.plan_file import ChallengePlan
from vision_line.config.camera_recipes import under_recipe
from vision_line.config.load import LoadedConfig
from vision_line.devices.model.model import Model
from vision_line.frames import OWN_MODEL
from vision_line.parts.known_names import LANES
from vision_line.parts.recorded_recipes import IN_FORCE, REFUSED, recorded_wish
from vision_line.ports import DeviceDescription
from vision_line.records.entries import ConfigurationEntry
from vision_line.runtime.active_recipes import ActiveRecipes
from vision_line.runtime.run_models import RunModels

#: Keys of cameras begin so; the others are set for a whole run.
CAMERA = "camera/"
#: Keys of models that recipes name begin so; their SHA-256 follows.
RECIPE_MODEL = "model/"
#: The sections that can change while a run lasts.
FOLLOWED = ("review", "shifts", "recipe")

_NO_RECIPES = ActiveRecipes()


def configuration_at_start(
    loaded: LoadedConfig, model: Model, plan: ChallengePlan | None = None, active: ActiveRecipes = _NO_RECIPES
) -> ConfigurationEntry:
    """Return all that is in force when a run begins; `plan` is that of the challenges, None without one."""
    sections = json.loads(loaded.config.model_dump_json(exclude={"stream", "defaults", *FOLLOWED}))
    settings: dict[str, object] = {
        f"section/{name}": values for name, values in sections.items() if isinstance(values, dict)
    }
    for name in FOLLOWED:
        settings |= _section(loaded, name)
    said = {
        "model": _model(model),
        **settings,
        **_lanes(loaded),
        **_challenges(plan),
        **_recipes(active),
        **_refused(active),
    }
    return ConfigurationEntry("start", {**said, **_cameras(loaded, active)}, "", _source(loaded))


def configuration_change(
    loaded: LoadedConfig, active: ActiveRecipes = _NO_RECIPES, why: str = "reload"
) -> tuple[ConfigurationEntry, ...]:
    """Return what is in force after `streams.toml` was read again, or another recipe was asked for.

    That is cameras, recipes, and the sections that need no restart.
    """
    source = {**_source(loaded), **_asked(active)} if why == "recipe" else _source(loaded)
    return (
        ConfigurationEntry(why, _cameras(loaded, active), CAMERA, source),
        ConfigurationEntry(why, _recipes(active), IN_FORCE, source),
        ConfigurationEntry(why, _refused(active), REFUSED, source),
        *(ConfigurationEntry(why, _section(loaded, name), f"section/{name}", source) for name in FOLLOWED),
        ConfigurationEntry(why, _lanes(loaded), LANES, source),
    )


def _section(loaded: LoadedConfig, name: str) -> dict[str, object]:
    """Return a section by its key, or nothing where the file has none; of recipes only what they set."""
    unset = name == "recipe"
    found = json.loads(loaded.config.model_dump_json(include={name}, exclude_none=unset))[name]
    return {f"section/{name}": found} if found else {}


def _lanes(loaded: LoadedConfig) -> dict[str, object]:
    """Return all lanes by their names, also where there are none: then nothing can be asked for at one."""
    return {LANES: {lane.name: json.loads(lane.model_dump_json(exclude={"name"})) for lane in loaded.config.lane}}


def _recipes(active: ActiveRecipes) -> dict[str, object]:
    """Return which recipe is in force where, and who asked for it."""
    return {f"{IN_FORCE}{order.lane}": recorded_wish(order) for order in set(active.by_camera.values())}


def _refused(active: ActiveRecipes) -> dict[str, object]:
    return {
        f"{REFUSED}{refused.order.lane}": recorded_wish(refused.order, refused.why)
        for refused in reversed(active.refused)
    }


def _asked(active: ActiveRecipes) -> dict[str, object]:
    """Return who asked for what was asked for last."""
    every = [*active.by_camera.values(), *(refused.order for refused in active.refused)]
    return {"asked": recorded_wish(max(every, key=lambda order: order.number))} if every else {}


def recipe_models(
    loaded: LoadedConfig, models: RunModels, devices: Mapping[str, DeviceDescription]
) -> ConfigurationEntry:
    """Return the models that recipes name, with what runs of them on `devices`, by the models' keys.

    What runs of the run's own is in its row.
    """
    opened: dict[str, object] = {
        f"{RECIPE_MODEL}{key}": {
            **_model(models.by_key[key]),
            "recipes": models.recipes_of(key),
            "form": device.variant,
            "form_reason": device.variant_reason,
            "computed_in": device.precision,
        }
        for key, device in devices.items()
        if key != OWN_MODEL and key in models.by_key
    }
    return ConfigurationEntry("opened", opened, RECIPE_MODEL, _source(loaded))


def _model(model: Model) -> dict[str, object]:
    return {
        "name": model.name,
        "sha256": model.sha256,
        "precision": model.precision,
        "score_threshold": model.score_threshold,
        "classes": list(model.classes),
    }


def _challenges(plan: ChallengePlan | None) -> dict[str, object]:
    if plan is None:
        return {}
    targets = [json.loads(target.model_dump_json()) for target in plan.targets]
    return {PLAN_KEY: {"sha256": plan.sha256, "targets": targets}}


def _cameras(loaded: LoadedConfig, active: ActiveRecipes) -> dict[str, object]:
    """Return each camera's keys as they are in force, its URL with user and password masked."""
    config, names = loaded.config, active.names
    streams = [under_recipe(config, stream, names.get(stream.name, "")) for stream in config.stream]
    return {
        f"{CAMERA}{stream.name}": {
            **json.loads(stream.settings_json),
            "url": stream.display_url,
            "station": stream.station,
            "recipe": stream.recipe,
        }
        for stream in streams
    }


def _source(loaded: LoadedConfig) -> dict[str, object]:
    """Return what is known of who set it: the user that the program runs as, and the file with its owner.

    A node's plant comes from the fleet's store: no file of that name need be there, and nobody owns it.
    """
    file: dict[str, object] = {"path": _readable(str(loaded.path)), "sha256": loaded.sha256}
    try:
        status = loaded.path.stat()
        file |= {"owner": _user_name(status.st_uid), "changed_utc": status.st_mtime}
    except OSError as exc:  # gone since it was read, or never there
        file["missing"] = exc.strerror
    return {"user": _user_name(os.getuid()), "file": file}


def _user_name(number: int) -> str:
    try:
        return _readable(pwd.getpwuid(number).pw_name)
    except KeyError:  # a container's user need not have a name
        return str(number)


def _readable(text: str) -> str:
    """Return a name of the system's as UTF-8 can hold it: what is no text is written out in hexadecimal."""
    return os.fsencode(text).decode(errors="backslashreplace")
