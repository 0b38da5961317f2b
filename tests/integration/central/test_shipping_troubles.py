# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the database, or somebody who changes the records, does to shipping."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest
from tests.fakes.desk_records import BEGAN_UTC
from tests.fakes.shipping_box import ShippingBox, until

from vision_line.records import journal_removal, retention
from vision_line.records.corrected_time import read_timeline
from vision_line.records.retention import SHELVES, Why, remove_batch
from vision_line.records.schema import transaction
from vision_line.shipping import shipping_service
from vision_line.shipping.shipper import MOST_REFUSED

PAGE = (Path(__file__).parents[3] / "docs/plant.md").read_text(encoding="utf-8")


def change(database: str, text: str) -> None:
    """Change the database."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(text.encode())


async def test_a_full_disk_of_the_database(box: ShippingBox) -> None:
    """It is tried again, and nothing of it is taken for lost."""
    full = """CREATE FUNCTION records.full() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER is_full BEFORE INSERT ON records.clips EXECUTE FUNCTION records.full()"""
    change(box.database, full)
    box.record()
    async with box.shipping() as service:
        await until(lambda: "BUSY" in (service.status().state.error or ""))
        assert service.status().state.behind > 0
        change(box.database, "DROP TRIGGER is_full ON records.clips")
        await until(lambda: service.status().state.behind == 0)
        await until(lambda: box.differences() == [])

    assert service.status().lost == 0


async def test_an_entry_that_cannot_be_taken(box: ShippingBox, caplog: pytest.LogCaptureFixture) -> None:
    """It is noted as lost, and said; all others come."""
    box.record()
    box.rows.connection.execute("UPDATE journal SET body = 'no JSON' WHERE kind = 'clip'")
    async with box.shipping() as service:
        await until(lambda: service.status().state.behind == 0)

        assert service.status().lost == 1
        await until(lambda: [words.split(":")[0] for words in box.differences()] == ["clips"])
    assert "is not what was written" in caplog.text


@pytest.mark.parametrize(
    "changed",
    [
        "body = '{}' WHERE kind = 'run'",
        "body = '{}', kind = 'carried', key = 'run/' || key"
        " WHERE number = (SELECT max(number) FROM journal WHERE kind = 'run')",
    ],
    ids=["entered", "carried"],
)
async def test_a_run_that_cannot_be_taken(changed: str, box: ShippingBox) -> None:
    """Without it nothing of it fits: shipping stops, and says so."""
    box.record()
    box.rows.connection.execute(f"UPDATE journal SET {changed}")
    async with box.shipping() as service:
        await until(lambda: "does not take entry" in (service.status().state.error or ""))
        assert service.status().places.get("records") == 0


async def test_entries_that_were_removed_before_they_were_shipped(box: ShippingBox) -> None:
    """What is not there any more is counted, and noted where the rows would be."""
    for _ in range(3):
        box.record()
    connection = box.rows.connection
    (digest,) = connection.execute("SELECT digest FROM journal WHERE number = 10").fetchone()
    body = f'{{"through":10,"digest":"{digest.hex()}","began_utc":0.0,"before":{{}},"removed_from":"journal"}}'
    with transaction(connection):
        connection.journal.append("removal", "journal", body)  # type: ignore[arg-type]
        connection.execute("DELETE FROM journal WHERE number <= 10")
    async with box.shipping() as service:
        await until(lambda: service.status().lost >= 10)

    with psycopg.connect(box.database) as there:
        assert there.execute("SELECT from_number, to_number FROM plant.lost").fetchall()[0] == (1, 10)


async def test_a_run_whose_entry_was_carried_behind_the_others(
    box: ShippingBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A box that ran for long before it was to ship: what its retention left comes, and all of it."""
    monkeypatch.setattr(journal_removal, "SPARED_S", 0.0)
    monkeypatch.setattr(retention, "BATCH_ROWS", 4)
    monkeypatch.setattr(shipping_service, "BATCH", 2 * MOST_REFUSED)
    rows = box.rows
    run = box.record()
    for number in range(12):
        rows.minute(run, "cam2", 60.0 * (1 + number), 50)
    for number in range(40):
        rows.event(run, "cam1", 9000.0 + number)
    rows.minute(run, "cam1", 10_000, 100)
    while True:
        with transaction(rows.connection):
            timeline = read_timeline(rows.connection, BEGAN_UTC + 20_000)
            asked = (rows.connection, timeline, BEGAN_UTC + 5000, 0, BEGAN_UTC + 20_000)
            if remove_batch(*asked, shelves=SHELVES, why=Why.PRUNE) is None:
                break
    (oldest,) = rows.connection.execute("SELECT min(number) FROM journal").fetchone()
    found = "SELECT kind, key FROM journal WHERE run = ? ORDER BY number"
    kept = [tuple(one) for one in rows.connection.execute(found, (run,))]
    assert kept.index(("carried", f"run/{box.run_id(run)}")) >= 2 * MOST_REFUSED  # not in the first batch

    async with box.shipping() as service:
        await until(lambda: service.status().state.behind == 0)
        await until(lambda: box.differences() == [])

    assert service.status().lost == oldest - 1
    with psycopg.connect(box.database) as there:
        assert there.execute("SELECT from_number, to_number FROM plant.lost").fetchall() == [(1, oldest - 1)]


