# SPDX-License-Identifier: AGPL-3.0-or-later
"""The main job on a terminal or without one: clips, logging, dashboard or status lines, exit code."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import ExitStack, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple, TextIO

from rich.console import Console

from vision_line.cli.child_process import ChildProcess
from vision_line.cli.desk_process import LatestNews, SaidNews, check_desk_port, checked_address, desk_command
from vision_line.cli.silence_of_baselines import read_baselines
from vision_line.cli.simulate import rendered_clips
from vision_line.config.load import LoadedConfig, load_config
from vision_line.footprint import share_heaps
from vision_line.leaving import run_with_signals_held
from vision_line.output_files import write_output
from vision_line.runtime.options import RunOptions
from vision_line.runtime.output_check import check_live_logs, check_outputs, takes_standard_output
from vision_line.runtime.program import RunOutcome, run_program
from vision_line.runtime.protected_files import Output, check_apart, file_outputs, kept_by_run
from vision_line.screens.dashboard import can_show, run_dashboard, svg_of
from vision_line.screens.lines import say
from vision_line.screens.logs import logging_to_file, logging_to_stream
from vision_line.screens.printed_lines import printed_lines_logged
from vision_line.screens.status_line import plain_line, run_status_lines
from vision_line.telemetry.snapshot import Snapshot

#: Threads that wait for the GIL ask for it after this. With the default of 5 ms 16 decoders and the scheduler's thread
#: wait a little more for each other's slices: 2 % of the frames (docs/performance.md).
SWITCH_INTERVAL_S = 0.0005

#: What is said after the simulator's cameras were inspected.
AFTER_DEMO = """Results: {records} has the records, and an image of every defect in {records}/evidence.
  in a browser:        vision-line desk{option}
  as a report to send: vision-line report{option} --last 1h
  as a table:          vision-line export{option} --table events
