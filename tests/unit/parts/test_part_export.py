# SPDX-License-Identifier: AGPL-3.0-or-later
"""Parts and lots leave as the other tables do."""

from __future__ import annotations

import csv
import json
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.made_parts import correct_part, enter_part
from tests.fakes.passed_parts import make_part

from vision_line.errors import ConfigError
from vision_line.parts.orders import Asked, ask_lot
from vision_line.parts.part import PartVerdict
from vision_line.parts.part_entries import add_part
from vision_line.parts.part_export import export_parts
from vision_line.parts.parts_file import PARTS_FILE, writing
from vision_line.parts.parts_removal import remove_parts
from vision_line.records.columns import COLUMNS, Table
from vision_line.records.query import Selection, parse_moment, plan_query
from vision_line.records.table_export import Format


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Return records of a lot that was ended, with a part that was found defective later, and a rejected one."""
    ask_lot(tmp_path, "L-1", Asked("the shift", "mqtt"))
    number = enter_part(tmp_path)
    enter_part(tmp_path, PartVerdict.REJECT)
    correct_part(tmp_path, number, 1, PartVerdict.REJECT)
    ask_lot(tmp_path, "", Asked("the shift", "mqtt"))
    return tmp_path


def exported(parts: Path, table: Table, selection: Selection = Selection()) -> list[dict[str, str]]:  # noqa: B008  frozen
    """Return the rows as a CSV file has them."""
    output = parts / "table.csv"
    export_parts(parts, table, Format.CSV, selection, output)
    with output.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_part_has_its_windows_its_cameras_and_what_was_found_later(parts: Path) -> None:
    first, second = exported(parts, Table.PARTS)
    assert list(first) == [column.name for column in COLUMNS[Table.PARTS]]
    assert (first["verdict"], first["found_later"], second["verdict"], second["found_later"]) == (
        "accept",
        "reject",
        "reject",
        "",
    )
    assert first["window_begin_utc"] == "2026-11-28T20:00:01.100000Z"
    assert (json.loads(first["camera_inspections"]), first["inspections"]) == ({"cam1": 4, "cam2": 3}, "3")
    assert json.loads(second["events"]) == ["event 1"]


def test_a_lot_says_who_began_it_and_until_when(parts: Path) -> None:
    (lot,) = exported(parts, Table.LOTS)
    assert (lot["lane"], lot["lot"], lot["by"], lot["door"]) == ("*", "L-1", "the shift", "mqtt")
    assert lot["begun_utc"] <= lot["ended_utc"]


@pytest.mark.parametrize("file_format", [Format.JSONL, Format.PARQUET, Format.CSV_SEMICOLON])
def test_other_formats_have_as_many_rows(parts: Path, file_format: Format) -> None:
    assert export_parts(parts, Table.PARTS, file_format, Selection(), parts / "table").rows == 2


def test_filters_apply_or_are_refused(parts: Path) -> None:
    assert len(exported(parts, Table.PARTS, Selection(lots=("L-1",)))) == 2
    with pytest.raises(ConfigError, match="nobody began a lot 'L-9'"):
        exported(parts, Table.PARTS, Selection(lots=("L-9",)))
    with pytest.raises(ConfigError, match="--camera does not apply to table parts"):
        exported(parts, Table.PARTS, Selection(cameras=("cam1",)))
    with pytest.raises(ConfigError, match="--lot does not apply to table events"):
        plan_query(Table.EVENTS, Selection(lots=("L-1",)))
    with pytest.raises(ConfigError, match="coco"):
        export_parts(parts, Table.PARTS, Format.COCO, Selection(), parts / "x.json")


def test_an_export_says_which_parts_were_removed(parts: Path) -> None:
    """What is missing must not read as if nothing had been made; of a time from which nothing went it says nothing."""
    (first, *_) = exported(parts, Table.PARTS)
    at_utc = parse_moment(first["triggered_utc"], 0.0)

    def said(table: Table, selection: Selection) -> tuple[str, ...]:
        return export_parts(parts, table, Format.CSV, selection, parts / "table.csv").removed

    assert said(Table.PARTS, Selection()) == ()
    with closing(PARTS_FILE.writer(parts)) as connection, PARTS_FILE.transaction(connection, parts):
        (through,) = connection.execute("SELECT min(number) FROM parts").fetchone()
        remove_parts(connection, through, "prune")

    sentence = f"1 part was removed for age, from {first['triggered_utc']} to {first['triggered_utc']}"
    for selection in (Selection(), Selection(lots=("L-1",)), Selection(at_utc, at_utc + 1), Selection(at_utc - 1)):
        assert said(Table.PARTS, selection) == (sentence,)
    assert said(Table.PARTS, Selection(since_utc=at_utc + 1)) == ()
    assert said(Table.PARTS, Selection(until_utc=at_utc)) == ()
    assert said(Table.LOTS, Selection()) == ()  # the orders stay


def test_a_lot_of_which_parts_were_removed_may_have_been_there(parts: Path) -> None:
    """Only triggers named it: nobody can tell it from a spelling mistake any more, and nobody says that it is one."""
    with writing(parts) as connection:
        add_part(connection, make_part(7, lot="L-7"))
    wanted = Selection(lots=("L-7",))
    (part,) = exported(parts, Table.PARTS, wanted)
    with closing(PARTS_FILE.writer(parts)) as connection, PARTS_FILE.transaction(connection, parts):
        (through,) = connection.execute("SELECT max(number) FROM parts").fetchone()
        remove_parts(connection, through, "prune")
    said = (
        r"began a lot 'L-7', and no part that is kept is of it; 3 parts were removed for age, from 19\S+ to 20\S+, and"
    )
    with pytest.raises(ConfigError, match=said) as refused:
        exported(parts, Table.PARTS, wanted)
    assert part["triggered_utc"] in str(refused.value)


def test_where_no_lane_ran_there_is_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no parts"):
        exported(tmp_path, Table.LOTS)


def test_the_verdict_that_parts_alone_have_is_asked_of_parts_alone(parts: Path) -> None:
    enter_part(parts, PartVerdict.NOT_INSPECTED)
    wanted = Selection(verdicts=(PartVerdict.NOT_INSPECTED,))
    assert [row["verdict"] for row in exported(parts, Table.PARTS, wanted)] == ["not_inspected"]
    with pytest.raises(ConfigError, match="not_inspected is one of parts; it does not apply to table events"):
        plan_query(Table.EVENTS, wanted)
