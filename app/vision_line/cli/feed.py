# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line feed`: what a run says while it lasts, a line a message."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import typer

from vision_line.feed.feed_client import FeedClient
from vision_line.feed.protocol import FeedMessage, Header
from vision_line.screens.lines import say

#: A run is silent for this long only if it hangs: snapshots come four times a second.
SILENT_S = 5.0


def show_feed(record: Path, cameras: Sequence[str], duration_s: float | None, *, as_json: bool) -> None:
    """Print messages until the run ends, or for `duration_s`.

    Raises:
        RunError: no run has a feed there, or it cannot be understood.
    """
    ends_s = float("inf") if duration_s is None else time.monotonic() + duration_s
    with FeedClient(record) as client:
        frames = dict.fromkeys(cameras, "all")
        client.want(snapshots=True, decisions=True, journal=True, results=cameras, frames=frames)
        lines = _JsonLines() if as_json else _PlainLines()
        for line in lines.of(FeedMessage(client.hello)):
            typer.echo(line)
        for message in _until(client, ends_s):
            for line in lines.of(message):
                typer.echo(line)
    if client.reason:
        say(f"vision-line: {client.reason}", sys.stderr)


def _until(client: FeedClient, ends_s: float) -> Iterator[FeedMessage]:
    """Yield messages until `ends_s` or the run's end; say it when the run hangs."""
    while (left_s := ends_s - time.monotonic()) > 0:
        try:
            message = client.receive(min(left_s, SILENT_S))
        except TimeoutError:
            if left_s > SILENT_S:
                say(f"vision-line: nothing for {SILENT_S:.0f} s: the run hangs", sys.stderr)
            continue
        if message is None:
            return
        if message.header.get("unknown_cameras"):
            say(f"vision-line: the run has no camera {', '.join(message.header['unknown_cameras'])}", sys.stderr)
        yield message


class _JsonLines:
    """Headers as they are, with the size of what came behind them."""

    def of(self, message: FeedMessage) -> Iterator[str]:
        yield json.dumps({**message.header, "bytes": len(message.payload)})


class _PlainLines:
    """Words for people; a snapshot only when the headline or an alarm has changed."""

    def __init__(self) -> None:
        self._shown: list[str] = []

    def of(self, message: FeedMessage) -> Iterator[str]:
        words = _WORDS.get(message.kind)
        now = f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3]
        if message.kind == "snapshot":
            said = [message.header["headline"], *message.header["alarms"]]
            if said != self._shown:
                yield f"{now} {'; '.join(said)}"
            self._shown = said
        elif words is not None:
            yield f"{now} {words(message.header, len(message.payload))}"


def _hello(header: Header, _size: int) -> str:
    return f"run {header['run']}, version {header['version']}, cameras {', '.join(header['cameras']) or 'none yet'}"


def _video(header: Header, _size: int) -> str:
    return f"{header['camera']}: connection {header['connection']}, {header['codec']}"


def _frame(header: Header, size: int) -> str:
    kind = "keyframe" if header["keyframe"] else "frame"
    return f"{header['camera']}: {kind} of {size} bytes{'' if header['intact'] else ', not intact'}"


def _result(header: Header, _size: int) -> str:
    boxes = ", ".join(f"{box['class']} {box['score']:.2f}" for box in header["boxes"])
    return f"{header['camera']}: frame {header['sequence']} inspected: {boxes or 'nothing found'}"


def _decision(header: Header, _size: int) -> str:
    return f"{header['camera']}: {header['verdict']} {header['class']}, event {header['event_id']}, {header['phase']}"


def _dropped(header: Header, _size: int) -> str:
    return f"not read in time: {sum(header['frames'].values())} frames, {header['results']} results"


def _journal(header: Header, _size: int) -> str:
    return f"journal: entry {header['number']} is committed"


_WORDS: dict[str, Callable[[Header, int], str]] = {
    "hello": _hello,
    "video": _video,
    "frame": _frame,
    "result": _result,
    "decision": _decision,
    "dropped": _dropped,
    "journal": _journal,
}
