# SPDX-License-Identifier: AGPL-3.0-or-later
"""A central database as many boxes leave it, made in the database itself, and the sums that are true of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from vision_line.central.schema_steps import bring_up_to_date

DAY_S = 86_400
#: A run's number is its box's times this, and its own.
_OWN = 2**40
#: Gaps and changes of state of a camera, a day; seconds of a gap.
GAPS_A_DAY, GAP_S, STATES_A_DAY = 2, 20.0, 20
#: Settings that each run's journal carries.
_SETTINGS_A_RUN = 50
#: So long a part of a challenge is at the first camera of the first box, until the end, in seconds.
CHALLENGED_S = 600.0


@dataclass(frozen=True, slots=True)
class PlantSize:
    """How much there is, until `until_utc`, a full minute. `events` and `parts` are of all boxes."""

    boxes: int
    cameras: int
    days: int
    hours: int
    events: int
    parts: int
    until_utc: float
    frames_a_minute: int = 1500

    @property
    def since_utc(self) -> float:
        """When the first run began."""
        return self.until_utc - self.days * DAY_S

    def box(self, number: int) -> str:
        """Return what a box is called; they count from 1, and so do its cameras."""
        return f"hall-{number:02}"

    def camera(self, box: int, number: int) -> str:
        """Return what a camera is called among all."""
        return f"{self.box(box)}:cam{number:02}"

    def iso(self, utc: float) -> str:
        """Return a moment as an address has it."""
        return datetime.fromtimestamp(utc, UTC).isoformat().replace("+00:00", "Z")

    def missing_s(self, since_utc: float, until_utc: float) -> float:
        """Return how much of a time each camera was not inspected; no border of it lies in a gap."""
        every = (
            self.since_utc + DAY_S * day + DAY_S / GAPS_A_DAY * (n + 0.5)
            for day in range(self.days)
            for n in range(GAPS_A_DAY)
        )
        return GAP_S * sum(since_utc <= begins < until_utc for begins in every)

    def states_in(self, seconds: float) -> int:
        """Return how many changes of state each camera had in the newest time: one every so many seconds."""
        return int(seconds * STATES_A_DAY / DAY_S + 0.5)

    def events_of(self, box: int | None = None, camera: int | None = None) -> int:
        """Return the events of all, of a box, or of one of its cameras."""
        return len(self._events(box, camera))

    def products_of(self, box: int | None = None, camera: int | None = None) -> int:
        """Return the same without those of the challenge."""
        begins_utc = self.until_utc - CHALLENGED_S
        is_its = box in (None, 1) and camera in (None, 1)
        challenged = self._events(1, 1) if is_its else []
        return self.events_of(box, camera) - sum(self._seen_utc(i) >= begins_utc for i in challenged)

    def _events(self, box: int | None, camera: int | None) -> list[int]:
        return [
            i
            for i in range(self.events)
            if (box is None or i % self.boxes + 1 == box)
            and (camera is None or i // self.boxes % self.cameras + 1 == camera)
        ]

    def _seen_utc(self, event: int) -> float:
        return self.until_utc - (event + 0.5) * (self.days * DAY_S / self.events)


def fill(url: str, size: PlantSize) -> None:
    """Make the tables and fill them."""
    with psycopg.connect(url, autocommit=True) as connection:
        bring_up_to_date(connection, is_new=True)
        for day in range(size.days + 1):
            for table in ("events", "coverage"):
                connection.execute("SELECT plant.ensure_month(%s, %s)", (table, size.until_utc - day * DAY_S))
        values = {
            **{name: getattr(size, name) for name in ("boxes", "cameras", "days", "hours", "events", "parts")},
            "until": size.until_utc,
            "since": size.since_utc,
            "own": _OWN,
            "day": float(DAY_S),
            "frames": size.frames_a_minute,
            "gaps": GAPS_A_DAY,
            "gap": GAP_S,
            "changes": STATES_A_DAY,
            "settings": _SETTINGS_A_RUN,
            "challenge": json.dumps(_challenge(size)),
            "part": json.dumps({"at_utc": size.until_utc - CHALLENGED_S, "challenge": 1}),
        }
        for statement in _STATEMENTS:
            connection.execute(statement.encode(), values)
        connection.execute("VACUUM ANALYZE")


def _challenge(size: PlantSize) -> dict[str, object]:
    """Return what begins a challenge with one part, at the first camera of the first box."""
    return {
        "at_utc": size.until_utc - CHALLENGED_S,
        "cameras": ["cam01"],
        "travel_s": 0.0,
        "longest_pass_s": CHALLENGED_S,
        "passes": [{"part": "p1"}],
    }


_STATEMENTS = (
    """INSERT INTO plant.nodes
        (node, host, directory, version, added_utc, seen_utc, box_utc, database_utc, clock_offset_s)
    SELECT 'hall-' || lpad(n::text, 2, '0'), 'host', '/records', '0.1.0', %(since)s, %(until)s, 0, 0, 0
    FROM generate_series(1, %(boxes)s) n""",
    """INSERT INTO plant.shipment SELECT node, 'records', 10 * %(events)s, '', %(until)s, %(until)s, 1
    FROM plant.nodes""",
    """INSERT INTO records.runs (run, node, run_id, version, started_utc, ended_utc, alive_utc, config_sha256,
        model_name, model_sha256, precision, device, host, classes, evidence, entry)
    SELECT number * %(own)s + d, node, node || ' ' || d, '0.1.0', %(since)s + (d - 1) * %(day)s,
        CASE WHEN d < %(days)s THEN %(since)s + d * %(day)s END, %(since)s + d * %(day)s, '', 'pcb', '11', 'int8',
        'cpu', 'host', '["open", "short"]', 1, 0
    FROM plant.nodes, generate_series(1, %(days)s) d""",
    """INSERT INTO records.cameras (run, name, station, recipe, url, since_utc, settings, entry)
    SELECT run, 'cam' || lpad(k::text, 2, '0'), 'line ' || k %% 8, '', 'rtsp://***', started_utc, '{}', 0
    FROM records.runs, generate_series(1, %(cameras)s) k""",
    """INSERT INTO records.states (run, box_change, camera, station, recipe, state, detail, at_utc, at_s, entry)
    SELECT run, s * %(cameras)s + row_number() OVER (PARTITION BY run, s ORDER BY name), name, station, '',
        CASE WHEN s %% 2 = 0 AND s < %(changes)s - 1 THEN 'DEGRADED' ELSE 'RUNNING' END, '',
        since_utc + (s + 0.5) * %(day)s / %(changes)s, 0, 0
    FROM records.cameras, generate_series(0, %(changes)s - 1) s ORDER BY run, s, name""",
    """INSERT INTO records.coverage (run, camera, station, recipe, minute_utc, arrived, decoded, inspected,
        not_inspected_s, reconnects, entry)
    SELECT c.run, c.name, c.station, '', (c.since_utc + 60 * m)::bigint, %(frames)s, %(frames)s, %(frames)s, 0, 0, 0
    FROM generate_series(0, 1439) m CROSS JOIN records.cameras c
    WHERE c.since_utc + 60 * m >= %(until)s - 3600 * %(hours)s ORDER BY c.since_utc + 60 * m, c.run, c.name""",
    """INSERT INTO records.not_inspected (run, camera, station, recipe, interval_id, cause, started_utc, started_s,
        ended_utc, ended_s, entry)
    SELECT run, name, station, '', name || g, 'camera:STALE', at, at, at + %(gap)s, at + %(gap)s, 0
    FROM (SELECT *, since_utc + (g + 0.5) * %(day)s / %(gaps)s AS at
        FROM records.cameras, generate_series(0, %(gaps)s - 1) g) x ORDER BY at""",
    """INSERT INTO records.events (run, camera, station, recipe, event_id, class, verdict, phase, ended, score,
        top_score, hits, x1, y1, x2, y2, sequence, first_seen_utc, first_seen_s, last_seen_utc, last_seen_s,
        confirmed_sequence, first_entry, entry)
    SELECT (1 + i %% %(boxes)s) * %(own)s + 1 + floor((u - %(since)s) / %(day)s)::bigint,
        'cam' || lpad((1 + (i / %(boxes)s) %% %(cameras)s)::text, 2, '0'),
        'line ' || (1 + (i / %(boxes)s) %% %(cameras)s) %% 8, '', 'e' || i,
        CASE WHEN i %% 3 = 0 THEN 'open' ELSE 'short' END, CASE WHEN i %% 4 = 0 THEN 'reject' ELSE 'warn' END,
        'end', 1, 0.8, 0.9, 9, 1, 2, 3, 4, 7, u, 0, u + 3, 3, 7, 2 * i + 1, 2 * i + 2
    FROM (SELECT i, %(until)s - (i + 0.5) * (%(days)s * %(day)s / %(events)s) AS u
        FROM generate_series(0, %(events)s - 1) i) x ORDER BY u""",
    """INSERT INTO records.evidence (run, event_id, path, crop_path, sha256, crop_sha256, bytes, created_utc, entry)
    SELECT run, event_id, 'evidence/' || event_id, 'evidence/' || event_id, md5(event_id), md5(event_id), 9000,
        first_seen_utc, entry FROM records.events ORDER BY first_seen_utc""",
    """INSERT INTO records.journal (number, node, run, kind, key, at_utc, body, digest)
    SELECT (r.run / %(own)s) * %(own)s + 1000000000 + (r.run %% %(own)s) * 1000 + s, r.node, r.run, 'configuration',
        'camera/' || s, r.started_utc, '{"before": null, "after": {"fps": 5}, "why": "start"}', ''
    FROM records.runs r, generate_series(1, %(settings)s) s""",
    """INSERT INTO parts.parts (number, node, lane, sequence, part_id, lot, recipe, triggered_utc, decided_utc,
        verdict, cause, inspections, run_id, is_simulated)
    SELECT n.number * %(own)s + 100 + i, n.node, 'lane-1', i, n.node || i, 'L-' || i / 500, '', t, t + 1,
        CASE WHEN i %% 50 = 0 THEN 'reject' WHEN i %% 49 = 0 THEN 'not_inspected' ELSE 'accept' END,
        CASE WHEN i %% 50 <> 0 AND i %% 49 = 0 THEN 'gap' ELSE '' END, 5, n.node || ' ' || %(days)s, 0
    FROM (SELECT i, %(until)s - 3600.0 * %(hours)s * (1 - (i + 0.5) / (%(parts)s / %(boxes)s)) AS t
        FROM generate_series(0, %(parts)s / %(boxes)s - 1) i) x CROSS JOIN plant.nodes n ORDER BY t""",
    """INSERT INTO parts.journal (number, node, kind, key, at_utc, body, digest)
    SELECT number, node, 'part', lane || '/' || sequence, decided_utc,
        '{"inspections": {"cam01": 5, "cam02": 6, "cam03": 5}, "window_utc": [1.5, 2.5], "events": []}', ''
    FROM parts.parts ORDER BY number""",
    """INSERT INTO parts.lots SELECT DISTINCT ON (node, lot) number, node, lane, lot, triggered_utc
    FROM parts.parts ORDER BY node, lot, triggered_utc""",
    """INSERT INTO reviews.journal SELECT number * %(own)s + 1, node, 'challenge_begun', '1', %(until)s,
        %(challenge)s, '' FROM plant.nodes WHERE number = 1""",
    """INSERT INTO reviews.journal SELECT number * %(own)s + 2, node, 'challenge_part', '1', %(until)s,
        %(part)s, '' FROM plant.nodes WHERE number = 1""",
)
