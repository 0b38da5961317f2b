# SPDX-License-Identifier: AGPL-3.0-or-later
"""Parts, lots and recipes in their file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vision_line.errors import ConfigError
from vision_line.parts.orders import LOT, RECIPE, Asked, ask_lot, ask_recipe, order_in_force
from vision_line.parts.part import PartCause, PartRecord, PartVerdict
from vision_line.parts.part_entries import add_correction, add_part, last_sequence
from vision_line.parts.parts_file import FILE_NAME, PARTS_FILE, reading, writing
from vision_line.records.side_chain import chain_problem

BY = Asked("the shift", "command")
PART = PartRecord(
    lane="a",
    sequence=1,
    part_id="P-1",
    lot="L-1",
    recipe="",
    trigger=7,
    triggered_utc=100.0,
    window_utc=(100.1, 100.4),
    deadline_utc=101.0,
    decided_utc=100.5,
    verdict=PartVerdict.ACCEPT,
    cause=PartCause.NONE,
    inspections={"cam01": 4, "cam02": 3},
    events=(),
    sent_after_ms=500.0,
    run_id="run",
    is_simulated=True,
)


def test_a_part_is_entered_once_and_what_was_found_later_beside_it(tmp_path: Path) -> None:
    with writing(tmp_path) as connection:
        number = add_part(connection, PART)
        add_correction(connection, PART, number, PartVerdict.REJECT, ["event"])
    with reading(tmp_path) as connection:
        assert connection is not None
        row = connection.execute("SELECT verdict, inspections, corrected FROM parts").fetchone()
        assert tuple(row) == ("accept", 3, 2)
        assert [tuple(row) for row in connection.execute("SELECT * FROM part_events")] == [(1, "run", "event")]
        assert last_sequence(connection, "a") == 1
        assert last_sequence(connection, "b") == 0
        assert chain_problem(connection) == ""


def test_one_connection_writes_part_after_part_while_others_read(tmp_path: Path) -> None:
    connection = PARTS_FILE.writer(tmp_path)
    for sequence in (1, 2, 3):
        with reading(tmp_path), PARTS_FILE.transaction(connection, tmp_path):
            add_part(connection, replace(PART, sequence=sequence))
    connection.close()
    with reading(tmp_path) as other:
        assert other is not None
        assert last_sequence(other, "a") == 3


def test_the_newest_order_of_a_lane_counts_and_one_for_everywhere_is_one_of_its(tmp_path: Path) -> None:
    ask_lot(tmp_path, "L-1", BY)
    ask_lot(tmp_path, "L-2", BY, "a")
    ask_recipe(tmp_path, "7", BY)
    lots = [order_in_force(tmp_path, LOT, lane) for lane in ("a", "b")]
    assert [lot and lot.value for lot in lots] == ["L-2", "L-1"]
    ask_lot(tmp_path, "", BY)
    found = order_in_force(tmp_path, LOT, "a")
    assert found is not None
    assert found.value == ""
    recipe = order_in_force(tmp_path, RECIPE)
    assert recipe is not None
    assert (recipe.value, recipe.asked) == ("7", BY)


@pytest.mark.parametrize("lot", ["x" * 65, "a\nb", "\x1b[31m"])
def test_an_id_from_outside_is_data(tmp_path: Path, lot: str) -> None:
    with pytest.raises(ConfigError, match="lot: expected at most 64 printable characters"):
        ask_lot(tmp_path, lot, BY)
    assert not (tmp_path / FILE_NAME).exists()
