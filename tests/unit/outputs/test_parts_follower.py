# SPDX-License-Identifier: AGPL-3.0-or-later
"""Parts, corrections, lots and recipes reach an output: from their own journal, by a place of its own."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.desk_records import writing as writing_records
from tests.fakes.made_parts import correct_part, enter_part

from vision_line.config.output_settings import OutputSettings
from vision_line.outputs.cursor_file import CursorFile
from vision_line.outputs.follower import Follower
from vision_line.outputs.journal_sources import JournalSources
from vision_line.outputs.json_lines import JsonLines, events_settings
from vision_line.outputs.notification import Notification
from vision_line.parts.orders import Asked, ask_lot, ask_recipe
from vision_line.parts.part import PartVerdict
from vision_line.parts.parts_file import FILE_NAME, writing
from vision_line.parts.parts_retention import prune_parts

SHIFT = Asked("a person", "mqtt")


class Place:
    """A record directory with the followers of one output after another."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sources = JournalSources(directory)
        self.cursors = CursorFile(directory)

    def follower(self, **asked: object) -> Follower:
        chosen = OutputSettings.model_validate({"name": "plant", "since": "all", **asked})
        return Follower(chosen, self.sources.parts, self.cursors)

    def close(self) -> None:
        self.sources.close()
        self.cursors.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def taken(follower: Follower, window: int = 20) -> list[Notification]:
    found: list[Notification] = []
    while (batch := follower.next(window)) is not None:
        follower.tried(batch)
        follower.done(batch)
        found += batch.messages
    return found


def test_a_part_reads_as_one_message(place: Place) -> None:
    """Times as ISO 8601; its id names the journal, as a record's names its run."""
    enter_part(place.directory, PartVerdict.REJECT)
    (said,) = taken(place.follower())

    assert json.loads(said.as_json(1_795_896_009.5)) == {
        "schema": "vision-line.part/1",
        "id": "parts:1",
        "number": 1,
        "time": json.loads(said.as_json(0.0))["time"],
        "sent": "2026-11-28T20:00:09.500000Z",
        "run": "run at 0",
        "lane": "lane1",
        "sequence": 1,
        "part_id": "P-1",
        "lot": "L-1",
        "recipe": "",
        "trigger": 1,
        "verdict": "reject",
        "cause": "",
        "events": ["event 1"],
        "inspections": 3,
        "inspections_by_camera": {"cam1": 4, "cam2": 3},
        "triggered_utc": "2026-11-28T20:00:01.000000Z",
        "window_begins_utc": "2026-11-28T20:00:01.100000Z",
        "window_ends_utc": "2026-11-28T20:00:01.400000Z",
        "deadline_utc": "2026-11-28T20:00:01.800000Z",
        "decided_utc": "2026-11-28T20:00:01.500000Z",
        "sent_after_ms": 500.0,
        "is_simulated": True,
    }


def test_what_was_found_too_late_names_its_part(place: Place) -> None:
    number = enter_part(place.directory)
    correct_part(place.directory, number, 1, PartVerdict.REJECT)
    _, said = taken(place.follower())

    assert said.content == {
        "run": None,
        "lane": "lane1",
        "sequence": 1,
        "part": "parts:1",
        "decided": "accept",
        "verdict": "reject",
        "left_as": None,
        "events": ["event 2"],
    }


def test_lots_and_recipes_say_the_door_and_not_who(place: Place) -> None:
    """Names of people stay on the line's machine."""
    ask_lot(place.directory, "L-2", SHIFT)
    ask_recipe(place.directory, "fine", SHIFT, "lane1")
    lot, recipe = taken(place.follower())

    assert lot.content == {"run": None, "lane": "*", "lot": "L-2", "door": "mqtt"}
    assert recipe.content == {"run": None, "lane": "lane1", "recipe": "fine", "door": "mqtt"}


def test_filters_by_lane_verdict_and_kind(place: Place) -> None:
    """A lot for every lane passes the filter of each; a correction counts by what was found."""
    for lane in ("lane1", "lane2"):
        for verdict in PartVerdict:
            enter_part(place.directory, verdict, lane)
    correct_part(place.directory, 1, 1, PartVerdict.REJECT)
    ask_lot(place.directory, "L-2", SHIFT)
    ask_lot(place.directory, "L-3", SHIFT, "lane1")

    def found(name: str, **asked: object) -> list[tuple[str, str | None, str | None]]:
        return [(said.kind, said.lane, said.verdict) for said in taken(place.follower(name=name, **asked))]

    assert found("a", lanes=["lane2"], verdicts=["reject", "not_inspected"]) == [
        ("part", "lane2", "reject"),
        ("part", "lane2", "not_inspected"),
        ("lot", None, None),
    ]
    assert found("b", kinds=["part", "correction"], lanes=["lane1"], verdicts=["reject"]) == [
        ("part", "lane1", "reject"),
        ("correction", "lane1", "reject"),
    ]
    assert found("c", kinds=["event"]) == []


