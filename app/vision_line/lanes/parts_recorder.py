# SPDX-License-Identifier: AGPL-3.0-or-later
"""Enters parts into `parts.sqlite` in a thread of its own, and watches the lots and recipes that are asked for there.

An acceptance is told only when it is on the disk. Whatever else cannot be entered waits until it can.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path

from vision_line.errors import RunError
from vision_line.lanes.lane_machine import LastPart
from vision_line.lanes.lane_orders import LaneOrders, OrdersOfLane, OrdersReading, OrderSteps
from vision_line.parts.orders import LOT, RECIPE, in_force, orders_after
from vision_line.parts.part import PartRecord, PartVerdict
from vision_line.parts.part_entries import LeftAs, add_correction, add_part, enter_missing, last_sequence
from vision_line.parts.parts_file import PARTS_FILE
from vision_line.parts.parts_retention import PartsRetention
from vision_line.records.database_files import DatabaseFiles, database_files, opened_files
from vision_line.records.schema import translated

logger = logging.getLogger(__name__)

#: How often it is asked whether somebody asked for a lot or a recipe, in seconds.
ORDERS_EVERY_S = 0.03
#: How long entering is left alone after it failed, in seconds.
RETRY_S = 0.5
#: So many entries wait while nothing can be entered; beyond, they are given up, which is said.
MOST_WAITING = 100_000
#: How many of the newest commits are measured.
_MEASURED = 1000
_CLOSE_S = 5.0

_NUMBER = "SELECT number FROM parts WHERE lane = ? AND sequence = ?"
_LAST = "SELECT j.body FROM journal j JOIN parts p USING (number) WHERE p.lane = ? AND p.sequence = ?"


@dataclass(frozen=True, slots=True)
class PartEntry:
    """A part to enter. `on_done` hears in the event loop whether it was; one without it is tried until it is.

    `lot_at_s` is the moment whose lot it has, None: the one of its record.
    """

    record: PartRecord
    on_done: Callable[[bool], None] | None = None
    lot_at_s: float | None = None


@dataclass(frozen=True, slots=True)
class CorrectionEntry:
    """What was found of a part after it was decided; entered behind the part. `left_as`: what left instead."""

    record: PartRecord
    found: PartVerdict
    events: tuple[str, ...]
    left_as: LeftAs | None = None


Entry = PartEntry | CorrectionEntry


class PartsRecorder:
    """Owns the thread. All methods are the event loop's; `call` runs a function in it, from the thread."""

    def __init__(
        self, directory: Path, lanes: Sequence[str], call: Callable[[Callable[[], None]], None], keep_days: int = 0
    ) -> None:
        """Open the file; parts older than `keep_days` are removed, 0: none.

        Raises:
            RunError: it cannot be written.
        """
        self._directory = directory
        self._path = directory / PARTS_FILE.name
        self._call = call
        self._waiting: deque[Entry] = deque()
        self._woken = threading.Event()
        self._closing = False
        self._problem = ""
        self._lost = 0
        self._seconds: deque[float] = deque(maxlen=_MEASURED)
        self._lanes = tuple(lanes)
        self._version: int | None = None
        self._alone_s = time.monotonic()  # when nobody else was entering anything, and all orders were read
        self._retention = PartsRetention(directory, keep_days)
        self._files: DatabaseFiles | None = None  # those that the thread's connection writes
        self._complete = set(lanes)  # lanes of which it was entered what a kill took
        with PARTS_FILE.writing(directory) as connection:  # the tables, and whether it can be written
            _enter_missing(connection, lanes)
            self._orders = self._read_orders(connection, {}, None)
        self._thread = threading.Thread(target=self._run, name="parts", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """Why nothing can be entered now, "" where it can."""
        return self._problem

    @property
    def lost(self) -> int:
        """How many entries were given up."""
        return self._lost

    @property
    def waiting(self) -> int:
        """How many entries wait."""
        return len(self._waiting)

    def commit_s(self, share: float) -> float:
        """Return how long the newest commits took at most, of this share of them; 0 where there was none."""
        ordered = sorted(self._seconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0

    def orders(self, lane: str, at_s: float = inf) -> LaneOrders:
        """Return what was in force at a lane at a moment, without one what is now."""
        return self._orders.get(lane, OrdersOfLane()).at(at_s)

    def follow(self, lanes: Sequence[str]) -> None:
        """Watch the orders of these lanes from now on."""
        self._lanes = tuple(lanes)
        self._version = None
        self._woken.set()

    def keep(self, keep_days: int) -> None:
        """Keep parts for so many days from now on, 0: for ever."""
        if keep_days != self._retention.keep_days:
            self._retention = PartsRetention(self._directory, keep_days)

    def put(self, entry: Entry) -> None:
        """Take an entry."""
        if len(self._waiting) >= MOST_WAITING:
            self._lost += 1
        else:
            self._waiting.append(entry)
        self._woken.set()

    def last_part(self, lane: str) -> LastPart:
        """Return the newest part that was entered of a lane.

        Raises:
            RunError: the file cannot be read.
        """
        with PARTS_FILE.reading(self._directory) as connection:
            if connection is None:
                return LastPart()
            sequence = last_sequence(connection, lane)
            row = connection.execute(_LAST, (lane, sequence)).fetchone()
            return LastPart(sequence, None if row is None else json.loads(row["body"]).get("trigger"))

    def close(self) -> None:
        """Enter what waits, as far as that goes, and end; may be called twice."""
        self._closing = True
        self._woken.set()
        self._thread.join(_CLOSE_S)
        if self._waiting:
            logger.error("%d parts or corrections could not be recorded: %s", len(self._waiting), self._problem)
            self._waiting.clear()

    def _run(self) -> None:
        while not self._is_over:
            try:
                before = database_files(self._path)
                with closing(PARTS_FILE.writer(self._directory)) as connection:
                    self._begin(connection, before)
                    while not self._is_over:
                        self._turn(connection)
            except RunError as exc:
                self._fail(str(exc))
                self._wait(RETRY_S)
            except Exception as exc:  # a fault of ours, or an entry that is none: accept nothing, and try again
                problem = f"a fault of the program: {type(exc).__name__}: {exc}"
                if problem != self._problem:
                    logger.exception("parts: a fault of the program")
                self._fail(problem)
                self._wait(RETRY_S)

    def _begin(self, connection: sqlite3.Connection, before: DatabaseFiles | None) -> None:
        """Begin to write a file that was opened; of another one than before nothing is known yet."""
        self._version = None  # it counts for one connection
        with PARTS_FILE.transaction(connection, self._directory):  # the tables, where the file is a new one
            orders = self._read_orders(connection, {}, None)
        own, self._files = self._files, opened_files(self._path, before)
        if own is not None and (self._files is None or self._files[0] != own[0]):
            self._orders = orders
        self._check_files()

    def _check_files(self) -> None:
        """Notice a file that took the place of the one that is written: nobody will ever read what goes there.

        Raises:
            RunError: there is another one, or none.
        """
        if self._files is None or database_files(self._path) != self._files:
            raise RunError(f"{self._path}: the file was removed or replaced while it was written")

    @property
    def _is_over(self) -> bool:
        return self._closing and (not self._waiting or bool(self._problem))

    def _wait(self, longest_s: float) -> None:
        self._woken.wait(longest_s)
        self._woken.clear()

    def _turn(self, connection: sqlite3.Connection) -> None:
        """Wait for entries and enter them, all that there are at once."""
        self._wait(ORDERS_EVERY_S)
        self._check_files()
        with translated(self._path, "reading"):
            self._watch_orders(connection)
        entries = list(self._waiting)  # who puts more meanwhile appends
        begun = [lane for lane in self._lanes if lane not in self._complete]  # before any part of them is entered
        if entries or begun:
            began_s = time.monotonic()
            with PARTS_FILE.transaction(connection, self._directory):
                # Waiting for another writer takes seconds, and that one may have asked for something. Who is told that
                # a part was entered knows by `orders` what was asked for until then: from here on nobody else can.
                alone_s = time.monotonic()
                self._watch_orders(connection)
                self._alone_s = alone_s
                _enter_missing(connection, begun)
                for entry in entries:
                    _enter(connection, self._with_its_lot(entry))
            self._check_files()  # before anybody hears that they are on the disk
            self._complete.update(begun)
            self._seconds.append(time.monotonic() - began_s)
            self._take_off(len(entries))
            self._answer(entries, is_entered=True)
        self._retention.tidy(connection, time.monotonic(), time.time())
        if self._problem:
            logger.warning("parts can be recorded again")
            self._problem = ""

    def _take_off(self, count: int) -> None:
        for _ in range(count):
            self._waiting.popleft()

    def _fail(self, problem: str) -> None:
        """Keep what must be entered some time, and say of the rest that it was not."""
        if problem != self._problem:
            logger.error("parts cannot be recorded, so none is accepted: %s", problem)
        self._problem = problem
        for _ in range(len(self._waiting)):
            entry = self._waiting.popleft()
            if isinstance(entry, PartEntry) and entry.on_done is not None:
                self._answer([entry], is_entered=False)
            else:
                self._waiting.append(entry)

    def _answer(self, entries: Sequence[Entry], *, is_entered: bool) -> None:
        for entry in entries:
            if isinstance(entry, PartEntry) and entry.on_done is not None:
                self._call(partial(entry.on_done, is_entered))

    def _with_its_lot(self, entry: Entry) -> Entry:
        """Return an entry with the lot of its part's moment: an order may have become known since it was decided."""
        if not isinstance(entry, PartEntry) or entry.lot_at_s is None:
            return entry
        lot = self._orders.get(entry.record.lane, OrdersOfLane()).lots.begun_by(entry.lot_at_s)
        return entry if lot is None else replace(entry, record=replace(entry.record, lot=lot))

    def _watch_orders(self, connection: sqlite3.Connection) -> None:
        """Read the orders where something was written since; one that is being entered is found by a later reading."""
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version = version
            now_s = time.monotonic()
            reading = OrdersReading(self._alone_s, now_s, time.time() - now_s)
            self._orders = self._read_orders(connection, self._orders, reading)

    def _read_orders(
        self, connection: sqlite3.Connection, known: Mapping[str, OrdersOfLane], reading: OrdersReading | None
    ) -> dict[str, OrdersOfLane]:
        """Return the orders of each lane; those of one that was not known before have always counted."""
        found = {}
        for lane in self._lanes:
            before, since = known.get(lane, OrdersOfLane()), reading if lane in known else None
            found[lane] = OrdersOfLane(
                _steps(connection, LOT, lane, before.lots, since),
                _steps(connection, RECIPE, lane, before.recipes, since),
            )
        return found


def _steps(
    connection: sqlite3.Connection, kind: str, lane: str, before: OrderSteps, reading: OrdersReading | None
) -> OrderSteps:
    """Return what is known with this reading: also what counted only until another order that came before it."""
    passed = [] if reading is None else orders_after(connection, kind, lane, before.newest)
    for order in passed:
        before = before.found(order, reading)
    return before.found(in_force(connection, kind, lane), reading)


def _enter_missing(connection: sqlite3.Connection, lanes: Sequence[str]) -> None:
    """Enter the parts that a kill took of lanes that begin."""
    if missing := sum(enter_missing(connection, lane, time.time()) for lane in lanes):
        logger.warning("%d parts were on their way when the program was ended: they were not inspected", missing)


def _enter(connection: sqlite3.Connection, entry: Entry) -> None:
    if isinstance(entry, PartEntry):
        add_part(connection, entry.record)
        return
    part = entry.record
    row = connection.execute(_NUMBER, (part.lane, part.sequence)).fetchone()
    if row is not None:  # else the part itself was given up
        add_correction(connection, part, row["number"], entry.found, entry.events, entry.left_as)