Next: `vision-line init`, in a folder of your own, writes a streams.toml for your cameras
(docs/cameras.md#the-first-run)."""


class CheckedCompanion(NamedTuple):
    """A process beside a run: its name, its command for a record directory, and the names of its secrets."""

    name: str
    command: Callable[[Path], Sequence[str]]
    secrets: Collection[str] = ()


def run(
    options: RunOptions,
    desk_listen: str | None = None,
    *,
    with_outputs: bool = False,
    with_lanes: bool = False,
    with_shipping: bool = False,
) -> int:
    """Inspect, with the desk beside it where it has an address, outputs, lanes and shipper; return the exit code.

    Raises:
        VisionLineError: the run cannot start or cannot go on.
    """
    address = None if desk_listen is None else checked_address(desk_listen)
    beside_it = _checked_companions(options.streams, outputs=with_outputs, lanes=with_lanes, shipping=with_shipping)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    share_heaps()
    loaded = load_config(options.streams, first=options.cameras)
    if address is not None:
        check_desk_port(address, loaded)
    svg = loaded.config.dashboard.svg
    check_outputs(
        {"--summary": options.summary, "dashboard.svg:": None if svg is None else Path(svg)},
        {"--overlay": options.overlay},
    )
    simulator = loaded.config.simulator
    check_live_logs({"simulator.sent_log:": None if simulator is None else simulator.sent_log})
    check_apart(_outputs(options, loaded), kept_by_run(options, loaded))
    clips = [] if simulator is None else rendered_clips(simulator.cameras, simulator.seed)
    console = Console()
    directory = options.record or Path(loaded.config.record.directory)
    has_dashboard = _has_dashboard(options, console)
    news = LatestNews() if has_dashboard else SaidNews(_lines(options))
    with (
        logging_to_file(directory) if has_dashboard else logging_to_stream(),
        printed_lines_logged(console) if has_dashboard else nullcontext(console) as screen_console,
        ExitStack() as beside,
    ):
        companions: list[ChildProcess] = []

        def start(name: str, command: Sequence[str], names: Collection[str] = ()) -> None:
            companions.append(beside.enter_context(closing(ChildProcess(name, command, news.put, names))))

        if address is not None:
            start("desk", desk_command(directory, address))
        for one in beside_it:
            start(one.name, one.command(directory), one.secrets)
        screen = screen_of(options, loaded, screen_console, news)
        outcome = run_with_signals_held(
            run_program(options, loaded, clips, screen, companions=companions, read_baselines=read_baselines)
        )
    _say_goodbye(outcome, options, loaded)
    return outcome.exit_code


def _checked_companions(streams: Path, *, outputs: bool, lanes: bool, shipping: bool) -> list[CheckedCompanion]:
    """Return the processes that are to stand beside a run. Only one that is asked for has its code loaded here.

    Raises:
        ConfigError: one cannot be had with this file.
    """
    wanted: list[CheckedCompanion] = []
    if outputs:
        from vision_line.cli.outputs import checked_outputs
        from vision_line.cli.outputs_child import outputs_command

        secrets = checked_outputs(streams)
        wanted.append(CheckedCompanion("process of the outputs", partial(outputs_command, streams), secrets))
    if lanes:
        from vision_line.cli.lanes import checked_lanes
        from vision_line.cli.lanes_child import lanes_command

        checked_lanes(streams)
        wanted.append(CheckedCompanion("process of the lanes", partial(lanes_command, streams)))
    if shipping:
        from vision_line.cli.ship import checked_shipping
        from vision_line.cli.ship_child import ship_command

        wanted.append(CheckedCompanion("shipper", partial(ship_command, streams), checked_shipping(streams)))
    return wanted


def _outputs(options: RunOptions, loaded: LoadedConfig) -> list[Output]:
    overlay = f"--overlay {options.overlay}"
    outputs: list[Output] = [(f"--summary {options.summary}", options.summary), (overlay, options.overlay)]
    outputs += [(f"{key}: {path}", path) for key, path in file_outputs(loaded).items()]
    if options.overlay is not None:  # each camera's videos have a folder of their own in it
        outputs += [(overlay, options.overlay / stream.name) for stream in loaded.config.stream]
    return outputs


def _has_dashboard(options: RunOptions, console: Console) -> bool:
    return can_show(console) and not options.headless


def screen_of(
    options: RunOptions, loaded: LoadedConfig, console: Console, news: LatestNews | SaidNews
) -> Callable[[Callable[[], Snapshot]], Awaitable[None]]:
    """Return what shows a run: the dashboard where `news` is shown in it, else lines."""
    if isinstance(news, LatestNews):
        refresh_per_s = loaded.config.dashboard.refresh_per_s
        return lambda get_snapshot: run_dashboard(get_snapshot, refresh_per_s, console, lambda: news.newest)
    lines = _lines(options)
    return lambda get_snapshot: run_status_lines(get_snapshot, lines)


def _lines(options: RunOptions) -> TextIO:
    """Return where status lines go: a summary that takes the standard output has it for itself."""
    return sys.stderr if takes_standard_output(options.summary) else sys.stdout


def _say_goodbye(outcome: RunOutcome, options: RunOptions, loaded: LoadedConfig) -> None:
    """Leave the last state on the terminal, where the dashboard was."""
    say(plain_line(outcome.last), _lines(options))
    if outcome.parting:
        say(outcome.parting, _lines(options))
    if loaded.config.simulator is not None:
        say(_after_demo(options, loaded), _lines(options))
    if loaded.config.dashboard.svg is not None:
        write_output(Path(loaded.config.dashboard.svg), svg_of(outcome.last), "dashboard.svg:")


def _after_demo(options: RunOptions, loaded: LoadedConfig) -> str:
    """Return where the results are, and the next commands, as a shell takes them."""
    records = options.record or Path(loaded.config.record.directory)
    option = "" if records == Path("records") else f" --record {shlex.quote(str(records))}"
    return AFTER_DEMO.format(records=records, option=option)
