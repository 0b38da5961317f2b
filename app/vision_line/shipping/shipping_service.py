# SPDX-License-Identifier: AGPL-3.0-or-later
"""The life of shipping: connect, ship, note how it is, and after a trouble begin anew. The line never waits for it."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from pathlib import Path

from vision_line.central.database_url import DatabaseUrl
from vision_line.config.central_settings import CentralSettings
from vision_line.errors import RunError
from vision_line.outputs.chained_source import ChainedSource
from vision_line.outputs.cursor import JournalName
from vision_line.outputs.delivery import RECORDS_RETRY_S, DeliveryState
from vision_line.outputs.message_sink import SinkError, SinkTrouble
from vision_line.outputs.retry_delay import RetryDelay
from vision_line.shipping.batch_size import BatchSize
from vision_line.shipping.database_trouble import trouble_of
from vision_line.shipping.live_rows import LiveRows
from vision_line.shipping.record_rows import RecordRows
from vision_line.shipping.shipped_sources import ShippedSources
from vision_line.shipping.shipper import Shipper
from vision_line.telemetry.output_status import OutputState
from vision_line.telemetry.shipping_status import ShippingStatus, read_shipping_status

logger = logging.getLogger(__name__)

#: How often the journals are asked for news, the database is told that the box is there, and the status is noted.
POLL_S = 0.2
SEEN_EVERY_S = 2.0
NOTE_EVERY_S = 1.0
#: Entries of one transaction; fewer where so many take too long.
BATCH = 2000
#: How long a step may take before the database is taken for one that hangs, in seconds.
STEP_S = 60.0


class ShippingService:
    """Ships the journals of one record directory until it is cancelled."""

    def __init__(self, directory: Path, settings: CentralSettings, url: DatabaseUrl) -> None:
        """Begin with what was noted last, so that a database which is away leaves known how much waits.

        Raises:
            RunError: the status cannot be read.
        """
        self._directory = directory
        self._settings = settings
        self._url = url
        self._sources = ShippedSources(directory)
        self._rows = RecordRows(directory, ship_detections=settings.ship_detections)
        self._live = LiveRows(directory)
        self._delay = RetryDelay()
        self._batch = BatchSize(BATCH)
        self._state = DeliveryState.CONNECTING
        self._since_utc = time.time()
        self._error: str | None = None
        self._worked_until_s = 0.0
        before = read_shipping_status(directory)
        self._places = {} if before is None else {JournalName(name): at for name, at in before.places.items()}
        self._shipped = self._lost = 0
        self._clock_offset_s: float | None = None
        self._unreadable: dict[JournalName, str] = {}

    async def run(self) -> None:
        """Ship for ever.

        Raises:
            Exception: a fault of ours.
        """
        noting = asyncio.create_task(self._note_now_and_then(), name="shipping status")
        try:
            while True:
                delay_s = await self._connection()
                await asyncio.sleep(delay_s)
        finally:
            noting.cancel()
            with suppress(asyncio.CancelledError):
                await noting
            self._note()
            self._sources.close()

    async def _connection(self) -> float:
        """Ship by one connection until it breaks; return how long to wait before the next one, in seconds."""
        import psycopg

        shipper = Shipper(self._settings, self._url, self._sources, self._rows, self._live)
        began_s = self._worked_until_s = time.monotonic()
        try:
            self._is(DeliveryState.CONNECTING if self._error is None else DeliveryState.RETRYING)
            async with asyncio.timeout(STEP_S):
                await shipper.connect()
            await self._ship(shipper)
        except RunError as exc:
            self._failed(str(exc))
            return RECORDS_RETRY_S
        except SinkError as exc:
            trouble = exc
        except TimeoutError:
            trouble = SinkError(SinkTrouble.TIMEOUT, f"{self._url}: no answer for {STEP_S:.0f} s")
        except (psycopg.Error, OSError) as exc:
            words = self._url.without_secret(str(exc))
            trouble = SinkError(trouble_of(getattr(exc, "sqlstate", None), words), f"{self._url}: {words}")
        finally:
            await _closed(shipper)
        self._failed(str(trouble))
        return self._delay.after(trouble, self._worked_until_s - began_s)

    async def _ship(self, shipper: Shipper) -> None:
        self._is(DeliveryState.CONNECTED)
        self._take(shipper)
        seen_s = 0.0
        while True:
            entries = 0
            for source in self._sources.all:
                try:
                    entries += await self._step(shipper, source)
                    self._unreadable.pop(source.journal, None)
                except RunError as exc:  # one journal's fault is its own
                    self._is_unreadable(source.journal, str(exc))
                self._take(shipper)
            self._shipped += entries
            if time.monotonic() - seen_s >= SEEN_EVERY_S:
                async with asyncio.timeout(STEP_S):
                    await shipper.seen()
                seen_s = time.monotonic()
                self._clock_offset_s = shipper.clock_offset_s
            self._worked_until_s = time.monotonic()
            if not entries:
                self._recovered()
                await asyncio.sleep(POLL_S)

    async def _step(self, shipper: Shipper, source: ChainedSource) -> int:
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(STEP_S):
                entries = await shipper.ship_next(source, self._batch.most)
        except TimeoutError:
            self._batch.took_too_long()
            raise
        self._batch.went_well(entries, (time.monotonic() - began_s) / STEP_S)
        return entries

    def _take(self, shipper: Shipper) -> None:
        self._places = {journal: place.number for journal, place in shipper.places.items()}
        self._lost, shipper.lost = self._lost + shipper.lost, 0

    def _is_unreadable(self, journal: JournalName, words: str) -> None:
        if self._unreadable.get(journal) != words:
            logger.warning("central: the %s are not shipped: %s", journal, words)
        self._unreadable[journal] = words

    def _is(self, state: DeliveryState) -> None:
        if state is not self._state:
            self._state, self._since_utc = state, time.time()

    def _failed(self, words: str) -> None:
        self._is(DeliveryState.RETRYING)
        if words != self._error:
            logger.warning("central: %s", words)
        self._error = words

    def _recovered(self) -> None:
        if self._error is not None:
            logger.info("central: works again")
            self._error = None

    async def _note_now_and_then(self) -> None:
        while True:
            self._note()
            await asyncio.sleep(NOTE_EVERY_S)

    def _note(self) -> None:
        try:
            self.status().write(self._directory)
        except RunError as exc:
            logger.warning("central: nobody knows how shipping is: %s", exc)

    def status(self) -> ShippingStatus:
        """Return how shipping is.

        Raises:
            RunError: the records cannot be read.
        """
        now_utc, behind, waits_s = time.time(), 0, 0.0
        for source in self._sources.all:
            newest, place = source.newest(), self._places.get(source.journal, 0)
            if newest is not None and newest.number > place:
                behind += newest.number - place
                written_utc = source.written_utc(place + 1)
                waits_s = max(waits_s, 0.0 if written_utc is None else now_utc - written_utc)
        error = self._error or next(iter(self._unreadable.values()), None)
        state = OutputState(self._state, self._since_utc, error, behind, waits_s, now_utc)
        places = {str(journal): number for journal, number in self._places.items()}
        return ShippingStatus(self._settings.node, state, places, self._shipped, self._lost, self._clock_offset_s)


async def _closed(shipper: Shipper) -> None:
    """Close a connection that may be broken: whatever that says was said before."""
    with suppress(Exception):
        async with asyncio.timeout(STEP_S):
            await shipper.close()
