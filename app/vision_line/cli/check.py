# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line check`: what a run would refuse at its start, and with --probe the problems of cameras and outputs."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vision_line.cli.check_lanes import lane_troubles
from vision_line.cli.check_outputs import output_troubles
from vision_line.config.camera_recipes import each_setting
from vision_line.config.load import LoadedConfig, load_config
from vision_line.config.models import Stream
from vision_line.config.plant_load import is_plant
from vision_line.config.toml import read_toml
from vision_line.devices.selection import decoder_opener
from vision_line.errors import ConfigError, ExitCode
from vision_line.ingest.file_search import too_few_frames
from vision_line.ingest.probe import ProbeResult, probe
from vision_line.runtime.options import RunOptions
from vision_line.runtime.preflight import Preflight
from vision_line.words import one_line

#: So many cameras are opened at the same time.
AT_ONCE = 8


def check_file(options: RunOptions, *, probe: bool) -> ExitCode:
    """Report on the configuration and command line in `options`, the result last; CONFIG where anything is wrong.

    Raises:
        ConfigError: the file is not valid, or is of several boxes; its message lists its problems.
    """
    if is_plant(read_toml(options.streams).data):
        raise ConfigError(
            f"{options.streams}: a plant for several boxes, expected a streams.toml of one:"
            f" `vision-line fleet apply {options.streams} --dry-run` checks a plant"
        )
    loaded = load_config(options.streams)
    preflight = Preflight(options, loaded)
    problems, lost = preflight.problems(), preflight.lost_cameras()
    _complain(f"warning: {warning}" for warning in preflight.warnings())
    _complain([*problems, *lost.values()])
    for note in preflight.notes():
        typer.echo(note)
    if probe:
        lost |= _probed(loaded, preflight)
    outputs = output_troubles(options.streams, probe=probe) if loaded.config.output else []
    lanes = lane_troubles(options.streams, preflight.classes_at, probe=probe) if loaded.config.lane else []
    _complain([*outputs, *lanes])
    streams = loaded.config.enabled_streams
    typer.echo(f"{options.streams}: {_result(bool(problems), list(lost), len(streams), len(loaded.config.stream))}")
    if outputs or lanes:
        typer.echo(f"{options.streams}: what is beside a run, outputs or lanes, would not work")
    return ExitCode.CONFIG if problems or lost or outputs or lanes else ExitCode.DONE


def _complain(lines: Iterable[str]) -> None:
    for line in dict.fromkeys(lines):  # what many cameras inherit is said once
        typer.echo(line, err=True)


def _result(refused: bool, lost: list[str], enabled: int, configured: int) -> str:
    """Return what a run would do. Pure."""
    if refused:
        return "a run would not start"
    if lost:
        return f"a run would start, but {len(lost)} of {enabled} cameras cannot be inspected: {', '.join(lost)}"
    return f"valid, {enabled} of {configured} cameras enabled"


def _probed(loaded: LoadedConfig, preflight: Preflight) -> dict[str, str]:
    """Open every camera and print what it sends; return by name what is wrong with live ones, once it was said."""
    streams = loaded.config.enabled_streams
    if loaded.config.simulator is not None:
        typer.echo("[simulator]: its cameras answer only while `vision-line simulate` runs: start that first")
    results = probe_all(streams)
    Console().print(_table(streams, results))
    most = {stream.name: stream for stream in sorted(each_setting(loaded.config), key=lambda one: one.needed_fps)}
    lost = {
        stream.name: f"{preflight.place(stream, 'url')}: {trouble}"
        for stream, result in zip(streams, results, strict=True)
        if stream.is_live and (trouble := result.trouble or too_few_frames(most[stream.name], result.fps))
    }
    _complain(lost.values())
    return lost


def probe_all(streams: tuple[Stream, ...]) -> list[ProbeResult]:
    """Open every camera once, several at the same time; results in the order of `streams`."""
    open_decoder = decoder_opener("cpu")
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="probe") as pool:
        limit_s = [stream.connect_timeout_s + stream.read_timeout_s for stream in streams]
        return list(pool.map(lambda stream, s: probe(stream, open_decoder, s), streams, limit_s))


def _table(streams: tuple[Stream, ...], results: list[ProbeResult]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("camera", "codec", "size", "fps", "first frame", "result"):
        table.add_column(name, justify="left" if name in {"camera", "codec", "result"} else "right", overflow="fold")
    for stream, result in zip(streams, results, strict=True):
        table.add_row(*map(Text, (stream.name, *_cells(result))), style=None if result.code is None else "red")
    return table


def _cells(result: ProbeResult) -> tuple[str, str, str, str, str]:
    size = "" if result.size_wh is None else f"{result.size_wh[0]}x{result.size_wh[1]}"
    fps = "" if result.fps is None else f"{result.fps:.1f}"
    first = "" if result.time_to_first_frame_s is None else f"{result.time_to_first_frame_s * 1000:.0f} ms"
    return one_line(result.codec or ""), size, fps, first, str(result.code or "ok")
