# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line lots` with its options; each command hands over to its own module."""

from __future__ import annotations

from typing import Annotated

import typer

from vision_line.cli.error_report import reported_errors
from vision_line.cli.shared_options import RECORDS, AsJson, Record
from vision_line.commands import CarefulTyper

lots_cli = CarefulTyper(
    name="lots", help="Which lot is made, at all lanes and cameras or at one.", no_args_is_help=True
)

Lane = Annotated[str | None, typer.Option("--lane", metavar="NAME", help="At this lane alone. Default: everywhere.")]


@lots_cli.command("begin")
def begin_lot(
    lot: Annotated[str, typer.Argument(metavar="LOT", help="The lot, as the plant calls it.")],
    record: Record = RECORDS,
    lane: Lane = None,
) -> None:
    """Begin a lot: it lasts until the next one is begun, or it is ended."""
    with reported_errors():
        from vision_line.cli.lots import begin

        begin(record, lot, lane)


@lots_cli.command("end")
def end_lot(record: Record = RECORDS, lane: Lane = None) -> None:
    """End the lot that is made."""
    with reported_errors():
        from vision_line.cli.lots import end

        end(record, lane)


@lots_cli.command("list")
def list_lots(record: Record = RECORDS, as_json: AsJson = False) -> None:
    """List the lots with their times and parts, the newest last."""
    with reported_errors():
        from vision_line.cli.lots import show_lots

        show_lots(record, as_json=as_json)
