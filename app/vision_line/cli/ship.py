# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line ship`: a process of its own that ships records to the database of many boxes."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import typer

from vision_line.central.database_connection import check_installed, connected
from vision_line.central.database_url import DatabaseUrl, parsed
from vision_line.central.schema_steps import check_usable, found_schema
from vision_line.config.central_load import central_secret_names, load_central
from vision_line.config.central_settings import CentralSettings
from vision_line.errors import ConfigError, ExitCode
from vision_line.leaving import run_with_signals_held
from vision_line.records.directory import DirectoryLock
from vision_line.records.schema import FILE_NAME, open_reader
from vision_line.runtime.signals import Stop, caught_signals
from vision_line.screens.lines import say
from vision_line.screens.logs import logging_to_stream
from vision_line.shipping.comparison import differences
from vision_line.shipping.fleet_name import other_name
from vision_line.shipping.shipping_service import ShippingService
from vision_line.task_ending import SERVICE_AGAIN_S, end_tasks
from vision_line.telemetry.shipping_status import CENTRAL, ShippingStatus, read_shipping_status

logger = logging.getLogger(__name__)

LOCK_NAME = "shipping.lock"
#: Differences that are shown: who has more looks for another reason than these rows.
_MOST_SHOWN = 100


def serve_shipping(streams: Path | None, record: Path | None) -> int:
    """Ship as `[central]` of a streams.toml says until a signal; return the exit code.

    Raises:
        ConfigError: there is no `[central]`, it is not valid, or the library is not installed.
        RunError: another process ships the same records, or they cannot be used.
    """
    if streams is None:
        raise ConfigError("expected --streams FILE, whose [central] says where the records go")
    settings, url, directory = _usable(streams)
    directory = record or directory
    _check_name(directory, settings.node)
    lock = DirectoryLock(directory, name=LOCK_NAME, held_by="another vision-line ship", advice="one is enough")
    try:
        with logging_to_stream():
            interrupted = run_with_signals_held(_serve(streams, directory, settings, url))
    finally:
        lock.close()
    return ExitCode.INTERRUPTED if interrupted else ExitCode.DONE


def checked_shipping(streams: Path) -> frozenset[str]:
    """Return the names of the secrets that `[central]` of a file needs, before anything is started.

    Raises:
        ConfigError: as `serve_shipping`.
    """
    _usable(streams)
    return central_secret_names(streams)


def _usable(streams: Path) -> tuple[CentralSettings, DatabaseUrl, Path]:
    loaded = load_central(streams)
    if loaded.settings is None:
        raise ConfigError(f"{streams}: expected [central], found none (docs/plant.md)")
    check_installed()
    try:
        url = parsed(loaded.settings.database.get_secret_value())
    except ValueError as exc:
        raise ConfigError(f"{streams}: central.database: {exc}") from None
    return loaded.settings, url, loaded.record


def _check_name(directory: Path, node: str) -> None:
    """Refuse another name than the one that the box has in its fleet.

    Raises:
        ConfigError: it is another one.
        RunError: the records cannot be read.
    """
    if not (directory / FILE_NAME).is_file():
        return
    with closing(open_reader(directory)) as box:
        newest = box.execute("SELECT node FROM runs ORDER BY run DESC LIMIT 1").fetchone()
    if newest is not None and (problem := other_name(dict(newest), node)):
        raise ConfigError(problem)


async def _serve(streams: Path, directory: Path, settings: CentralSettings, url: DatabaseUrl) -> bool:
    """Serve until a signal; return whether one came. SIGHUP has the file and its secret read again."""
    stop, asked = Stop(), asyncio.Event()
    with caught_signals(stop, asked.set):
        waiting = asyncio.create_task(stop.requested.wait())
        while not waiting.done():
            serving = asyncio.create_task(ShippingService(directory, settings, url).run())
            changing = asyncio.create_task(_changed(streams, settings, url, asked))
            await asyncio.wait({serving, waiting, changing}, return_when=asyncio.FIRST_COMPLETED)
            has_changed = changing.done()
            await end_tasks(serving, changing, again_s=SERVICE_AGAIN_S)
            if not serving.cancelled():
                serving.result()
            if has_changed:
                settings, url = changing.result()
        await end_tasks(waiting)
    return stop.interrupted


async def _changed(
    streams: Path, settings: CentralSettings, url: DatabaseUrl, asked: asyncio.Event
) -> tuple[CentralSettings, DatabaseUrl]:
    """Return what the file says once that is something else than now, and could be used."""
    while True:
        await asked.wait()
        asked.clear()
        try:
            found, found_url, _ = await asyncio.to_thread(_usable, streams)
        except ConfigError as exc:
            logger.error("[central] has errors and is not used, what was read before stays in force:\n%s", exc)
            continue
        if found.node != settings.node:
            logger.error("central.node: another name needs a restart; %s stays in force", settings.node)
        elif (found, found_url) != (settings, url):
            logger.info("[central] or its secret has changed: the shipper connects anew")
            return found, found_url


def compare(streams: Path, record: Path | None) -> int:
    """Say what the database has otherwise than the box; return the exit code.

    Raises:
        ConfigError: as `serve_shipping`.
        RunError: the records cannot be read, or the database cannot be reached.
    """
    settings, url, directory = _usable(streams)
    with connected(url) as connection:
        check_usable(found_schema(connection))
        found = list(islice(differences(record or directory, connection, settings.node), _MOST_SHOWN))
    for words in found:
        say(words, sys.stdout)
    more = " or more" if len(found) == _MOST_SHOWN else ""
    say(f"{settings.node}: {len(found)}{more} differences" if found else f"{settings.node}: the same", sys.stdout)
    return ExitCode.BROKEN if found else ExitCode.DONE


def print_shipping(directory: Path, *, as_json: bool) -> None:
    """Print how shipping is; of a process that does not run, how it was.

    Raises:
        RunError: the file cannot be read.
    """
    status = read_shipping_status(directory)
    if as_json:
        typer.echo(json.dumps(None if status is None else _as_object(status)))
    elif status is None:
        say(f"nothing was shipped from {directory}", sys.stdout)
    else:
        say(_line(status), sys.stdout)


def _as_object(status: ShippingStatus) -> dict[str, object]:
    return asdict(status) | {"is_running": status.as_output.is_running(time.time())}


def _line(status: ShippingStatus) -> str:
    state = status.state
    word = state.state if status.as_output.is_running(time.time()) else f"does not run; was {state.state}"
    behind = f"{state.behind} entries ({state.behind_s:.0f} s) behind" if state.behind else "up to date"
    places = ", ".join(f"{name} up to entry {number}" for name, number in status.places.items())
    clock = "" if status.clock_offset_s is None else f"; clock {status.clock_offset_s:+.2f} s"
    lost = f"; {status.lost} lost" if status.lost else ""
    error = "" if state.error is None else f"; {state.error}"
    return f"{CENTRAL}: {status.node} {word}, {behind}; {places or 'nothing shipped yet'}{lost}{clock}{error}"
