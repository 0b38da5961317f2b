# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rows of a record file, written by a writer's own connection: what a desk is to show."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vision_line.records.directory import write_stored
from vision_line.records.schema import FILE_NAME, RecordConnection, open_writer, transaction

#: A Saturday, 20:00 in UTC.
BEGAN_UTC = 1_795_896_000.0


@dataclass
class DeskRecords:
    """Adds rows; the monotonic clock was 0 at `BEGAN_UTC`."""

    directory: Path
    connection: RecordConnection

    def insert(self, table: str, **values: object) -> int:
        """Insert a row and return its number."""
        names = ", ".join(values)
        sql = f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(values))})"
        with transaction(self.connection):
            number = self.connection.execute(sql, tuple(values.values())).lastrowid
        assert number is not None
        return number

    def run(
        self,
        since_s: float,
        until_s: float | None,
        *cameras: str,
        alive_s: float | None = None,
        of_fleet: tuple[str, str] = ("", ""),
    ) -> int:
        """Add a run; None: it goes on, and accounts for its cameras until `alive_s`. `of_fleet`: node and fleet."""
        alive = until_s if alive_s is None else alive_s
        run = self.insert(
            "runs",
            run_id=f"run at {since_s}",
            version="0.1.0",
            started_utc=BEGAN_UTC + since_s,
            ended_utc=None if until_s is None else BEGAN_UTC + until_s,
            alive_utc=None if alive is None else BEGAN_UTC + alive,
            config_sha256="0" * 64,
            model_name="pcb",
            model_sha256="1" * 64,
            precision="int8",
            device="cpu",
            host="box",
            classes='["open", "short"]',
            evidence=1,
            node=of_fleet[0],
            fleet=of_fleet[1],
        )
        for name in cameras:
            self.camera(run, name, since_s)
        return run

    def camera(
        self,
        run: int,
        name: str,
        since_s: float,
        url: str = "rtsp://***@10.0.0.1/1",
        recipe: str = "",
        model: tuple[str, str] = ("", ""),
        epoch: int = 0,
        inspected_s: float | None = None,
    ) -> None:
        """Add what was configured of a camera; `model` is name and SHA-256 of the one that inspects it.

        Of a camera that boxes share: `epoch` of the plan, and when it was inspected first.
        """
        values: dict[str, object] = {
            "station": "line 1",
            "recipe": recipe,
            "url": url,
            "since_utc": BEGAN_UTC + since_s,
        }
        values |= {"model_name": model[0], "model_sha256": model[1], "epoch": epoch}
        values |= {"inspected_utc": None if inspected_s is None else BEGAN_UTC + inspected_s}
        self.insert("cameras", run=run, name=name, settings='{"reject_threshold":0.5}', **values)

    def gap(self, run: int, camera: str, cause: str, since_s: float, until_s: float | None) -> int:
        """Add an interval that was not inspected; None: it goes on."""
        return self.insert(
            "not_inspected",
            **self._of(run, camera),
            interval_id=f"{camera} {since_s}",
            cause=cause,
            started_utc=BEGAN_UTC + since_s,
            started_s=since_s,
            ended_utc=None if until_s is None else BEGAN_UTC + until_s,
            ended_s=until_s,
        )

    def minute(self, run: int, camera: str, at_s: float, inspected: int, missing_s: float = 0.0) -> int:
        """Add a minute of the ledger."""
        return self.insert(
            "coverage",
            **self._of(run, camera),
            minute_utc=int(BEGAN_UTC + at_s),
            arrived=100,
            decoded=100,
            inspected=inspected,
            dropped_superseded=100 - inspected,
            not_inspected_s=missing_s,
            reconnects=0,
        )

    def state(self, run: int, camera: str, state: str, at_s: float, code: str | None = None, detail: str = "") -> int:
        """Add a change of a camera's state."""
        values = {"state": state, "code": code, "detail": detail, "at_utc": BEGAN_UTC + at_s, "at_s": at_s}
        return self.insert("states", **self._of(run, camera), **values)

    def event(
        self,
        run: int,
        camera: str,
        at_s: float,
        *,
        class_name: str = "open",
        verdict: str = "reject",
        station: str = "line 1",
        recipe: str = "",
    ) -> int:
        """Add an event without an image."""
        (number,) = self.connection.execute("SELECT coalesce(max(event), 0) + 1 FROM events").fetchone()
        return self.insert(
            "events",
            **{**self._of(run, camera), "station": station, "recipe": recipe, "class": class_name},
            event_id=f"event {number}",
            verdict=verdict,
            phase="end",
            ended=1,
            score=0.75,
            top_score=0.9,
            hits=9,
            x1=1.0,
            y1=2.0,
            x2=30.0,
            y2=40.0,
            width=640,
            height=360,
            sequence=7,
            first_seen_utc=BEGAN_UTC + at_s,
            first_seen_s=at_s,
            last_seen_utc=BEGAN_UTC + at_s + 3,
            last_seen_s=at_s + 3,
            confirmed_sequence=7,
        )

    def images(self, event: int, content: bytes, *, path: str = "", exact: bool = False) -> None:
        """Add an event's images; with `path`, only a row that names that file. `exact`: the same image thrice."""
        paths = [path or f"evidence/2026-11-28/cam/{event}.{name}jpg" for name in ("", "overlay.", "crop.")]
        contents = [content + name for name in (b"", b" overlay" * (not exact), b" crop" * (not exact))]
        if not path:
            write_stored(self.directory, "evidence", dict(zip(paths, contents, strict=True)))
        run, event_id = self.connection.execute("SELECT run, event_id FROM events WHERE event = ?", (event,)).fetchone()
        self.insert(
            "evidence",
            run=run,
            event_id=event_id,
            bytes=1,
            created_utc=BEGAN_UTC,
            **dict(zip(("path", "overlay_path", "crop_path"), paths, strict=True)),
            **dict(zip(("sha256", "overlay_sha256", "crop_sha256"), map(_sha256, contents), strict=True)),
        )

    def near_miss(self, run: int, camera: str, at_s: float, content: bytes | None = None, **other: object) -> int:
        """Add a near miss with its image; without `content` it was not drawn."""
        (number,) = self.connection.execute("SELECT coalesce(max(near_miss), 0) + 1 FROM near_misses").fetchone()
        values: dict[str, object] = {
            "class": "open",
            "score": 0.4,
            "hits": 1,
            "x1": 1.0,
            "y1": 2.0,
            "x2": 30.0,
            "y2": 40.0,
            "near_miss_id": f"near miss {number}",
            "sequence": 5,
            "probability": 0.5,
            "first_seen_utc": BEGAN_UTC + at_s,
            "first_seen_s": at_s,
            "last_seen_utc": BEGAN_UTC + at_s + 1,
            "last_seen_s": at_s + 1,
        }
        return self.insert(
            "near_misses",
            **values,
            **self._review_image(f"n{number}", content),
            **{**self._of(run, camera), "missing": None if content else "not drawn", **other},
        )

    def audit(self, run: int, camera: str, at_s: float, content: bytes | None = None, **other: object) -> int:
        """Add an audited frame; without `content` its image could not be kept."""
        (number,) = self.connection.execute("SELECT coalesce(max(audit), 0) + 1 FROM audits").fetchone()
        values: dict[str, object] = {
            "sequence": 100 + number,
            "arrived_utc": BEGAN_UTC + at_s,
            "arrived_s": at_s,
            "probability": 0.01,
            "detections": "[]",
            "missing": None if content else "the disk was full",
        }
        return self.insert(
            "audits", **self._of(run, camera), **self._review_image(f"a{number}", content), **{**values, **other}
        )

    def _review_image(self, name: str, content: bytes | None) -> dict[str, object]:
        size: dict[str, object] = {"width": 640, "height": 360, "created_utc": BEGAN_UTC}
        if content is None:
            return {**size, "bytes": 0}
        path = f"review/2026-11-28/cam/{name}.jpg"
        write_stored(self.directory, "review", {path: content})
        return {**size, "path": path, "sha256": _sha256(content), "bytes": len(content)}

    def clip(self, run: int, camera: str, event: int, content: bytes) -> int:
        """Add a clip that shows an event."""
        path = f"clips/2026-11-28/{camera}/{event}.mp4"
        write_stored(self.directory, "clips", {path: content})
        return self.insert(
            "clips",
            **self._of(run, camera),
            clip_id=f"clip {event}",
            events=f'["event {event}"]',
            begins_utc=BEGAN_UTC,
            begins_s=0.0,
            ends_utc=BEGAN_UTC + 9,
            ends_s=9.0,
            codec="h264",
            frames=225,
            reencoded=0,
            note="",
            path=path,
            sha256=_sha256(content),
            bytes=len(content),
            created_utc=BEGAN_UTC,
        )

    def _of(self, run: int, camera: str) -> dict[str, object]:
        return {"run": run, "camera": camera, "station": "line 1", "recipe": ""}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def writing(directory: Path) -> Iterator[DeskRecords]:
    """Yield what adds rows to the record file of `directory`."""
    connection = open_writer(directory / FILE_NAME)
    try:
        yield DeskRecords(directory, connection)
    finally:
        connection.close()
