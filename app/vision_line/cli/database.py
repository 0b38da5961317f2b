# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line database`: make the central record, bring it up to date, show how far the boxes are."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict

import typer

from vision_line.central.database_connection import connected
from vision_line.central.database_url import database_url
from vision_line.central.plant_status import NodeStatus, read_status
from vision_line.central.pruning import month_before, prune
from vision_line.central.schema_steps import SCHEMA_VERSION, bring_up_to_date, check_usable, found_schema
from vision_line.records.formats import iso_utc
from vision_line.screens.lines import say


def make(database: str | None) -> None:
    """Make the tables.

    Raises:
        ConfigError: it is no URL, or the tables are there.
        RunError: the database cannot be reached, or refuses.
    """
    _change(database, is_new=True)


def migrate(database: str | None) -> None:
    """Bring the tables up to date.

    Raises:
        ConfigError: it is no URL, or there are no tables.
        RunError: the database cannot be reached, or refuses; or it is of a newer version.
    """
    _change(database, is_new=False)


def _change(database: str | None, *, is_new: bool) -> None:
    url = database_url(database)
    with connected(url) as connection:
        added = bring_up_to_date(connection, is_new=is_new)
    done = "is made" if is_new else "is brought" if added else "is"
    say(f"database {url}: {done}{'' if is_new else ' up to date'}, schema {SCHEMA_VERSION}", sys.stdout)


def prune_months(database: str | None, keep_days: int, *, dry_run: bool) -> None:
    """Remove months that are older than `keep_days`.

    Raises:
        ConfigError: it is no URL, or this vision-line cannot write its tables.
        RunError: the database cannot be reached, or refuses.
    """
    before_utc = month_before(keep_days, time.time())
    with connected(database_url(database)) as connection:
        check_usable(found_schema(connection))
        removed = prune(connection, before_utc, dry_run=dry_run)
    done = "would be removed" if dry_run else "removed"
    for one in removed:
        say(f"{one.table}: {one.rows} rows {done}", sys.stdout)
    say(f"{'nothing' if not removed else 'what'} from before {iso_utc(before_utc)} {done}", sys.stdout)


def show_status(database: str | None, *, as_json: bool) -> None:
    """Print how far each box has come.

    Raises:
        ConfigError: it is no URL, or this vision-line cannot read its tables.
        RunError: the database cannot be reached.
    """
    url = database_url(database)
    with connected(url) as connection:
        found = found_schema(connection)
        check_usable(found)
        nodes = read_status(connection)
    if as_json:
        typer.echo(json.dumps({"schema": found.version, "nodes": [_as_object(node) for node in nodes]}))
        return
    say(f"database {url}: schema {found.version}, {len(nodes)} boxes", sys.stdout)
    for node in nodes:
        say(_line(node), sys.stdout)


def _as_object(node: NodeStatus) -> dict[str, object]:
    return asdict(node) | {"is_silent": node.is_silent, "is_clock_off": node.is_clock_off}


def _line(node: NodeStatus) -> str:
    places = ", ".join(f"{name} up to entry {journal.number}" for name, journal in node.journals.items())
    seen = f"silent for {node.silent_s:.0f} s, since {iso_utc(node.seen_utc)}" if node.is_silent else "there"
    lost = f"; {node.lost} entries are lost" if node.lost else ""
    clock = f"; its clock is {node.clock_offset_s:+.1f} s off" if node.is_clock_off else ""
    return f"{node.node} ({node.host}): {seen}; {places or 'nothing shipped yet'}{lost}{clock}"
