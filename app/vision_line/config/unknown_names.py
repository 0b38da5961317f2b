# SPDX-License-Identifier: AGPL-3.0-or-later
"""Names in `[[output]]` and `[modbus]` that nothing in the file or the model has: perhaps misspelt.

Such a filter passes nothing on, and such a class gets no code, without a word. It is no reason to end a line, and an
output may still have entries of a camera that is gone: a warning.
"""

from __future__ import annotations

from collections.abc import Collection

from vision_line.config.models import Config
from vision_line.config.toml import KeyPath, Problem


def unknown_names(config: Config, classes: Collection[str]) -> list[Problem]:
    """Return each name of cameras, lanes and `classes` (the model's) that is of none. Pure."""
    known = {
        "cameras": ("stream", [stream.name for stream in config.stream]),
        "lanes": ("[[lane]]", [lane.name for lane in config.lane]),
        "classes": ("class of the model", classes),
    }
    asked: list[tuple[KeyPath, list[str]]] = [
        (("output", index, key), getattr(output, key)) for index, output in enumerate(config.output) for key in known
    ]
    if config.modbus is not None:
        asked.append((("modbus", "classes"), config.modbus.classes))
    return [
        (path, f"found {name!r}, which is no {what}, expected {_one_of(names)}")
        for path, found in asked
        for what, names in [known[str(path[-1])]]
        for name in found
        if name not in names
    ]


def _one_of(names: Collection[str]) -> str:
    return f"one of {', '.join(names)}" if names else "none, because there is none"
