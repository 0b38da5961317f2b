# SPDX-License-Identifier: AGPL-3.0-or-later
"""Records of a shift as a line of many cameras leaves them: minutes, gaps, events with JPEG images, the week before."""

from __future__ import annotations

import hashlib
import random
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import cv2
import numpy as np
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords, writing

from vision_line.records.journal import Kind
from vision_line.records.schema import transaction
from vision_line.records.seal import Sealer

BERLIN = ZoneInfo("Europe/Berlin")
#: The early shift of a Saturday in November begins, as `DeskRecords` counts.
SHIFT_S = datetime(2026, 11, 28, 6, tzinfo=BERLIN).timestamp() - BEGAN_UTC
SHIFT_HOURS = 8
DAY_S = 86_400.0
SETTINGS = {"timezone": "Europe/Berlin", "start": ["06:00", "14:00", "22:00"], "names": []}
_CLASSES = ("open", "short", "mouse_bite", "spur")


def made_shift(directory: Path, cameras: int = 16, events: int = 500, *, images: bool = True) -> None:
    """Write a shift of 8 hours with `events` after seven days with an event an hour and camera.

    The last camera is blind in the shift; another one lacked 600.125 s of it. Every event of the shift is a reject or,
    one in five, a warning.
    """
    names = [f"cam{number:02}" for number in range(1, cameras + 1)]
    chance = random.Random(7)
    with writing(directory) as rows:
        run = rows.run(SHIFT_S - 7 * DAY_S, SHIFT_S + SHIFT_HOURS * 3600.0, *names)
        with transaction(rows.connection):
            _minutes(rows, run, names)
            for name in names:
                for hour in range(7 * 24):
                    _event(rows, run, name, SHIFT_S - 7 * DAY_S + 3600.0 * (hour + chance.random()), f"{name}-{hour}")
        rows.gap(run, names[0], "camera:STALE", SHIFT_S + 3600.0, SHIFT_S + 4200.125)
        rows.gap(run, names[1], "capacity", SHIFT_S - 30.0, SHIFT_S + 12.5)
        with transaction(rows.connection):
            said = {"before": None, "after": SETTINGS, "why": "start"}
            rows.connection.journal.append(Kind.CONFIGURATION, "section/shifts", said, run)
            seen = [SHIFT_S + SHIFT_HOURS * 3600.0 * chance.random() for _ in range(events)]
            for number, at_s in enumerate(seen):
                name = names[number % max(1, cameras - 1)]
                _event(
                    rows, run, name, at_s, f"e{number}", _CLASSES[number % 7 % 4], "reject" if number % 5 else "warn"
                )
            Sealer().seal(rows.connection.journal, run)
        if images:
            _images(rows, run, events, np.random.default_rng(7))


def _minutes(rows: DeskRecords, run: int, names: list[str]) -> None:
    begins = int(BEGAN_UTC + SHIFT_S)
    values = [
        (run, name, begins + 60 * minute, 60.0 if name == names[0] and 60 <= minute < 70 else 0.0)
        for name in names
        for minute in range(60 * SHIFT_HOURS)
    ]
    rows.connection.executemany(
        """INSERT INTO coverage (run, camera, station, recipe, minute_utc, arrived, decoded, inspected,
        not_inspected_s, reconnects) VALUES (?, ?, 'line 1', 'A', ?, 1500, 1500, 1500, ?, 0)""",
        values,
    )


def _event(
    rows: DeskRecords, run: int, name: str, at_s: float, event_id: str, class_name: str = "open", verdict: str = "warn"
) -> None:
    moments = (BEGAN_UTC + at_s, at_s, BEGAN_UTC + at_s + 3, at_s + 3)
    rows.connection.execute(
        """INSERT INTO events (run, camera, station, recipe, event_id, class, verdict, phase, ended, score, top_score,
        hits, x1, y1, x2, y2, width, height, sequence, confirmed_sequence, first_seen_utc, first_seen_s, last_seen_utc,
        last_seen_s) VALUES (?, ?, 'line 1', 'A', ?, ?, ?, 'end', 1, 0.75, 0.9, 9, 1, 2, 30, 40, 640, 360, 7, 7,
        ?, ?, ?, ?)""",
        (run, name, event_id, class_name, verdict, *moments),
    )


def _images(rows: DeskRecords, run: int, events: int, noise: np.random.Generator) -> None:
    """Give each event of the shift an enlarged image of its own, as large as real ones are."""
    folder = rows.directory / "evidence" / "2026-11-28"
    folder.mkdir(parents=True)
    with transaction(rows.connection):
        for number in range(events):
            coarse = noise.integers(0, 255, (40, 54, 3), np.uint8)
            grain = noise.integers(0, 12, (480, 640, 3), np.uint8)
            board = cv2.add(cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC), grain)
            data = cv2.imencode(".jpg", board, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
            path = f"evidence/2026-11-28/{number}.crop.jpg"
            (rows.directory / path).write_bytes(data)
            rows.connection.execute(
                """INSERT INTO evidence (run, event_id, path, overlay_path, crop_path, sha256, overlay_sha256,
                crop_sha256, bytes, created_utc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                (run, f"e{number}", *[path] * 3, *[hashlib.sha256(data).hexdigest()] * 3, len(data), BEGAN_UTC),
            )
