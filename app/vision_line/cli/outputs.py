# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line outputs`: a process of its own that tells other systems what is recorded."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Collection
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import typer

from vision_line.cli.part_sender import part_sender
from vision_line.config.output_load import LoadedOutputs, load_outputs, secret_names
from vision_line.config.output_settings import OutputSettings
from vision_line.errors import ConfigError, ExitCode
from vision_line.leaving import run_with_signals_held
from vision_line.outputs.chained_source import ChainedSource
from vision_line.outputs.cursor import CursorKey, JournalName
from vision_line.outputs.cursor_file import CursorFile
from vision_line.outputs.journal_sources import JournalSources
from vision_line.outputs.json_lines import JsonLines
from vision_line.outputs.message_sink import TURN_S
from vision_line.outputs.output_service import OutputService
from vision_line.outputs.sinks import check_installed
from vision_line.records.directory import DirectoryLock
from vision_line.records.query import parse_moment
from vision_line.records.schema import no_records
from vision_line.runtime.signals import Stop, caught_signals
from vision_line.screens.lines import say
from vision_line.screens.logs import logging_to_stream
from vision_line.task_ending import SERVICE_AGAIN_S, end_tasks
from vision_line.telemetry.output_status import READY, KnownOutput, known_outputs

LOCK_NAME = "outputs.lock"


def serve_outputs(streams: Path | None, record: Path | None) -> int:
    """Serve the outputs of a streams.toml until a signal; return the exit code.

    Raises:
        ConfigError: the outputs are not valid, there are none, or a library is not installed.
        RunError: another process serves the same records, or they cannot be used.
    """
    if streams is None:
        raise ConfigError("expected --streams FILE, whose [[output]] tables say what goes where, or --events -")
    loaded = _usable(streams)
    directory = record or loaded.record
    lock = DirectoryLock(directory, name=LOCK_NAME, held_by="another vision-line outputs", advice="one is enough")
    try:
        with logging_to_stream():
            interrupted = run_with_signals_held(_serve(directory, loaded))
    finally:
        lock.close()
    return ExitCode.INTERRUPTED if interrupted else ExitCode.DONE


def checked_outputs(streams: Path) -> frozenset[str]:
    """Return the names of the secrets that the outputs of a file need, before anything is started.

    Raises:
        ConfigError: as `serve_outputs`.
    """
    _usable(streams)
    return secret_names(streams)


def _usable(streams: Path) -> LoadedOutputs:
    loaded = load_outputs(streams)
    if not loaded.outputs:
        raise ConfigError(f"{streams}: expected an [[output]], found none (docs/outputs/README.md)")
    for settings in loaded.outputs:
        check_installed(settings)
    return loaded


async def _serve(directory: Path, loaded: LoadedOutputs) -> bool:
    """Serve until a signal; return whether one came."""
    stop, reload_asked = Stop(), asyncio.Event()
    service = OutputService(directory, part_sender(directory))
    with caught_signals(stop, reload_asked.set):
        serving = asyncio.create_task(service.run(loaded, reload_asked))
        waiting = asyncio.create_task(stop.requested.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        await end_tasks(serving, waiting, again_s=SERVICE_AGAIN_S)
    if not serving.cancelled():
        serving.result()
    return stop.interrupted


def print_events(directory: Path, target: str, settings: OutputSettings, since: str, *, once: bool) -> None:
    """Print messages as they come until a signal, or, `once`, until nothing more is there.

    Raises:
        ConfigError: `target` is not `-`, or `since` is no moment.
        RunError: the records cannot be read.
    """
    if target != "-":
        raise ConfigError(f"--events {target}: expected -, the standard output; a shell can send it to a file")
    if not directory.is_dir():
        raise ConfigError(no_records(directory, "--record"))
    sources = JournalSources(directory)
    try:
        events = JsonLines(settings, sources, since)
        while True:
            for line in events.lines():
                typer.echo(line)
            if once:
                return
            time.sleep(TURN_S)
    finally:
        sources.close()


def print_status(directory: Path, *, as_json: bool) -> None:
    """Print how each output is; of a process that does not run, how it was.

    Raises:
        RunError: the file cannot be read.
    """
    known = known_outputs(directory)
    if as_json:
        typer.echo(json.dumps([_as_object(output) for output in known]))
        return
    for output in known:
        say(_line(output, time.time()), sys.stdout)
    if not known:
        say(f"no output has begun in {directory}", sys.stdout)


def _as_object(output: KnownOutput) -> dict[str, object]:
    counts = {"lost": output.lost, "sent": output.sent, "repeated": output.repeated}
    state = None if output.state is None else asdict(output.state)
    numbers = {"number": _number(output, JournalName.RECORDS), "parts_number": _number(output, JournalName.PARTS)}
    is_running = output.is_running(time.time())
    return {"name": output.name, **numbers, **counts, "state": None, **(state or {}), "is_running": is_running}


def _number(output: KnownOutput, journal: JournalName) -> int:
    return output.places.get(journal, 0)


def _line(output: KnownOutput, now_utc: float) -> str:
    state, parts = output.state, _number(output, JournalName.PARTS)
    places = f"entry {_number(output, JournalName.RECORDS)}" + (f", of the parts {parts}" if parts else "")
    counts = f"{places}, sent {output.sent}, repeated {output.repeated}, lost {output.lost}"
    if state is None:
        return f"{output.name}: {counts}"
    behind = f"{state.behind} entries ({state.behind_s:.0f} s) behind" if state.behind else "up to date"
    since = f"{datetime.fromtimestamp(state.since_utc, UTC):%Y-%m-%d %H:%M:%SZ}"
    error = "" if state.error is None else f"; {state.error}"
    found = f"{READY}, nothing sent or answered yet" if state.state == READY else state.state
    word = found if output.is_running(now_utc) else f"does not run; was {found}"
    return f"{output.name}: {word} since {since}, {behind}; {counts}{error}"


def ask_replay(directory: Path, name: str, since: str) -> None:
    """Ask the process that serves an output to go back.

    Raises:
        ConfigError: there is no such output, or `since` is no moment.
        RunError: the records cannot be read, or the file cannot be written.
    """
    known = {output.name: output for output in known_outputs(directory)}
    if name not in known:
        raise ConfigError(f"there is no output {name!r}; there are {', '.join(known) or 'none yet'}")
    found = _behind(directory, since, known[name].places)
    if not found:
        say(f"{name}: nothing was recorded since then", sys.stdout)
        return
    cursors = CursorFile(directory)
    try:
        for journal, number in found.items():
            cursors.ask_replay(CursorKey(name, journal), number, time.time())
    finally:
        cursors.close()
    places = " and ".join(f"entry {number} of the {journal}" for journal, number in found.items())
    say(f"{name}: sends everything behind {places} again", sys.stdout)


def _behind(directory: Path, since: str, followed: Collection[str]) -> dict[JournalName, int]:
    """Return behind which entry of each journal that is followed something was written since then."""
    at_utc = None if since == "all" else parse_moment(since, time.time())
    sources = JournalSources(directory)
    try:
        found = {source.journal: _number_before(source, at_utc) for source in sources.all if source.journal in followed}
    finally:
        sources.close()
    return {journal: number for journal, number in found.items() if number is not None}


def _number_before(source: ChainedSource, at_utc: float | None) -> int | None:
    if source.newest() is None:
        return None
    position = source.beginning() if at_utc is None else source.before(at_utc)
    return None if position is None else position.number
