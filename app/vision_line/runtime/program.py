# SPDX-License-Identifier: AGPL-3.0-or-later
"""From options and configuration to a run: everything is opened here, and closed in reverse order."""

from __future__ import annotations

import asyncio
import logging
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vision_line import __version__
from vision_line.challenges.due_watch import DueWatch
from vision_line.challenges.plan_file import load_plan
from vision_line.config.load import LoadedConfig
from vision_line.config.models import SimulatorSettings
from vision_line.cores import usable_cores
from vision_line.devices.model.failed_gates import check_gates_passed
from vision_line.devices.model.model import Model, open_model
from vision_line.devices.proof.processor import this_processor
from vision_line.devices.selection import choose_device
from vision_line.errors import ExitCode, RunError, VisionLineError
from vision_line.feed.feed_server import FeedServer
from vision_line.feed.headers import FeedFacts
from vision_line.records.entries import RunRecord
from vision_line.records.log import SqliteLog
from vision_line.records.overlay_video import OverlayWriter
from vision_line.records.schema import SCHEMA_VERSION
from vision_line.runtime.active_recipes import active_recipes
from vision_line.runtime.companion import Companion
from vision_line.runtime.configuration_record import configuration_at_start
from vision_line.runtime.fleet_follower import FleetNodeSetup
from vision_line.runtime.options import RunOptions, model_path
from vision_line.runtime.recipe_watch import RecipeWatch
from vision_line.runtime.run import Run, Screen
from vision_line.runtime.run_models import ModelsInForce, gate_reminders, open_run_models
from vision_line.runtime.setup import RunSetup, check_challengeable, check_usable
from vision_line.runtime.signals import Stop, caught_signals
from vision_line.simulator.clips import Clip
from vision_line.simulator.live import Simulator
from vision_line.telemetry.baseline_watch import BaselineWatch, WatchedBaseline
from vision_line.telemetry.http_endpoint import HttpEndpoint
from vision_line.telemetry.outputs_watch import OutputsWatch
from vision_line.telemetry.snapshot import Snapshot
from vision_line.telemetry.summary import build_summary, parting_words, write_summary

logger = logging.getLogger(__name__)