@pytest.mark.parametrize(
    "which",
    ["kind = 'clip'", "kind = 'event' AND key = (SELECT event_id FROM events ORDER BY event LIMIT 1)"],
    ids=["behind others", "the first"],
)
async def test_a_month_that_begins_with_an_entry_that_cannot_be_taken(
    which: str, box: ShippingBox, tmp_path: Path
) -> None:
    """Its partitions are there all the same, for this box and for others: one that came late would not fit any more."""
    box.record()
    box.rows.connection.execute(
        f"UPDATE journal SET body = json_set(body, '$.bytes', 'x', '$.score', 'x') WHERE {which}"
    )
    async with box.shipping() as service:
        await until(lambda: service.status().state.behind == 0)
    assert service.status().lost

    with ShippingBox.made(tmp_path / "box2", box.database, "box2") as other:
        other.record()
        await other.ship_all()
        assert other.differences() == []
    with psycopg.connect(box.database) as there:
        for table in ("events", "coverage"):
            found = there.execute(f"SELECT count(*) FROM records.{table}_elsewhen".encode()).fetchone()
            assert found == (0,), table


async def test_a_part_that_cannot_be_taken(box: ShippingBox) -> None:
    """Those before and behind it come."""
    change(box.database, "ALTER TABLE parts.parts ADD CHECK (sequence <> 10)")
    box.pass_parts(box.record(), 30)
    async with box.shipping() as service:
        await until(lambda: service.status().state.behind == 0)

        assert service.status().lost == 1
        tables = ["parts.parts", "parts.part_events"]
        await until(lambda: [words.split(":")[0] for words in box.differences()] == tables)


async def test_a_database_that_takes_too_long_for_a_whole_batch(
    box: ShippingBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets fewer entries at once, until they fit."""
    monkeypatch.setattr(shipping_service, "BATCH", 40)
    monkeypatch.setattr(shipping_service, "STEP_S", 1.0)
    slow = """CREATE FUNCTION records.slow() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(0.04); RETURN new; END $$;
        CREATE TRIGGER is_slow BEFORE INSERT ON records.events FOR EACH ROW EXECUTE FUNCTION records.slow()"""
    change(box.database, slow)
    run = box.rows.run(0, None, "cam1")
    for number in range(40):
        box.rows.event(run, "cam1", number)
    async with box.shipping() as service:
        await until(lambda: service.status().state.behind == 0)
        await until(lambda: box.differences() == [])


async def test_the_rights_that_the_page_gives(box: ShippingBox) -> None:
    """A box that may do no more than this ships everything, months too."""
    (rights,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    change(box.database, f"DROP ROLE IF EXISTS box; CREATE ROLE box LOGIN; {rights}")
    box.pass_parts(box.record())
    async with box.shipping(box.database.replace("postgres@", "box@")) as service:
        await until(lambda: service.status().state.behind == 0)
        await until(lambda: box.differences() == [])

    with psycopg.connect(box.database.replace("postgres@", "box@")) as there, pytest.raises(psycopg.Error):
        there.execute("DELETE FROM records.events")


async def test_detections_where_they_are_asked_for(box: ShippingBox) -> None:
    """The journal has their digest alone: they are read from the box's table."""
    run = box.record()
    for at_s in range(3):
        box.rows.insert(
            "detections",
            **box.rows._of(run, "cam1"),
            **{"class": "open", "score": 0.5, "x1": 1.0, "y1": 1.0, "x2": 2.0, "y2": 2.0, "width": 64, "height": 64},
            sequence=at_s,
            arrived_utc=BEGAN_UTC + at_s,
            arrived_s=float(at_s),
            latency_ms=20.0,
        )
    box.ship_detections = True
    await box.ship_all()

    with psycopg.connect(box.database) as there:
        found = there.execute("SELECT camera, sequence FROM records.detections ORDER BY sequence").fetchall()
    assert found == [("cam1", 0), ("cam1", 1), ("cam1", 2)]


async def test_a_minute_under_way_and_a_sign_of_life(box: ShippingBox) -> None:
    """They come before they have an entry, and the entry has the last word."""
    run = box.record()
    minute = box.rows.minute(run, "cam1", 7200, 10)
    box.rows.connection.execute("UPDATE coverage SET provisional = 1 WHERE minute = ?", (minute,))
    asked = f"SELECT provisional, inspected, entry > 0 FROM records.coverage WHERE minute_utc = {int(BEGAN_UTC + 7200)}"
    with psycopg.connect(box.database, autocommit=True) as there:
        async with box.shipping() as service:
            await until(lambda: service.status().state.behind == 0)
            box.rows.connection.execute("UPDATE runs SET alive_utc = 77.0")
            await until(lambda: there.execute("SELECT alive_utc FROM records.runs").fetchall() == [(77.0,)])
            with transaction(box.rows.connection):  # an entry does not say it, and does not take it back
                box.rows.connection.execute("UPDATE runs SET end_cause = 'failed'")
            caused = "SELECT alive_utc FROM records.runs WHERE end_cause = 'failed'"
            await until(lambda: there.execute(caused.encode()).fetchall() == [(77.0,)])
            with transaction(box.rows.connection):
                box.rows.connection.execute(
                    "UPDATE coverage SET provisional = 0, inspected = 99 WHERE minute = ?", (minute,)
                )
            await until(lambda: there.execute(asked.encode()).fetchall() == [(0, 99, True)])
