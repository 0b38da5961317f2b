# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read the `[[lane]]`s of a `streams.toml`, and what they need of their cameras; nothing else of it has to be right.

No camera's URL is read, so its password need not be there: who decides parts opens no camera.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from vision_line.config.file_signature import Signature
from vision_line.config.lane_settings import LaneSettings
from vision_line.config.load import repeated_names
from vision_line.config.modbus_settings import CoilSettings, ModbusSettings, repeated_outputs
from vision_line.config.models import StreamSettings
from vision_line.config.optical_problems import optical_problems
from vision_line.config.recipe_settings import RecipeSettings
from vision_line.config.toml import Problem, TomlFile, TomlTable, TomlValue, problems_of, read_toml

#: Keys of a camera that only who opens it needs.
_OF_CONNECTION = frozenset({"name", "url"})


class _LanesOfFile(BaseModel):
    """What is read of the file."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, hide_input_in_errors=True)

    lane: list[LaneSettings] = []
    recipe: dict[str, RecipeSettings] = {}
    modbus: ModbusSettings | None = None
    coil: list[CoilSettings] = []


@dataclass(frozen=True, slots=True)
class LoadedLanes:
    """The lanes of a file, the settings of their cameras, the machines that sort, and where the records are.

    `signature` is that of the file as it was read.
    """

    path: Path
    lanes: tuple[LaneSettings, ...]
    cameras: Mapping[str, StreamSettings] = field(hash=False)
    record: Path
    is_simulated: bool
    keep_days: int = 0
    recipes: Mapping[str, RecipeSettings] = field(hash=False, default_factory=dict)
    modbus: ModbusSettings | None = None
    coils: tuple[CoilSettings, ...] = ()
    signature: Signature | None = None


def load_lanes(path: Path) -> LoadedLanes:
    """Read the lanes of `path`.

    Raises:
        ConfigError: all problems of them, each as `file:line: key: what was found, what was expected`.
    """
    file = read_toml(path)
    try:
        found = _LanesOfFile.model_validate(file.data)
    except ValidationError as exc:
        raise file.error(problems_of(exc, _LanesOfFile)) from None
    cameras, problems = _cameras(file, {name for lane in found.lane for name in lane.cameras})
    problems += repeated_names(file.data, "lane")
    for index, lane in enumerate(found.lane):
        found_optical = optical_problems(lane, cameras, found.recipe)
        problems += [(("lane", index, "optical", key), words) for key, words in found_optical]
        if missing := [name for name in lane.cameras if name not in cameras]:
            problems.append((("lane", index, "cameras"), f"expected names of streams, found {', '.join(missing)}"))
    names = {lane.name for lane in found.lane}
    for index, coil in enumerate(found.coil):
        if coil.lane not in names:
            problems.append((("coil", index, "lane"), f"expected the name of a lane, found {coil.lane!r}"))
    problems += repeated_outputs(found.coil)
    if problems:
        raise file.error(problems)
    return LoadedLanes(
        path,
        lanes=tuple(found.lane),
        cameras=cameras,
        record=_record(file.data),
        keep_days=_keep_days(file.data),
        is_simulated="simulator" in file.data,
        recipes=found.recipe,
        modbus=found.modbus,
        coils=tuple(found.coil),
        signature=file.signature,
    )


def _cameras(file: TomlFile, wanted: set[str]) -> tuple[dict[str, StreamSettings], list[Problem]]:
    """Return the settings of the cameras that are wanted, without their URLs."""
    defaults = _table(file.data.get("defaults"))
    streams = file.data.get("stream")
    cameras: dict[str, StreamSettings] = {}
    problems: list[Problem] = []
    for index, table in enumerate(streams if isinstance(streams, list) else []):
        own = _table(table)
        name = own.get("name")
        if not isinstance(name, str) or name not in wanted:
            continue
        merged = defaults | {key: value for key, value in own.items() if key not in _OF_CONNECTION}
        try:
            cameras[name] = StreamSettings.model_validate(merged)
        except ValidationError as exc:
            problems += [(("stream", index, *where), words) for where, words in problems_of(exc, StreamSettings)]
    return cameras, problems


def _table(value: TomlValue | None) -> TomlTable:
    return value if isinstance(value, dict) else {}


def _record(data: TomlTable) -> Path:
    directory = _table(data.get("record")).get("directory")
    return Path(directory if isinstance(directory, str) else "records")


def _keep_days(data: TomlTable) -> int:
    """Return how long parts are kept, 0: for ever; what is no such number is for the run to refuse."""
    days = _table(data.get("record")).get("keep_days")
    return days if isinstance(days, int) and not isinstance(days, bool) and days > 0 else 0
