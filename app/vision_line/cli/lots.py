# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line lots`: begin and end lots from a terminal, and list them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import typer

from vision_line.challenges.challenge_windows import teach_challenges
from vision_line.cli.command_user import command_user
from vision_line.cli.part_sender import part_sender
from vision_line.errors import ConfigError
from vision_line.parts.line_commands import LineCommands, LotCommand, checked_command
from vision_line.parts.lot_spans import LotSpan, distinct, lot_spans, read_lot_orders
from vision_line.parts.orders import EVERYWHERE, LOT, Asked, order_in_force
from vision_line.parts.parts_file import reading
from vision_line.parts.passed import LaneCounts, PartsFilter, count_parts
from vision_line.records.formats import iso_utc
from vision_line.records.schema import no_records


def begin(directory: Path, lot: str, lane: str | None) -> None:
    """Begin a lot at a lane, None everywhere.

    Raises:
        ConfigError: there is no such folder or lane, or it is no id.
        RunError: it cannot be written.
    """
    if not lot.strip():
        raise ConfigError("expected a lot; `vision-line lots end` ends one")
    _ask(directory, lot, lane)


def end(directory: Path, lane: str | None) -> None:
    """End the lot that is made at a lane, None everywhere.

    Raises:
        ConfigError: there is no such folder, or no lot.
        RunError: it cannot be written.
    """
    order = order_in_force(directory, LOT, lane or EVERYWHERE)
    if order is None or not order.value:
        raise ConfigError(f"no lot is made {_place(lane or EVERYWHERE)}")
    _ask(directory, "", lane)


def show_lots(directory: Path, *, as_json: bool) -> None:
    """Print the lots, the newest last.

    Raises:
        ConfigError: there is no such folder.
        RunError: the file cannot be read.
    """
    if not directory.is_dir():
        raise ConfigError(no_records(directory, "--record"))
    with reading(directory) as connection:
        if connection is None:
            spans, counts = list[LotSpan](), dict[LotSpan, list[LaneCounts]]()
        else:
            teach_challenges(connection, directory)
            spans = distinct(lot_spans(read_lot_orders(connection)))
            counts = {span: count_parts(connection, _of(span)) for span in spans}
    if as_json:
        typer.echo(json.dumps([asdict(span) | {"parts": sum(one.parts for one in counts[span])} for span in spans]))
        return
    for span in spans:
        typer.echo(_line(span, counts[span]))
    if not spans:
        typer.echo(f"no lot has begun in {directory}")


def _ask(directory: Path, lot: str, lane: str | None) -> None:
    if not directory.is_dir():
        raise ConfigError(no_records(directory, "--record"))
    wanted = checked_command(LotCommand, {"lot": lot, "lane": lane or EVERYWHERE})
    placed = LineCommands(directory, part_sender(directory)).order(wanted, Asked(command_user(), "command"))
    order, note = placed.order, f" (recorded; {placed.unchecked})" if placed.unchecked else ""
    typer.echo(f"{order.value or 'no lot'} {_place(order.lane)} from {iso_utc(order.at_utc)} on{note}")


def _of(span: LotSpan) -> PartsFilter:
    lane = "" if span.lane == EVERYWHERE else span.lane
    return PartsFilter(span.since_utc, span.until_utc, lane=lane, lot=span.lot)


def _place(lane: str) -> str:
    return "everywhere" if lane == EVERYWHERE else f"at {lane}"


def _line(span: LotSpan, counts: list[LaneCounts]) -> str:
    until = "on" if span.until_utc is None else f"until {iso_utc(span.until_utc)}"
    time = f"{span.lot} {_place(span.lane)} from {iso_utc(span.since_utc)} {until}"
    if not (parts := sum(one.parts for one in counts)):
        return time
    rejects, missed = sum(one.reject for one in counts), sum(one.not_inspected for one in counts)
    return f"{time}: {parts} parts, {rejects} rejected, {missed} not inspected"
