# SPDX-License-Identifier: AGPL-3.0-or-later
"""A box that records of every kind, and ships them to a database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords, writing

from vision_line.central.database_connection import connected
from vision_line.central.database_url import parsed
from vision_line.config.central_settings import CentralSettings
from vision_line.parts.orders import Asked, ask_lot, ask_recipe
from vision_line.parts.part import PartCause, PartRecord, PartVerdict
from vision_line.parts.part_entries import LeftAs, add_correction, add_part
from vision_line.parts.parts_file import writing as writing_parts
from vision_line.records.schema import transaction
from vision_line.reviews.answer import Answer, ItemKey, ItemKind, ReviewVerdict
from vision_line.reviews.answer_journal import append_answer, withdraw
from vision_line.reviews.reviews_file import writing as writing_reviews
from vision_line.shipping.comparison import differences
from vision_line.shipping.shipping_service import ShippingService

WAIT_S = 40.0


@dataclass
class ShippingBox:
    """Its records, and where they go."""

    directory: Path
    rows: DeskRecords
    database: str
    node: str = "box1"
    ship_detections: bool = False
    _at_s: float = 0.0

    @classmethod
    @contextmanager
    def made(cls, directory: Path, database: str, node: str = "box1") -> Iterator[ShippingBox]:
        """Yield a box without records; its commits need not outlive the power."""
        directory.mkdir(exist_ok=True)
        with writing(directory) as rows:
            rows.connection.execute("PRAGMA synchronous=OFF")
            yield cls(directory, rows, database, node)

    def run_id(self, run: int) -> str:
        """Return what a run is called everywhere."""
        (found,) = self.rows.connection.execute("SELECT run_id FROM runs WHERE run = ?", (run,)).fetchone()
        return str(found)

    def record(self) -> int:
        """Record something of every kind; return the run's number."""
        rows, start_s = self.rows, self._at_s
        self._at_s += 10_000
        run = rows.run(start_s, None, "cam1", "cam2")
        self._change("UPDATE runs SET run_id = ? WHERE run = ?", f"{self.node} {start_s}", run)
        rows.state(run, "cam1", "running", start_s)
        rows.state(run, "cam1", "lost", start_s + 5, "TIMEOUT", "no frame for 2 s; nul \x00 and \U0001f600")
        for number in range(3):
            event = rows.event(run, "cam1", start_s + number)
            rows.images(event, f"{self.node} {start_s} {number}".encode())
            self._change("UPDATE events SET hits = ? WHERE event = ?", 99, event)
        rows.clip(run, "cam1", event, b"clip")
        rows.near_miss(run, "cam2", start_s + 20, b"near")
        rows.audit(run, "cam2", start_s + 30, b"audit")
        rows.minute(run, "cam1", start_s, 100)
        rows.minute(run, "cam2", start_s, 50, 30.0)
        rows.gap(run, "cam2", "camera", start_s + 1, start_s + 31)
        open_gap = rows.gap(run, "cam1", "camera", start_s + 40, None)
        taken_back = rows.gap(run, "cam1", "device", start_s + 50, None)
        self._change("UPDATE not_inspected SET started_utc = ? WHERE interval = ?", BEGAN_UTC + start_s + 39, open_gap)
        with transaction(rows.connection):
            rows.connection.execute("DELETE FROM not_inspected WHERE interval = ?", (taken_back,))
        rows.insert("clock_steps", run=run, clock=1, at_s=5.0, from_utc=BEGAN_UTC, to_utc=BEGAN_UTC + 3)
        self._change("UPDATE evidence SET deleted_utc = ?, deleted_why = 'keep_days' WHERE run = ?", BEGAN_UTC, run)
        self._change(
            "UPDATE runs SET ended_utc = ?, end_cause = 'stopped', alive_utc = 5 WHERE run = ?", BEGAN_UTC + 60, run
        )
        return run

    def _change(self, sql: str, *values: object) -> None:
        with transaction(self.rows.connection):
            self.rows.connection.execute(sql, values)

    def pass_parts(self, run: int, parts: int = 3) -> None:
        """Have parts pass in a lot, one of three with a defect that was found later; half of these were diverted."""
        ask_lot(self.directory, "L-1", Asked("somebody", "command"))
        ask_recipe(self.directory, "big", Asked("somebody", "command"), "lane1")
        with writing_parts(self.directory) as connection:
            (last,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM parts").fetchone()
            for sequence in range(last + 1, last + 1 + parts):
                part = PartRecord(
                    lane="lane1",
                    sequence=sequence,
                    part_id=f"p{sequence}",
                    lot="L-1",
                    recipe="big",
                    trigger=None,
                    triggered_utc=BEGAN_UTC + sequence,
                    window_utc=(BEGAN_UTC + sequence, BEGAN_UTC + sequence + 1),
                    deadline_utc=BEGAN_UTC + sequence + 2,
                    decided_utc=BEGAN_UTC + sequence + 1,
                    verdict=PartVerdict.ACCEPT,
                    cause=PartCause.NONE,
                    inspections={"cam1": 5, "cam2": 4},
                    events=(f"event {sequence}",),
                    sent_after_ms=40.0,
                    run_id=self.run_id(run),
                    is_simulated=False,
                )
                number = add_part(connection, part)
                if not sequence % 3:
                    left_as = None if sequence % 6 else LeftAs(PartVerdict.NOT_INSPECTED, PartCause.LATE)
                    add_correction(connection, part, number, PartVerdict.REJECT, ["event 77"], left_as)

    def review(self, run: int, event: str = "event 1") -> None:
        """Have somebody say something of an event, take it back, and say otherwise."""
        item = ItemKey(ItemKind.EVENT, self.run_id(run), event)
        with writing_reviews(self.directory) as connection:
            first = append_answer(
                connection, Answer(item=item, person="ann", verdict=ReviewVerdict.CONFIRMED, submission=f"{run} one")
            )
            withdraw(connection, first, "ann")
            append_answer(
                connection, Answer(item=item, person="ann", verdict=ReviewVerdict.OVERRULED, submission=f"{run} two")
            )

    def service(self, database: str | None = None) -> ShippingService:
        """Return what ships the records."""
        settings = CentralSettings(
            database=SecretStr(database or self.database), node=self.node, ship_detections=self.ship_detections
        )
        return ShippingService(self.directory, settings, parsed(database or self.database))

    @asynccontextmanager
    async def shipping(self, database: str | None = None) -> AsyncIterator[ShippingService]:
        """Ship while the block runs."""
        service = self.service(database)
        task = asyncio.create_task(service.run())
        try:
            yield service
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            task.result()

    async def ship_all(self) -> None:
        """Ship what there is."""
        async with self.shipping() as service:
            await until(lambda: service.status().state.behind == 0 and service.status().clock_offset_s is not None)

    def differences(self) -> list[str]:
        """Return what the database has otherwise than the box."""
        with connected(parsed(self.database)) as connection:
            return list(differences(self.directory, connection, self.node))


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline_s, "it does not come to that"
        await asyncio.sleep(0.02)
