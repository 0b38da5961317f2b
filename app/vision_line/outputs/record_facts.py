# SPDX-License-Identifier: AGPL-3.0-or-later
"""What entries of the journal leave to the tables: an event's run, the event of an image, the interval taken back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from vision_line.outputs.contents import EventDetails, RunDetails
from vision_line.records.journal import JournalEntry, Kind

_RUN = "SELECT run_id, host, version, model_name, model_sha256, config_sha256 FROM runs WHERE run = ?"
#: One that was carried to the end held before all that is left, where no entry says otherwise.
_SIMULATOR = """SELECT body FROM journal
    WHERE (kind = 'configuration' AND key = 'section/simulator' AND number < ?1)
        OR (kind = 'carried' AND key = 'configuration/section/simulator')
    ORDER BY number < ?1 DESC, number DESC LIMIT 1"""
_EVENT = "SELECT camera, class, verdict, ended FROM events WHERE run = ? AND event_id = ?"
_MODEL = """SELECT model_name, model_sha256 FROM cameras
    WHERE run = ? AND name = ? AND recipe = ? AND model_sha256 <> '' LIMIT 1"""
_LATENCY = "SELECT latency_ms FROM detections WHERE run = ? AND camera = ? AND sequence = ? LIMIT 1"
_BEFORE = "SELECT body FROM journal WHERE kind = ? AND key = ? AND run = ? AND number < ? ORDER BY number DESC LIMIT 1"
_NEWEST_RUN = "SELECT max(run) FROM runs"
_STATES = "SELECT camera || '/' || max(change) FROM states WHERE run = ? GROUP BY camera ORDER BY camera"
_OPEN_INTERVALS = "SELECT interval_id FROM not_inspected WHERE run = ? AND ended_utc IS NULL ORDER BY interval"
_ENTRY_OF_ROW = """SELECT number, run, kind, key, at_utc, body FROM journal
    WHERE ((kind = ? AND key = ?) OR (kind = 'carried' AND key = ?)) AND run = ? ORDER BY number DESC LIMIT 1"""


class RecordFacts:
    """Asks one connection to one record file; the facts of runs are kept, as they do not change."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._runs: dict[int, RunDetails] = {}

    def run(self, entry: JournalEntry) -> RunDetails | None:
        """Return the run of an entry, None where it has none or its row is gone.

        Raises:
            sqlite3.Error: as it comes.
        """
        if entry.run not in self._runs:
            row = self._connection.execute(_RUN, (entry.run,)).fetchone()
            if row is None:
                return None
            run_id, host, version, name, model_sha256, config_sha256 = row
            facts = RunDetails(
                run_id=run_id,
                host=host,
                version=version,
                model_name=name,
                model_sha256=model_sha256,
                config_sha256=config_sha256,
                is_simulated=self._is_simulated(entry.number),
            )
            if entry.kind in {Kind.RUN, Kind.CONFIGURATION, Kind.CAMERA}:
                return facts  # the configuration comes behind them
            self._runs[entry.run] = facts
        return self._runs[entry.run]

    def _is_simulated(self, number: int) -> bool:
        row = self._connection.execute(_SIMULATOR, (number,)).fetchone()
        return row is not None and json.loads(row[0]).get("after") is not None

    def event(self, entry: JournalEntry, body: Mapping[str, object]) -> EventDetails:
        """Return what is known of the event, camera or image that an entry speaks of, and its `body` does not say.

        Raises:
            sqlite3.Error: as it comes.
        """
        if body.get("withdrawn"):
            return self._before(entry)
        if entry.kind == Kind.EVIDENCE:
            row = self._connection.execute(_EVENT, (entry.run, body["event_id"])).fetchone()
            if row is None:
                return EventDetails()
            camera, class_name, verdict, has_ended = row
            return EventDetails(camera, class_name, verdict, may_rise=not has_ended)
        if entry.kind == Kind.EVENT:
            asked = (entry.run, body["camera"], body["sequence"])
            row = self._connection.execute(_LATENCY, asked).fetchone()
            return EventDetails(latency_ms=None if row is None else row[0], model=self._model(entry.run, body))
        return EventDetails(model=self._model(entry.run, body))

    def _model(self, run: int, body: Mapping[str, object]) -> tuple[str, str] | None:
        """Return name and SHA-256 of the model that a row with camera and recipe is of; None: the run's own."""
        if not {"camera", "recipe"} <= body.keys():
            return None
        found = self._connection.execute(_MODEL, (run, body["camera"], body["recipe"])).fetchone()
        return None if found is None else tuple(found)

    def _before(self, entry: JournalEntry) -> EventDetails:
        """Return what was said of a row before it was taken back."""
        row = self._connection.execute(_BEFORE, (entry.kind, entry.key, entry.run, entry.number)).fetchone()
        body = {} if row is None else json.loads(row[0])
        return EventDetails(body.get("camera"), body.get("class"), body.get("verdict"))

    def newest_run(self) -> int:
        """Return the number of the newest run, 0 where there is none.

        Raises:
            sqlite3.Error: as it comes.
        """
        (run,) = self._connection.execute(_NEWEST_RUN).fetchone()
        return int(run or 0)

    def entries_now(self, run: int) -> tuple[list[JournalEntry], list[JournalEntry]]:
        """Return the newest state of each camera of a run, and the intervals that are open.

        Raises:
            sqlite3.Error: as it comes.
        """
        return self._entries(Kind.STATE, _STATES, run), self._entries(Kind.INTERVAL, _OPEN_INTERVALS, run)

    def _entries(self, kind: Kind, keys_sql: str, run: int) -> list[JournalEntry]:
        keys = [str(row[0]) for row in self._connection.execute(keys_sql, (run,))]
        rows = [self._connection.execute(_ENTRY_OF_ROW, (kind, key, f"{kind}/{key}", run)).fetchone() for key in keys]
        return [JournalEntry(*row) for row in rows if row is not None]
