# SPDX-License-Identifier: AGPL-3.0-or-later
"""Records with what is reviewed: events, near misses and audits with images and detections, and answers for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords
from tests.fakes.desk_records import writing as writing_records
from typer.testing import CliRunner, Result

from vision_line.cli.main import cli
from vision_line.records.directory import write_stored
from vision_line.reviews.answer import Answer, ItemKey, ItemKind, LineCall, ReviewedBox, ReviewVerdict
from vision_line.reviews.answer_journal import append_answer
from vision_line.reviews.reviews_file import writing as writing_reviews

SIZE_WH = (64, 48)
Edges = tuple[float, float, float, float]
BOX: Edges = (8.0, 8.0, 24.0, 20.0)


def drawn_image(seed: int, size_wh: tuple[int, int] = SIZE_WH, boxes: Sequence[Edges] = ()) -> bytes:
    """Return a JPEG of noise with dark boxes; another one for each seed."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(120, 255, (size_wh[1], size_wh[0], 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        pixels[int(y1) : int(y2), int(x1) : int(x2)] = 10
    written, data = cv2.imencode(".jpg", pixels)
    assert written
    return bytes(data)


@dataclass
class ReviewedRecords:
    """Adds items to one run, and what people say of them; the number of an item is the sequence of its frame."""

    records: DeskRecords
    run: int
    run_id: str
    size_wh: tuple[int, int] = SIZE_WH

    def event(
        self,
        n: int,
        at_s: float,
        *,
        camera: str = "cam",
        frame: int | None = None,
        image: bytes | None = None,
        **other: Any,
    ) -> ItemKey:
        """Add an event, shown by `frame`; `image` None: without one."""
        width, height = self.size_wh
        shown = n if frame is None else frame
        columns = {"verdict": "reject", "class": "open", "score": 0.8, "top_score": 0.8, "hits": 9, **other}
        edges = columns.pop("box", BOX)
        columns |= dict(zip(("x1", "y1", "x2", "y2"), edges, strict=True))
        self.records.insert(
            "events",
            **self._of(camera),
            event_id=f"event {n}",
            phase="end",
            ended=1,
            width=width,
            height=height,
            sequence=shown,
            confirmed_sequence=shown,
            picture_sequence=shown,
            **self._times(at_s),
            **columns,
        )
        self.detection(shown, at_s, camera, str(columns["class"]), float(str(columns["score"])), edges, f"event {n}")
        if image is not None:
            path = f"evidence/2026-11-28/{camera}/{n}.jpg"
            stored = self._stored("evidence", path, image)
            self.records.insert("evidence", run=self.run, event_id=f"event {n}", created_utc=BEGAN_UTC, **stored)
        return ItemKey(ItemKind.EVENT, self.run_id, f"event {n}")

    def detection(
        self, n: int, at_s: float, camera: str, class_name: str, score: float, edges: Edges, event_id: str | None = None
    ) -> None:
        """Add a detection to the frame `n`."""
        width, height = self.size_wh
        self.records.insert(
            "detections",
            **self._of(camera),
            sequence=n,
            arrived_utc=BEGAN_UTC + at_s,
            arrived_s=at_s,
            score=score,
            width=width,
            height=height,
            event_id=event_id,
            latency_ms=1.0,
            **{"class": class_name},
            **dict(zip(("x1", "y1", "x2", "y2"), edges, strict=True)),
        )

    def near_miss(self, n: int, at_s: float, *, image: bytes | None = None, **other: Any) -> ItemKey:
        """Add a near miss."""
        width, height = self.size_wh
        columns = {"class": "open", "score": 0.6, "hits": 2, "probability": 1.0, "camera": "cam", **other}
        edges = columns.pop("box", BOX)
        columns |= dict(zip(("x1", "y1", "x2", "y2"), edges, strict=True))
        self.records.insert(
            "near_misses",
            **{**self._of(""), **columns},
            near_miss_id=f"near {n}",
            width=width,
            height=height,
            sequence=n,
            **self._times(at_s),
            **self._review(n, image),
        )
        return ItemKey(ItemKind.NEAR_MISS, self.run_id, f"near {n}")

    def audit(
        self,
        n: int,
        at_s: float,
        *,
        image: bytes | None = None,
        found: Sequence[tuple[str, float, Edges]] = (),
        probability: float = 0.01,
        camera: str = "cam",
    ) -> ItemKey:
        """Add an audited frame with what was found in it."""
        width, height = self.size_wh
        self.records.insert(
            "audits",
            **self._of(camera),
            sequence=n,
            arrived_utc=BEGAN_UTC + at_s,
            arrived_s=at_s,
            probability=probability,
            detections=json.dumps([{"class": name, "score": score, "box": edges} for name, score, edges in found]),
            width=width,
            height=height,
            **self._review(n, image),
        )
        return ItemKey(ItemKind.AUDIT, self.run_id, f"{camera}/{n}")

    def _of(self, camera: str) -> dict[str, object]:
        return {"run": self.run, "camera": camera, "station": "line 1", "recipe": ""}

    def _times(self, at_s: float) -> dict[str, float]:
        return {
            "first_seen_utc": BEGAN_UTC + at_s,
            "first_seen_s": at_s,
            "last_seen_utc": BEGAN_UTC + at_s + 3,
            "last_seen_s": at_s + 3,
        }

    def _review(self, n: int, image: bytes | None) -> dict[str, object]:
        if image is None:
            return {"bytes": 0, "created_utc": BEGAN_UTC, "missing": "not drawn"}
        return {**self._stored("review", f"review/2026-11-28/cam/{n}.jpg", image), "created_utc": BEGAN_UTC}

    def _stored(self, folder: str, path: str, image: bytes) -> dict[str, object]:
        write_stored(self.records.directory, folder, {path: image})
        return {"path": path, "sha256": hashlib.sha256(image).hexdigest(), "bytes": len(image)}


