# SPDX-License-Identifier: AGPL-3.0-or-later
"""Two boxes that have one camera for a while, in a real database: each moment is counted once, whoever ships first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.fakes.central_desk import central_desk
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords
from tests.fakes.shipping_box import ShippingBox, until

from vision_line.central.central_records import FileOfBox, central_records
from vision_line.central.database_url import parsed
from vision_line.desk.central.not_counted import NotCounted, read_not_counted
from vision_line.desk.inspected.inspected_time import read_inspected_time
from vision_line.desk.local_time import ChosenTime
from vision_line.frames import CameraState
from vision_line.records import journal_removal
from vision_line.records.schema import transaction

FLEET = "00112233aabbccdd"
TIME = ChosenTime(BEGAN_UTC, BEGAN_UTC + 600)


def change(rows: DeskRecords, sql: str, *values: object) -> None:
    """Change a row, as a run does."""
    with transaction(rows.connection):
        rows.connection.execute(sql, values)


@dataclass
class Story:
    """`a` has the camera, is stopped at 240 s, and wakes up at 260 s; `b` takes over; `a` lets it go at 400 s."""

    a: ShippingBox
    b: ShippingBox

    async def tell(self, order: str) -> None:
        """Tell it in four parts; after each the boxes ship that `order` names."""
        a, b = self.a.rows, self.b.rows
        for part, boxes in zip((self.begin, self.take_over, self.wake_up, self.end), order.split(), strict=True):
            part(a, b)
            for name in boxes.strip("-"):
                await (self.a if name == "a" else self.b).ship_all()
        await self.a.ship_all()
        await self.b.ship_all()

    def begin(self, a: DeskRecords, b: DeskRecords) -> None:
        """Each has cameras of its own."""
        a.run(0, None, alive_s=240, of_fleet=("a", FLEET))
        b.run(0, None, alive_s=240, of_fleet=("b", FLEET))
        change(a, "UPDATE runs SET run_id = 'a1'")
        change(b, "UPDATE runs SET run_id = 'b1'")
        a.camera(1, "cam1", 0, epoch=3, inspected_s=0)
        b.camera(1, "cam2", 0, epoch=3, inspected_s=0)
        a.event(1, "cam1", 120)
        a.minute(1, "cam1", 120, 100)

    def take_over(self, a: DeskRecords, b: DeskRecords) -> None:
        """The other one opens the camera after a lease, and inspects it six seconds later."""
        b.gap(1, "cam1", "node:lost", 240, 244)
        b.gap(1, "cam1", "camera:CONNECTING", 244, None)
        b.camera(1, "cam1", 244, epoch=7)
        change(b, "UPDATE not_inspected SET ended_utc = ?, ended_s = 250 WHERE ended_utc IS NULL", BEGAN_UTC + 250)
        change(b, "UPDATE cameras SET inspected_utc = ? WHERE name = 'cam1'", BEGAN_UTC + 250)
        b.event(1, "cam1", 255)
        b.minute(1, "cam1", 300, 100)

    def wake_up(self, a: DeskRecords, b: DeskRecords) -> None:
        """Both inspect it, but for a while the one that should."""
        a.gap(1, "cam1", "paused", 240, 260)
        a.event(1, "cam1", 270)
        a.event(1, "cam1", 330)
        a.minute(1, "cam1", 240, 100)
        a.minute(1, "cam1", 300, 100)
        a.minute(1, "cam1", 360, 100)
        b.gap(1, "cam1", "camera:STALE", 320, 340)
        b.event(1, "cam1", 345)

    def end(self, a: DeskRecords, b: DeskRecords) -> None:
        """One of them lets it go; both end at last, well before the time that is asked for ends."""
        a.state(1, "cam1", CameraState.REMOVED, 400)
        for rows in (a, b):
            change(rows, "UPDATE runs SET ended_utc = ?, end_cause = 'stopped'", BEGAN_UTC + 500)


@pytest.fixture
def story(tmp_path: Path, database: str) -> Iterator[Story]:
    """Two boxes of a fleet whose records have one name there and in the database."""
    with ExitStack() as stack:
        a, b = (stack.enter_context(ShippingBox.made(tmp_path / name, database, name)) for name in ("a", "b"))
        yield Story(a, b)


@pytest.mark.parametrize("order", ["ab ab ab ab", "ba ba ba ba", "b b b ba", "a a a ab", "- a b a", "- - - ba"])
async def test_each_moment_counts_once(story: Story, order: str, tmp_path: Path) -> None:
    """What was inspected, what was not, and what was found."""
    await story.tell(order)

    url = parsed(story.a.database)
    with central_records(url, FileOfBox.RECORDS) as records:
        of_camera = [one for one in read_inspected_time(records, TIME) if one.camera.endswith("cam1")]
        found = records.execute("SELECT camera, first_seen_utc FROM events ORDER BY first_seen_utc").fetchall()
        minutes = records.execute("SELECT camera, minute_utc FROM coverage ORDER BY minute_utc").fetchall()
        not_counted = read_not_counted(records, TIME)
    assert [(camera, at_utc - BEGAN_UTC) for camera, at_utc in found] == [
        *(("a:cam1", 120.0), ("b:cam1", 255.0), ("a:cam1", 330.0), ("b:cam1", 345.0))
    ]
    assert sum(one.covered.due_s for one in of_camera) == pytest.approx(500.0)  # as much as passed
    missing = [(gap.camera, gap.cause, gap.seconds) for one in of_camera for gap in one.gaps]
    assert [one for one in missing if one[1] != "node:elsewhere"] == [
        *(("b:cam1", "node:lost", 4.0), ("b:cam1", "camera:CONNECTING", 6.0))
    ]
    assert [one[::2] for one in missing if one[1] == "node:elsewhere"] == [
        *(("a:cam1", 80.0), ("a:cam1", 60.0), ("b:cam1", 20.0))
    ]
    assert sorted((at_utc - BEGAN_UTC, camera) for camera, at_utc in minutes) == [
        *((120, "a:cam1"), (300, "a:cam1"), (300, "b:cam1"), (360, "a:cam1"))
    ]
    assert not_counted == [NotCounted("a:cam1", "b", 1, BEGAN_UTC + 240, BEGAN_UTC + 320)]
    assert story.a.differences() == story.b.differences() == []


async def test_what_is_not_counted_is_said(story: Story, tmp_path: Path) -> None:
    """On the first page."""
    await story.tell("ab ab ab ab")

    with central_desk(story.a.database, tmp_path / "desk") as desk:
        page = desk.get("/", params={"since": "2026-11-28T20:00:00+00:00", "until": "2026-11-28T20:10:00+00:00"}).text
    assert "Not counted: 1 found at <b>a:cam1</b>" in page


async def test_a_box_that_died_hides_nothing_after_its_last_sign(story: Story) -> None:
    """What the one before it goes on to find counts again; until its box was silent for a minute nobody knew."""
    for part in (story.begin, story.take_over, story.wake_up):
        part(story.a.rows, story.b.rows)
    change(story.b.rows, "UPDATE runs SET alive_utc = ?", BEGAN_UTC + 350)
    story.a.rows.event(1, "cam1", 349)
    story.a.rows.event(1, "cam1", 351)
    await story.a.ship_all()
    await story.b.ship_all()

    with central_records(parsed(story.a.database), FileOfBox.RECORDS) as records:
        found = records.execute("SELECT camera, first_seen_utc FROM events ORDER BY first_seen_utc DESC").fetchone()
    assert (found[0], found[1] - BEGAN_UTC) == ("a:cam1", 351.0)


async def test_a_run_whose_entry_was_carried_is_of_its_fleet(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its first row on, though what says so comes at the journal's end."""
    monkeypatch.setattr(journal_removal, "SPARED_S", 0.0)
    for part in (story.begin, story.take_over, story.wake_up):
        part(story.a.rows, story.b.rows)
    change(story.b.rows, "UPDATE runs SET alive_utc = ?", BEGAN_UTC + 350)
    box = story.a.rows.connection
    with transaction(box):
        assert journal_removal.remove_entries(box, box.journal, "prune", removed_rows=1, by_size=True) == 4
    await story.b.ship_all()
    await story.a.ship_all()

    with central_records(parsed(story.a.database), FileOfBox.RECORDS) as records:
        found = records.execute("SELECT camera, first_seen_utc FROM events ORDER BY first_seen_utc").fetchall()
    assert [(camera, at_utc - BEGAN_UTC) for camera, at_utc in found] == [
        *(("a:cam1", 120.0), ("b:cam1", 255.0), ("a:cam1", 330.0), ("b:cam1", 345.0))
    ]


