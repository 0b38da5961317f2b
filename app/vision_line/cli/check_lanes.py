# SPDX-License-Identifier: AGPL-3.0-or-later
"""The lanes' part of `vision-line check`: whether each can decide in time, by what the last run showed."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path

import typer

from vision_line.config.lane_load import LoadedLanes, load_lanes
from vision_line.config.listen import bind_problem
from vision_line.config.modbus_settings import ModbusSettings
from vision_line.config.optical_problems import optical_warnings
from vision_line.config.toml import line_of, locate_keys
from vision_line.errors import ConfigError, RunError
from vision_line.lanes.lane_plan import plan_of
from vision_line.lanes.lane_service import doors_of
from vision_line.lanes.lane_sums import Measured, lane_sum
from vision_line.lanes.lanes_client import LanesClient
from vision_line.records.schema import FILE_NAME, open_reader, translated

#: So many of the newest detections are looked at.
_MOST = 100_000
_LATENCIES = """SELECT latency_ms FROM detections WHERE run = (SELECT max(run) FROM detections)
    AND camera IN (SELECT value FROM json_each(?)) ORDER BY detection DESC LIMIT ?"""
#: Whole minutes alone: a run's first and last one is not full.
_RATES = """SELECT camera, sum(inspected) / 60.0 / count(*) FROM coverage WHERE run = (SELECT max(run) FROM coverage)
    AND NOT provisional AND not_inspected_s = 0 AND camera IN (SELECT value FROM json_each(?)) GROUP BY camera"""


def lane_troubles(streams: Path, classes: Collection[str] | None = None, *, probe: bool = False) -> list[str]:
    """Print the sum of each lane of a file; return what is wrong with them, with `probe` also with what sorts.

    `classes` are those of the model, None where it cannot be read.
    """
    try:
        loaded = load_lanes(streams)
        doors_of(loaded)
        return [*_troubles(loaded, classes), *(_probed(loaded) if probe else ())]
    except ConfigError as exc:
        return list(exc.problems)
    except RunError as exc:
        return [str(exc)]


def _troubles(loaded: LoadedLanes, classes: Collection[str] | None) -> list[str]:
    lines = locate_keys(loaded.path.read_text(encoding="utf-8"))
    troubles = []
    for index, lane in enumerate(loaded.lanes):
        place = f"{loaded.path}:{line_of(('lane', index), lines)}: lane[{lane.name}]"
        found = lane_sum(
            lane, plan_of(lane, loaded.cameras, loaded.recipes), measured_by_last_run(loaded.record, lane.cameras)
        )
        typer.echo(f"lane {lane.name}: {found.words}")
        warnings = [found.warning] if found.warning and not found.problem else []
        for warning in (*warnings, *optical_warnings(lane, loaded.cameras)):
            typer.echo(f"warning: {place}: {warning}", err=True)
        unknown = [] if classes is None or lane.optical is None else _unknown(lane.optical.classes, classes)
        troubles += [f"{place}: {problem}" for problem in (found.problem, *unknown) if problem]
    return troubles


def _unknown(wanted: Sequence[str], classes: Collection[str]) -> list[str]:
    known = ", ".join(classes)
    return [
        f"optical.classes: found {name!r}, no class of the model, expected some of {known}"
        for name in wanted
        if name not in classes
    ]


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
    """Return what the last run in a record directory showed of these cameras.

    Raises:
        RunError: its records cannot be read.
    """
    if not (directory / FILE_NAME).is_file():
        return Measured(None, {})
    with closing(open_reader(directory)) as connection, translated(directory / FILE_NAME, "reading"):
        return _measured(connection, cameras)


def _measured(connection: sqlite3.Connection, cameras: Collection[str]) -> Measured:
    names = json.dumps(list(cameras))
    latencies = sorted(row[0] for row in connection.execute(_LATENCIES, (names, _MOST)))
    highest = latencies[min(int(0.999 * len(latencies)), len(latencies) - 1)] if latencies else None
    return Measured(
        highest, {str(camera): float(rate) for camera, rate in connection.execute(_RATES, (names,)) if rate}
    )