@contextmanager
def reviewed_records(directory: Path, *, until_s: float = 36_000.0, **run: object) -> Iterator[ReviewedRecords]:
    """Yield what adds items to a run of one camera."""
    directory.mkdir(exist_ok=True)
    with writing_records(directory) as records:
        number = records.run(0.0, until_s, "cam")
        (run_id,) = records.connection.execute("SELECT run_id FROM runs WHERE run = ?", (number,)).fetchone()
        for column, value in run.items():
            records.connection.execute(f"UPDATE runs SET {column} = ? WHERE run = ?", (value, number))
        yield ReviewedRecords(records, number, run_id)


def answer_all(directory: Path, answers: Iterable[Answer]) -> None:
    """Enter many answers at once."""
    with writing_reviews(directory) as connection:
        for one in answers:
            append_answer(connection, one)


def answer(directory: Path, item: ItemKey, verdict: str = "confirmed", by: str = "anna", **other: Any) -> None:
    """Enter what a person says; `boxes` as (class, x1, y1, x2, y2)."""
    boxes = other.pop("boxes", None)
    given = None if boxes is None else tuple(ReviewedBox(*box) for box in boxes)
    call = LineCall("reject", other.pop("call_class", "open"), 0.8)
    with writing_reviews(directory) as connection:
        append_answer(
            connection,
            Answer(item=item, person=by, verdict=ReviewVerdict(verdict), boxes=given, **{"call": call, **other}),
        )


def many(records: ReviewedRecords, count: int = 20) -> None:
    """Add events, each in a block of its own, and a clean audit: each fourth overruled, the first of another class."""
    directory = records.records.directory
    for n in range(1, count + 1):
        item = records.event(n, 600.0 * n + 300, image=drawn_image(n, boxes=[BOX]))
        answer(directory, item, "overruled" if n % 4 == 0 else "confirmed", class_name="short" if n == 1 else None)
    answer(directory, records.audit(count + 1, 100, image=drawn_image(count + 1)), boxes=[])


def export(records: ReviewedRecords, output: Path, *options: str) -> Result:
    """Run `vision-line reviews export`."""
    return CliRunner().invoke(
        cli, ["reviews", "export", f"--record={records.records.directory}", f"-o{output}", *options]
    )