#: Says of a record directory what its approved baselines have waited for.
ReadBaselines = Callable[[Path], Sequence[WatchedBaseline]]


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended."""

    exit_code: int
    last: Snapshot
    parting: str = ""  # what was not inspected and why, "" where all was


async def run_program(
    options: RunOptions,
    loaded: LoadedConfig,
    clips: list[Clip],
    screen: Screen,
    fleet: FleetNodeSetup | None = None,
    companions: Sequence[Companion] = (),
    read_baselines: ReadBaselines | None = None,
) -> RunOutcome:
    """Inspect until the duration is over, every file has ended, or a signal asks for the end.

    Args:
        options: the command line.
        loaded: the configuration.
        clips: what the configured simulator serves; empty where none is configured.
        screen: shows the line until it is cancelled.
        fleet: what gives this node its cameras, where they do not come from a file.
        companions: processes that were started with the run, and are to be ended by the caller.
        read_baselines: says of a record directory what its approved baselines have waited for; None: nobody asks.

    Raises:
        VisionLineError: the run cannot start or cannot go on, or a file could not be inspected to its end, or
            nothing was inspected at all.
    """
    stop, reload_asked = Stop(), asyncio.Event()

    def reload() -> None:
        reload_asked.set()
        for companion in companions:
            companion.reload()

    # From before the first thing is opened until the last record is committed: what is under way is not torn apart.
    with caught_signals(stop, reload), ExitStack() as stack:
        setup = _open_setup(
            stack, options, loaded, clips, fleet=fleet, companions=companions, read_baselines=read_baselines
        )
        run = Run(setup, screen, stop, reload_asked)
        error = await _failure_of(run, stack)
    if error is None and not stop.interrupted and (missed := run.unfinished_files or run.last.nothing_inspected):
        error = RunError("\n".join(missed))
    if options.summary is not None:
        _leave_summary(options.summary, run, error)
    if error is not None:
        raise error
    return RunOutcome(
        ExitCode.INTERRUPTED if stop.interrupted else ExitCode.DONE, run.last, parting_words(run.totals())
    )


def _open_setup(
    stack: ExitStack,
    options: RunOptions,
    loaded: LoadedConfig,
    clips: list[Clip],
    fleet: FleetNodeSetup | None,
    companions: Sequence[Companion],
    read_baselines: ReadBaselines | None,
) -> RunSetup:
    """Open what the run needs; `stack` closes it.

    Raises:
        VisionLineError: something cannot be opened.
    """
    config = loaded.config
    endpoint = None if config.metrics.address is None else HttpEndpoint(config.metrics.address)
    if endpoint is not None:
        stack.callback(endpoint.close)
    model = open_model(model_path(options, loaded))
    check_gates_passed(model, allowed=options.allow_failed_gates)
    models = open_run_models(loaded, model, allow_failed_gates=options.allow_failed_gates)
    reminders = gate_reminders(models)
    check_usable(loaded, models)
    plan = load_plan(loaded)
    check_challengeable(plan, loaded, models)
    device_name = choose_device(options.device or config.model.device, reminders.append)
    if fleet is not None:
        reminders += fleet.capacity.doubts(this_processor().name, usable_cores(), model.sha256)
    for reminder in reminders:
        logger.warning("%s", reminder)
    if config.simulator is not None:
        stack.enter_context(_simulator(config.simulator, clips))
    directory = options.record or Path(config.record.directory)
    record = _run_record(loaded, model, device_name, fleet)
    feed = FeedServer(FeedFacts(record.run_id, record.version, SCHEMA_VERSION, record.started_utc, models.classes))
    stack.callback(feed.offers.close)  # if nothing below is opened
    on_commit = feed.offers.committed
    log = SqliteLog(directory, record, config.record, models.classes, on_commit=on_commit, clips=config.clips)
    stack.enter_context(log)
    feed.open(directory)
    stack.callback(feed.close)
    recipes = RecipeWatch(directory)
    stack.callback(recipes.close)
    active = active_recipes(config, recipes.read.orders)
    log.write_configuration(configuration_at_start(loaded, model, plan, active))
    log.review.apply(config.review)
    challenges = DueWatch(directory, () if plan is None else plan.targets)
    stack.callback(challenges.close)
    silence = stack.enter_context(closing(BaselineWatch(read_baselines and partial(read_baselines, directory))))
    outputs = OutputsWatch(directory, config.enabled_outputs)
    stack.callback(outputs.close)
    overlay = None if options.overlay is None else OverlayWriter(options.overlay)
    if overlay is not None:
        stack.callback(overlay.close)
    return RunSetup(
        options=options,
        loaded=loaded,
        models=ModelsInForce(loaded, models, allow_failed_gates=options.allow_failed_gates),
        device_name=device_name,
        log=log,
        overlay=overlay,
        feed=feed,
        challenges=challenges,
        silence=silence,
        outputs=outputs,
        recipes=recipes,
        fleet=fleet,
        companions=companions,
        endpoint=endpoint,
        reminders=tuple(reminders),
    )


async def _failure_of(run: Run, stack: ExitStack) -> BaseException | None:
    """Serve and close what is in `stack`; return what an operator should read of what went wrong, None: nothing."""
    try:
        with stack.pop_all():
            await run.serve()
    except BaseExceptionGroup as group:
        return _first_of(group)
    except VisionLineError as error:
        return error
    return None


def _leave_summary(path: Path, run: Run, error: BaseException | None) -> None:
    """Write the summary, also of a run that failed by `error`, which is then the one to be raised.

    Raises:
        RunError, BrokenPipeError: the run went well, and its summary cannot be written.
    """
    try:
        write_summary(path, build_summary(run.totals(), None if error is None else str(error)))
    except (RunError, BrokenPipeError) as exc:
        if error is None:
            raise
        logger.error("%s", exc)


def _simulator(settings: SimulatorSettings, clips: list[Clip]) -> Simulator:
    sent_log = None if settings.sent_log is None else Path(settings.sent_log)
    return Simulator(clips, settings.port, sent_log=sent_log)


def _run_record(loaded: LoadedConfig, model: Model, device_name: str, fleet: FleetNodeSetup | None) -> RunRecord:
    return RunRecord(
        version=__version__,
        started_utc=time.time(),
        config_sha256=loaded.sha256,
        model_name=model.name,
        model_sha256=model.sha256,
        precision=model.precision,
        device=device_name,
        host=platform.node(),
        node="" if fleet is None else fleet.member.name,
        fleet="" if fleet is None else fleet.fleet,
    )


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what an operator should read: the first of our own errors, else the whole group as the bug it is."""
    expected, _ = group.split(VisionLineError)
    first: BaseException | None = expected
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return group if first is None else first