def test_an_output_that_was_there_before_the_first_part_misses_none(place: Place) -> None:
    """The file comes with the first part or lot."""
    begun = place.follower(since="now")
    enter_part(place.directory)

    assert [said.id for said in taken(begun)] == ["parts:1"]
    assert taken(place.follower(name="later", since="now")) == []


def test_a_folder_begun_anew_is_said_with_its_journal(place: Place) -> None:
    """The records are followed on: theirs is another journal."""
    for _ in range(3):
        enter_part(place.directory)
    follower = place.follower()
    taken(follower)
    for one in place.directory.glob(f"{FILE_NAME}*"):
        one.unlink()
    enter_part(place.directory, PartVerdict.REJECT)
    fork, part = taken(follower)

    assert (fork.id, fork.content) == (
        "parts:fork:3-0",
        {"journal": "parts", "followed_to": 3, "goes_on_behind": 0},
    )
    assert (part.id, part.verdict) == ("parts:1", "reject")


def test_what_went_before_an_output_had_it_is_said(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was further goes on without a word; orders before what went are no beginning."""
    asked = {"kinds": ["part", "lot", "removal"]}
    follower, begun = place.follower(**asked), place.follower(name="begun", **asked)
    with monkeypatch.context() as at:
        at.setattr("vision_line.records.side_journal.time.time", lambda: 1000.0)
        ask_lot(place.directory, "L-2", SHIFT)
        for _ in range(4):
            enter_part(place.directory)
    assert len(taken(begun)) == 5
    enter_part(place.directory)
    prune_parts(place.directory, 1, time.time(), dry_run=False)
    lost, part, removal = taken(follower)

    assert (lost.kind, lost.content["journal"], lost.content["entries"]) == ("lost", "parts", 5)
    assert (part.id, part.content["sequence"]) == ("parts:6", 5)
    assert removal.kind == "removal"
    assert removal.content["lanes"] == {"lane1": {"parts": 4, "from": 1, "to": 4}}
    assert (removal.content["rows"], removal.content["through"], removal.content["why"]) == (4, 5, "prune")
    assert [said.id for said in taken(begun)] == ["parts:6", "parts:7"]
    assert [said.id for said in taken(place.follower(name="later", **asked))] == ["parts:6", "parts:7"]


def test_a_damaged_part_stops_nobody(place: Place) -> None:
    """Its id is still that of its entry."""
    enter_part(place.directory)
    with writing(place.directory) as connection:
        connection.execute("DROP TRIGGER journal_no_update")
        connection.execute("""UPDATE journal SET body = '{"inspections": []}'""")
    (said,) = taken(place.follower())

    assert (said.id, said.content) == ("parts:1", {"unreadable": True})


def test_a_reader_by_a_pipe_goes_on_in_both_journals(place: Place) -> None:
    """By the newest id of each; one of which it has none yet comes from its beginning."""
    with writing_records(place.directory) as rows:
        run = rows.run(0, None, "cam1")
        for number in range(3):
            rows.event(run, "cam1", 1.0 * number)
            enter_part(place.directory)
        asked = events_settings(["event", "part"], [], [], [], "all")
        first = [json.loads(line)["id"] for line in JsonLines(asked, place.sources, "all").lines()]
        events = [one for one in first if not one.startswith("parts:")]

        def behind(since: str) -> list[str]:
            return [json.loads(line)["id"] for line in JsonLines(asked, place.sources, since).lines()]

        assert behind(f"{events[1]},parts:2") == [events[2], "parts:3"]
        assert behind(events[1]) == [events[2], "parts:1", "parts:2", "parts:3"]
        assert behind(f"parts:3, {events[2]}") == []
        assert behind("lost:1-2,parts:fork:9-2")[-1] == "parts:3"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["part", "part", "lot", "send", "send", "cut", "kill", "kill after"]), max_size=30))
def test_no_part_is_lost_and_few_come_twice(steps: list[str]) -> None:
    """`cut`: a piece of the window arrived and nobody said so. `kill`: the process dies before or after it."""
    with tempfile.TemporaryDirectory() as folder:
        place, written, troubles = Place(Path(folder)), 0, 0
        follower = place.follower()
        arrived: list[Notification] = []
        for step in [*steps, *["send"] * 40]:
            if step in {"part", "lot"}:
                written += 1
                enter_part(place.directory) if step == "part" else ask_lot(place.directory, "L-2", SHIFT)
                continue
            if (batch := follower.next(4)) is not None:
                follower.tried(batch)
                arrived += batch.messages[: 2 if step == "cut" else 4] if step != "kill" else ()
                if step == "send":
                    follower.done(batch)
                troubles += step in {"cut", "kill after"}
            if step.startswith("kill"):
                follower = place.follower()
        place.close()
        seen = list(dict.fromkeys(said.id for said in arrived))

        assert seen == [f"parts:{number}" for number in range(1, written + 1)]
        assert len(arrived) - len(seen) <= 4 * troubles
