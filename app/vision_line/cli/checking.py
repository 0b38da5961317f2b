# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line check`: what a run would refuse at its start, and with --probe the problems of its cameras."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vision_line.app.program import RunOptions
from vision_line.cli.preflight import Preflight
from vision_line.config.load import load_config
from vision_line.config.models import Stream
from vision_line.devices.selection import decoder_opener
from vision_line.ingest.probe import ProbeResult, probe
from vision_line.ingest.recorded import too_few_frames
from vision_line.words import one_line

#: So many cameras are opened at the same time.
AT_ONCE = 8


def check_file(options: RunOptions, *, probe: bool) -> int:
    """Report on the configuration and command line in `options`; return 0 when a run can start, else 2.

    Raises:
        ConfigError: the file is not valid; its message lists all problems.
    """
    loaded = load_config(options.streams)
    config, streams = loaded.config, loaded.config.enabled_streams
    preflight = Preflight(options, loaded)
    problems = preflight.problems()
    for warning in preflight.warnings():
        typer.echo(f"warning: {warning}", err=True)
    for problem in problems:
        typer.echo(problem, err=True)
    verdict = "a run would not start" if problems else "valid"
    typer.echo(f"{options.streams}: {verdict}, {len(streams)} of {len(config.stream)} cameras enabled")
    if not probe:
        return 2 if problems else 0
    if config.simulator is not None:
        typer.echo("its simulator's cameras are served by `vision-line simulate`; start that to probe them")
    results = probe_all(streams)
    Console().print(_table(streams, results))
    slow = [
        f"stream[{stream.name}]: {lack}"
        for stream, result in zip(streams, results, strict=True)
        if stream.is_live and (lack := too_few_frames(stream, result.fps))
    ]
    for lack in slow:
        typer.echo(lack, err=True)
    return 2 if problems or slow or any(result.code is not None for result in results) else 0


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
    verdict = "ok" if result.code is None else f"{result.code}: {result.detail}"
    return one_line(result.codec or ""), size, fps, first, one_line(verdict)
