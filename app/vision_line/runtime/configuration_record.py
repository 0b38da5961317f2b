# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the journal gets of the configuration: every setting, threshold and model in force, without a password."""

from __future__ import annotations

import json
import os
import pwd

from vision_line.config.load import LoadedConfig
from vision_line.devices.model.model import Model
from vision_line.records.entries import ConfigurationEntry

#: Keys of cameras begin so; the others are set for a whole run.
CAMERA = "camera/"


def configuration_at_start(loaded: LoadedConfig, model: Model) -> ConfigurationEntry:
    """Return all that is in force when a run begins."""
    sections = json.loads(loaded.config.model_dump_json(exclude={"stream", "defaults"}))
    settings = {f"section/{name}": values for name, values in sections.items() if isinstance(values, dict)}
    return ConfigurationEntry("start", {"model": _model(model), **settings, **_cameras(loaded)}, "", _source(loaded))


def configuration_at_reload(loaded: LoadedConfig) -> ConfigurationEntry:
    """Return what is in force after `streams.toml` was read again: cameras; the rest needs a restart."""
    return ConfigurationEntry("reload", _cameras(loaded), CAMERA, _source(loaded))


def _model(model: Model) -> dict[str, object]:
    return {
        "name": model.name,
        "sha256": model.sha256,
        "precision": model.precision,
        "score_threshold": model.score_threshold,
        "classes": list(model.classes),
    }


def _cameras(loaded: LoadedConfig) -> dict[str, object]:
    """Return each camera's keys as they are in force, its URL with user and password masked."""
    return {
        f"{CAMERA}{stream.name}": {
            **json.loads(stream.settings_json),
            "url": stream.display_url,
            "station": stream.station,
            "recipe": stream.recipe,
        }
        for stream in loaded.config.stream
    }


def _source(loaded: LoadedConfig) -> dict[str, object]:
    """Return what is known of who set it: the user that the program runs as, and the file with its owner."""
    file: dict[str, object] = {"path": _readable(str(loaded.path)), "sha256": loaded.sha256}
    try:
        status = loaded.path.stat()
        file |= {"owner": _user_name(status.st_uid), "changed_utc": status.st_mtime}
    except OSError as exc:  # gone since it was read
        file["owner"] = f"unknown: {exc.strerror}"
    return {"user": _user_name(os.getuid()), "file": file}


def _user_name(number: int) -> str:
    try:
        return _readable(pwd.getpwuid(number).pw_name)
    except KeyError:  # a container's user need not have a name
        return str(number)


def _readable(text: str) -> str:
    """Return a name of the system's as UTF-8 can hold it: what is no text is written out in hexadecimal."""
    return os.fsencode(text).decode(errors="backslashreplace")
