# SPDX-License-Identifier: AGPL-3.0-or-later
"""The lanes' part of `vision-line check`: whether each can decide in time, by what the last run showed."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path

import typer

from vision_line.config.lane_load import LoadedLanes, load_lanes
from vision_line.config.lane_settings import LaneSettings
from vision_line.config.listen import bind_problem
from vision_line.config.modbus_settings import ModbusSettings
from vision_line.config.optical_problems import optical_warnings
from vision_line.config.optical_settings import OpticalSettings
from vision_line.config.toml import line_of, locate_keys
from vision_line.errors import ConfigError, RunError
from vision_line.lanes.lane_plan import plan_of
from vision_line.lanes.lane_service import doors_of
from vision_line.lanes.lane_sums import Measured, lane_sum
from vision_line.lanes.lanes_client import LanesClient
from vision_line.records.schema import FILE_NAME, open_reader, translated

#: So many of the newest detections are looked at.
_MOST = 100_000
_LATENCIES = """SELECT recipe, latency_ms FROM detections WHERE run = (SELECT max(run) FROM detections)
    AND camera IN (SELECT value FROM json_each(?)) ORDER BY detection DESC LIMIT ?"""
#: Whole minutes alone: a run's first and last one is not full.
_RATES = """SELECT camera, sum(inspected) / 60.0 / count(*) FROM coverage WHERE run = (SELECT max(run) FROM coverage)
    AND NOT provisional AND not_inspected_s = 0 AND camera IN (SELECT value FROM json_each(?))
    GROUP BY camera, recipe"""


#: Returns the classes of the model that inspects a camera under a recipe, "" for none; None: it cannot be read.
ClassesAt = Callable[[str, str], Collection[str] | None]


def lane_troubles(streams: Path, classes_at: ClassesAt | None = None, *, probe: bool = False) -> list[str]:
    """Print the sum of each lane of a file; return what is wrong with them, with `probe` also with what sorts.

    Without `classes_at` nothing is known of classes.
    """
    try:
        loaded = load_lanes(streams)
        doors_of(loaded)
        return [*_troubles(loaded, classes_at), *(_probed(loaded) if probe else ())]
    except ConfigError as exc:
        return list(exc.problems)
    except RunError as exc:
        return [str(exc)]


def _troubles(loaded: LoadedLanes, classes_at: ClassesAt | None) -> list[str]:
    lines = locate_keys(loaded.path.read_text(encoding="utf-8"))
    troubles = []
    for index, lane in enumerate(loaded.lanes):
        place = f"{loaded.path}:{line_of(('lane', index), lines)}: lane[{lane.name}]"
        measured = measured_by_last_run(loaded.record, lane.cameras)
        has_output = any(coil.lane == lane.name for coil in loaded.coils)
        found = lane_sum(lane, plan_of(lane, loaded.cameras, loaded.recipes), measured, has_output=has_output)
        typer.echo(f"lane {lane.name}: {found.words}")
        warnings = [found.warning] if found.warning and not found.problem else []
        warnings += _unmeasured(loaded, lane, measured)
        for warning in (*warnings, *optical_warnings(lane, loaded.cameras)):
            typer.echo(f"warning: {place}: {warning}", err=True)
        unknown = []
        if lane.optical is not None and classes_at is not None:
            unknown = _unknown(lane.optical, loaded.recipes, classes_at)
        troubles += [f"{place}: {problem}" for problem in (found.problem, *unknown) if problem]
    return troubles


def _unmeasured(loaded: LoadedLanes, lane: LaneSettings, measured: Measured) -> list[str]:
    """Return a warning where the last run does not show how long a recipe's model takes."""
    names = [
        name
        for name, recipe in loaded.recipes.items()
        if recipe.model is not None and any(map(recipe.concerns, lane.cameras)) and name not in measured.recipes
    ]
    if not names or not measured.recipes:  # without a run nothing is measured at all, and that is said
        return []
    return [
        f"the last run did not inspect by the model of recipe {', '.join(names)}: if it is slower, less time is left"
    ]


def _unknown(optical: OpticalSettings, recipes: Collection[str], classes_at: ClassesAt) -> list[str]:
    """Return which classes of parts a model of the camera lacks: under its recipe no part would be seen."""
    found: dict[str, str] = {}  # the recipe that says it first, by what is wrong
    for recipe in ("", *recipes):
        classes = classes_at(recipe, optical.camera)
        if classes is None:
            continue
        known = ", ".join(classes)
        for name in (name for name in optical.classes if name not in classes):
            words = f"optical.classes: found {name!r}, no class of the model{{}}, expected some of {known}"
            found.setdefault(words, f" under recipe {recipe}" if recipe else "")
    return [words.format(under) for words, under in found.items()]


def _probed(loaded: LoadedLanes) -> list[str]:
    """Read from the modules that switch, and try the port for the PLC; nothing is switched."""
    lines = locate_keys(loaded.path.read_text(encoding="utf-8"))
    troubles = []
    if loaded.modbus is not None and (why := _port_trouble(loaded, loaded.modbus)):
        troubles.append(f"{loaded.path}:{line_of(('modbus', 'listen'), lines)}: modbus.listen: {why}")
    if loaded.coils:
        from vision_line.lanes.door_probe import coil_troubles

        for index, words in asyncio.run(coil_troubles(loaded.coils)):
            troubles.append(f"{loaded.path}:{line_of(('coil', index), lines)}: coil[{index + 1}]: {words}")
    return troubles


def _port_trouble(loaded: LoadedLanes, modbus: ModbusSettings) -> str:
    """Return why a PLC would not be served, "" where the port is free or a `vision-line lanes` runs."""
    if not (why := bind_problem(modbus.address)):
        return ""
    try:
        LanesClient(loaded.record).close()
    except RunError:
        return f"{why}, and no vision-line lanes runs for {loaded.record}"
    return ""


def measured_by_last_run(directory: Path, cameras: Collection[str]) -> Measured:
    """Return what the last run in a record directory showed of these cameras, under the recipe that took longest.

    Raises:
        RunError: its records cannot be read.
    """
    if not (directory / FILE_NAME).is_file():
        return Measured(None, {})
    with closing(open_reader(directory)) as connection, translated(directory / FILE_NAME, "reading"):
        return _measured(connection, cameras)


def _measured(connection: sqlite3.Connection, cameras: Collection[str]) -> Measured:
    names = json.dumps(list(cameras))
    latencies: dict[str, list[float]] = {}
    for recipe, latency_ms in connection.execute(_LATENCIES, (names, _MOST)):
        latencies.setdefault(recipe, []).append(latency_ms)
    highest = max((_of_most(sorted(each)) for each in latencies.values()), default=None)
    rates: dict[str, float] = {}
    for camera, rate in connection.execute(_RATES, (names,)):
        if rate:
            rates[camera] = min(rate, rates.get(camera, rate))
    return Measured(highest, rates, frozenset(latencies))


def _of_most(ascending: Sequence[float]) -> float:
    """Return what 999 of 1000 do not exceed."""
    return ascending[min(int(0.999 * len(ascending)), len(ascending) - 1)]
