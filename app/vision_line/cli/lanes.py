# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line lanes`: a process of its own that decides each part on time, or says that it was not inspected."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import typer

from vision_line.config.lane_load import LoadedLanes, load_lanes
from vision_line.errors import ConfigError, ExitCode
from vision_line.feed.protocol import Header
from vision_line.lanes.lane_service import LaneService
from vision_line.lanes.lanes_client import LanesClient
from vision_line.lanes.urgency import go_first
from vision_line.leaving import run_with_signals_held
from vision_line.parts.parts_file import LANES_LOCK
from vision_line.records.directory import DirectoryLock
from vision_line.runtime.signals import Stop, caught_signals, raise_callback_faults
from vision_line.screens.lines import say
from vision_line.screens.logs import logging_to_stream
from vision_line.task_ending import SERVICE_AGAIN_S, end_tasks


def serve_lanes(streams: Path | None, record: Path | None) -> int:
    """Decide the parts of the lanes of a streams.toml until a signal; return the exit code.

    Raises:
        ConfigError: the lanes are not valid, or there are none.
        RunError: another process decides for the same records, parts cannot be recorded, or a door not be opened.
    """
    if streams is None:
        raise ConfigError("expected --streams FILE, whose [[lane]] tables say where parts pass")
    loaded = checked_lanes(streams)
    directory = record or loaded.record
    lock = DirectoryLock(directory, name=LANES_LOCK, held_by="another vision-line lanes", advice="one is enough")
    try:
        with logging_to_stream():
            go_first()
            interrupted = run_with_signals_held(_serve(directory, loaded))
    finally:
        lock.close()
    return ExitCode.INTERRUPTED if interrupted else ExitCode.DONE


def checked_lanes(streams: Path) -> LoadedLanes:
    """Return the lanes of a file, before anything is started.

    Raises:
        ConfigError: they are not valid, or there are none.
    """
    loaded = load_lanes(streams)
    if not loaded.lanes:
        raise ConfigError(f"{streams}: expected a [[lane]], found none (docs/outputs/lanes.md)")
    return loaded


async def _serve(directory: Path, loaded: LoadedLanes) -> bool:
    """Serve until a signal; return whether one came."""
    stop, reload_asked = Stop(), asyncio.Event()
    service = LaneService(directory, loaded)
    with caught_signals(stop, reload_asked.set):
        serving = asyncio.create_task(service.run(reload_asked))
        beside = asyncio.create_task(stop.requested.wait()), asyncio.create_task(raise_callback_faults())
        await asyncio.wait({serving, *beside}, return_when=asyncio.FIRST_COMPLETED)
        await end_tasks(serving, *beside, again_s=SERVICE_AGAIN_S)
    for task in (serving, *beside):
        if not task.cancelled():
            task.result()
    return stop.interrupted


def print_lanes(directory: Path, *, as_json: bool) -> None:
    """Print how each lane is.

    Raises:
        RunError: no process decides there, or it does not answer.
    """
    with LanesClient(directory) as client:
        status = client.status()
    if as_json:
        typer.echo(json.dumps(status))
        return
    for lane in status["lanes"]:
        say(_line(lane), sys.stdout)
    for alarm in status["alarms"]:
        say(f"{alarm['age_s']:.0f} s ago: {alarm['text']}", sys.stdout)


def _line(lane: Header) -> str:
    word = "decides" if lane["is_enabled"] else f"is off, by {', '.join(lane['off_by'])}"
    fault = f", accepts nothing now: {lane['fault']}" if lane["fault"] else ""
    counts = f"{lane['parts']} parts, {lane['rejects']} rejected, {lane['not_inspected']} not inspected"
    since = f"{datetime.fromtimestamp(lane['since_utc'], UTC):%Y-%m-%d %H:%M:%SZ}"
    return f"{lane['name']}: {word}{fault}; since {since}: {counts}, {lane['late_rejects']} found too late"