async def test_another_fleet_has_cameras_of_the_same_names(story: Story) -> None:
    """They are others, whatever their plans' epochs are."""
    for part in (story.begin, story.take_over, story.wake_up):
        part(story.a.rows, story.b.rows)
    change(story.b.rows, "UPDATE runs SET fleet = 'ffffffffffffffff'")
    await story.a.ship_all()
    await story.b.ship_all()

    with central_records(parsed(story.a.database), FileOfBox.RECORDS) as records:
        assert records.execute("SELECT count(*) FROM events").fetchone()[0] == 5


async def test_entries_of_older_versions_are_taken(story: Story) -> None:
    """They lack what was added since: a run and its cameras come all the same."""
    story.begin(story.a.rows, story.b.rows)
    box = story.a.rows.connection
    for kind, names in (("run", ("node", "fleet")), ("camera", ("epoch", "inspected_utc", "model_name"))):
        for name in names:
            box.execute(f"UPDATE journal SET body = json_remove(body, '$.{name}') WHERE kind = ?", (kind,))
    await story.a.ship_all()

    with central_records(parsed(story.a.database), FileOfBox.RECORDS) as records:
        assert records.execute("SELECT name, model_name, epoch FROM cameras").fetchall() == [("a:cam1", "", 0)]


async def test_a_box_has_the_name_that_its_fleet_knows(story: Story) -> None:
    """Else the owners of its cameras would not be told apart; nothing comes under another name."""
    story.begin(story.a.rows, story.b.rows)
    story.a.node = "box1"
    words = "central.node: expected 'a', as this box is called in its fleet, found 'box1'"
    async with story.a.shipping() as service:
        await until(lambda: words in (service.status().state.error or ""))
