# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clips: what a camera sent around an event, whole and on the disk before its row, or a row that says why not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from tests.fakes.rtsp.raw_server import Unit, encode

from vision_line.encoded import EncodedFrame
from vision_line.frames import DefectEvent, EventPhase, Verdict
from vision_line.records.clips import recorder
from vision_line.records.clips.nal_units import byte_stream, split_units
from vision_line.records.clips.ring import Ring
from vision_line.records.entries import CameraRecord
from vision_line.records.log import SqliteLog
from vision_line.records.reconciliation import reconcile_files
from vision_line.records.schema import FILE_NAME, open_reader, open_writer, transaction

from .conftest import OpenClips
from .test_journal import verified

FPS = 25
Row = dict[str, Any]
Rows = list[Row]


class Sender:
    """Sends the frames of a video into a ring, as its camera's thread does, at their pace or in the past."""

    type = "video"

    def __init__(self, ring: Any, units: Sequence[Unit], codec: str = "h264") -> None:
        self.codec_context: Any = av.CodecContext.create(codec, "r")
        self._ring = ring
        self._data = [b"".join(b"\0\0\0\1" + unit for unit in nals) for nals in units]
        self.sent: list[tuple[float, bytes]] = []

    def send(self, count: int, until_s: float, *, group: int = 25, damaged: frozenset[int] = frozenset()) -> None:
        """Send the video's first `count` frames; the last one arrives at `until_s`."""
        for number in range(count):
            at_s = until_s - (count - 1 - number) / FPS
            data = self._data[number % len(self._data)]
            packet: av.Packet[Any] = av.Packet(data)
            key, torn = number % group == 0, number in damaged
            self._ring.saw(EncodedFrame(packet, self, key, at_s, at_s + time.time() - time.monotonic(), damaged=torn))
            self.sent.append((at_s, data))


def change(name: str, first_s: float, last_s: float, phase: EventPhase = EventPhase.NEW, **more: Any) -> DefectEvent:
    offset_s = time.time() - time.monotonic()
    times = (first_s, first_s + offset_s, last_s, last_s + offset_s)
    verdict = more.get("verdict", Verdict.REJECT)
    return DefectEvent(name, phase, "cam01", 1, "short", verdict, 0.9, 0.9, (1, 2, 30, 40), 3, 3, *times)


Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture(scope="module")
def units() -> list[Unit]:
    """Four seconds of H.264 with a keyframe every second."""
    return encode(frames=100)


def rows_of(records: Path) -> Rows:
    with closing(open_reader(records)) as connection:
        return [dict(row) for row in connection.execute("SELECT * FROM clips ORDER BY clip")]


def written(records: Path, wait_until: Wait, count: int = 1) -> Rows:
    wait_until(lambda: len(rows_of(records)) >= count)
    return rows_of(records)


def units_in(path: Path, codec: str = "h264") -> list[list[bytes]]:
    """Return the NAL units of each frame of a clip."""
    with av.open(str(path)) as source:
        header = bytes(source.streams.video[0].codec_context.extradata or b"")
        return [split_units(byte_stream(codec, header, bytes(one))) for one in source.demux(video=0) if one.size]


def frames_in(path: Path) -> int:
    with av.open(str(path)) as source:
        return sum(1 for _ in source.decode(video=0))


def ended(log: SqliteLog, name: str, first_s: float, last_s: float, **more: Any) -> None:
    log.write_events([change(name, first_s, first_s, **more), change(name, first_s, last_s, EventPhase.END, **more)])


def tapped(log: SqliteLog) -> Ring:
    ring = log.tap_for("cam01")
    assert isinstance(ring, Ring)
    return ring


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_a_clip_has_what_the_camera_sent(open_clips: OpenClips, records: Path, wait_until: Wait, codec: str) -> None:
    """From the keyframe before the pre-roll to the end of the post-roll, byte for byte, each frame at its time."""
    log, units = open_clips(), encode(codec, frames=100)
    now_s = time.monotonic()
    sender = Sender(tapped(log), units, codec)
    sender.send(100, now_s)  # the first one 3.96 s ago
    ended(log, "e1", now_s - 2.0, now_s - 1.0)
    (row,) = written(records, wait_until)

    path = records / row["path"]
    assert row["path"].startswith("clips/20")
    assert path.name == "1-e1.mp4"
    assert (row["missing"], row["note"], row["codec"], row["reencoded"]) == (None, "", codec, 0)
    assert (json.loads(row["events"]), row["station"]) == (["e1"], "press 4")
    assert (row["sha256"], row["bytes"]) == (sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
    begins = next(n for n in range(0, 100, 25) if sender.sent[n + 25][0] > now_s - 3.0)
    asked = [data for at_s, data in sender.sent[begins:] if at_s <= now_s - 0.5]
    assert units_in(path, codec) == [split_units(data) for data in asked]
    assert row["frames"] == len(asked) == frames_in(path)
    assert row["begins_s"] == sender.sent[begins][0]
    assert row["ends_s"] - row["begins_s"] == pytest.approx((len(asked) - 1) / FPS)
    with av.open(str(path)) as source:
        times = [frame.time for frame in source.decode(video=0)]
    assert times == pytest.approx([number / FPS for number in range(len(asked))], abs=1e-4)
    log.close()
    found = verified(records, images=True).images
    assert found is not None
    assert found.clips == 1


def test_events_that_overlap_are_one_clip_and_mild_ones_none(
    open_clips: OpenClips, records: Path, units: list[Unit], wait_until: Wait
) -> None:
    """It shows both, from before the first to after the last."""
    log = open_clips(verdict="reject")
    now_s = time.monotonic()
    Sender(tapped(log), units).send(100, now_s)
    log.write_events([change("a", now_s - 2.0, now_s - 2.0)])
    ended(log, "mild", now_s - 2.0, now_s - 1.9, verdict=Verdict.WARN)
    log.write_events([change("b", now_s - 1.5, now_s - 1.5), change("a", now_s - 2.0, now_s - 1.4, EventPhase.END)])
    log.write_events([change("b", now_s - 1.5, now_s - 1.2, EventPhase.END)])
    (row,) = written(records, wait_until)
    assert json.loads(row["events"]) == ["a", "b"]
    assert row["ends_s"] == pytest.approx(now_s - 0.7, abs=1 / FPS)


def test_holes_and_a_late_beginning_are_said(
    open_clips: OpenClips, records: Path, units: list[Unit], wait_until: Wait
) -> None:
    """Damaged frames, and those that refer to them, are left out."""
    log = open_clips()
    now_s = time.monotonic()
    Sender(tapped(log), units).send(100, now_s, damaged=frozenset({45}))
    ended(log, "late", now_s - 3.9, now_s - 1.0)
    (row,) = written(records, wait_until)
    assert row["note"].startswith("begins 0.9")
    assert "5 frames are missing in it" in row["note"]
    assert row["frames"] == frames_in(records / row["path"])


def test_over_a_reconnection_and_with_other_parameters_a_clip_goes_on_in_another(
    open_clips: OpenClips, records: Path, units: list[Unit], wait_until: Wait
) -> None:
    """Each file plays by itself, and says that there is another."""
    log = open_clips()
    now_s = time.monotonic()
    first, second = (Sender(tapped(log), units) for _ in range(2))
    first.send(50, now_s - 2.0)
    second.send(25, now_s - 1.0)
    larger = encode(frames=25, size_wh=(320, 192))
    second._data = [b"".join(b"\0\0\0\1" + unit for unit in nals) for nals in larger]
    second.send(25, now_s)
    ended(log, "e1", now_s - 2.5, now_s - 0.6)
    rows = written(records, wait_until, 3)
    assert [row["clip_id"] for row in rows] == ["e1", "e1-2", "e1-3"]
    assert rows[0]["note"] == "ends where the connection was lost, and goes on in another clip"
    assert rows[1]["note"] == (
        "goes on from another clip; ends where the video's parameters changed, and goes on in another clip"
    )
    assert [frames_in(records / row["path"]) for row in rows] == [row["frames"] for row in rows]
    assert all(json.loads(row["events"]) == ["e1"] for row in rows)


def test_other_codecs_are_encoded_anew(open_clips: OpenClips, records: Path, line: Any, wait_until: Wait) -> None:
    """MJPEG is no video for MP4; the row says that the frames are not as they were sent."""
    log = open_clips()
    now_s = time.monotonic()
    _, data = cv2.imencode(".jpg", line.frame_data((158, 98)).to_ndarray(format="bgr24")[:97, :157])
    sender = Sender(tapped(log), [], "mjpeg")
    sender._data = [data.tobytes()]
    sender.send(100, now_s, group=1)
    ended(log, "e1", now_s - 2.0, now_s - 1.0)
    (row,) = written(records, wait_until)
    assert (row["codec"], row["reencoded"], row["missing"]) == ("h264", 1, None)
    assert row["frames"] == frames_in(records / row["path"])
    with av.open(str(records / row["path"])) as source:
        assert (source.streams.video[0].width, source.streams.video[0].height) == (158, 98)


def test_damaged_images_and_other_sizes_are_said(open_clips: OpenClips, records: Path, wait_until: Wait) -> None:
    """A camera that sends JPEG: one bad image costs that image alone; what is scaled is counted."""
    log = open_clips()
    sizes = [(96, 160)] * 60 + [(192, 320)] * 40
    images = [cv2.imencode(".jpg", np.full((*size, 3), 90, np.uint8))[1].tobytes() for size in sizes]
    images[50] = images[50][:200]
    now_s = time.monotonic()
    camera = Sender(tapped(log), [], "mjpeg")
    for number, image in enumerate(images):
        at_s = now_s - (99 - number) / FPS
        packet: av.Packet[Any] = av.Packet(image)
        tapped(log).saw(EncodedFrame(packet, camera, True, at_s, at_s + time.time() - time.monotonic()))
    ended(log, "e1", now_s - 2.0, now_s - 1.0)
    (row,) = written(records, wait_until)
    assert row["missing"] is None
    assert row["note"].startswith("1 frames are missing in it: they were damaged")
    assert "frames are scaled: the camera changed their size" in row["note"]
    assert frames_in(records / row["path"]) == row["frames"] > 50


def test_a_clip_that_takes_long_leaves_the_others_their_turn(
    open_clips: OpenClips, records: Path, units: list[Unit], wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each writes for a moment, whatever waits for it; all of it comes in the end."""
    monkeypatch.setattr(recorder, "TURN_S", 0.0)
    log = open_clips()
    now_s = time.monotonic()
    Sender(tapped(log), units).send(100, now_s)
    ended(log, "e1", now_s - 2.0, now_s - 1.0)
    (row,) = written(records, wait_until)
    assert row["note"] == ""
    assert frames_in(records / row["path"]) == row["frames"] > 60


def test_a_clip_that_cannot_be_had_says_why(open_clips: OpenClips, records: Path, wait_until: Wait) -> None:
    """No keyframe; and a folder in the way, which must not stop inspection."""
    log = open_clips()
    now_s = time.monotonic()
    tapped(log)
    ended(log, "silent", now_s - 2.0, now_s - 1.0)
    (row,) = written(records, wait_until)
    assert (row["path"], row["frames"]) == (None, 0)
    assert "no keyframe" in row["missing"]
    assert log.status().writable


def test_a_disk_that_refuses_clips_does_not_stop_inspection(
    open_clips: OpenClips, records: Path, units: list[Unit], wait_until: Wait
) -> None:
    """The row says why the clip is missing, and the next one is had again."""
    log = open_clips()
    (records / "clips").write_text("in the way")
    now_s = time.monotonic()
    sender = Sender(tapped(log), units)
    sender.send(100, now_s)
    ended(log, "e1", now_s - 2.0, now_s - 1.0)
    (row,) = written(records, wait_until)
    assert "could not be written" in row["missing"]
    assert log.status().writable
    (records / "clips").unlink()
    ended(log, "e2", now_s - 2.0, now_s - 1.0)
    assert written(records, wait_until, 2)[1]["missing"] is None


def test_a_folder_that_goes_while_a_clip_is_written_costs_that_clip(
    open_clips: OpenClips, records: Path, units: list[Unit], wait_until: Wait
) -> None:
    """Nor can what was begun be removed then; the thread goes on all the same."""
    log = open_clips()
    now_s = time.monotonic()
    Sender(tapped(log), units).send(100, now_s)
    log.write_events([change("e1", now_s - 2.0, now_s - 2.0)])
    wait_until(lambda: any((records / "clips").glob(".partial*")))
    (records / "clips").rename(records / "elsewhere")
    (records / "clips").write_text("in the way")
    log.write_events([change("e1", now_s - 2.0, now_s - 1.0, EventPhase.END)])
    (row,) = written(records, wait_until)
    assert "it could not be kept" in row["missing"]
    (records / "clips").unlink()
    ended(log, "e2", now_s - 2.0, now_s - 1.0)
    assert written(records, wait_until, 2)[1]["missing"] is None


def test_what_cannot_be_begun_leaves_nothing(open_clips: OpenClips, records: Path, wait_until: Wait) -> None:
    """A camera whose keyframes nobody can read: however many events it has, no file stays."""
    log = open_clips()
    now_s = time.monotonic()
    Sender(tapped(log), [[b"\x65nothing"]]).send(100, now_s)
    ended(log, "e1", now_s - 2.0, now_s - 1.0)
    (row,) = written(records, wait_until)
    assert "could not be written" in row["missing"]
    assert not list((records / "clips").iterdir())


def test_a_clip_does_not_end_before_it_begins(
    open_clips: OpenClips, records: Path, units: list[Unit], wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the wall clock is set back in its middle, as with events."""
    log = open_clips(pre_s=2.0)
    now_s, now_utc = time.monotonic(), time.time()
    sender = Sender(tapped(log), units)
    sender.send(50, now_s - 2.0)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now_utc - 3600)
        sender.send(50, now_s)
    ended(log, "e1", now_s - 2.0, now_s - 1.0)
    (row,) = written(records, wait_until)
    assert row["ends_utc"] - row["begins_utc"] == pytest.approx(row["ends_s"] - row["begins_s"], abs=1e-3)


def test_clips_leave_room_for_the_records(
    open_clips: OpenClips,
    records: Path,
    units: list[Unit],
    wait_until: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With less free they are missing long before inspection has to stop."""
    monkeypatch.setattr(recorder, "free_mb", lambda _: 90.0)
    log = open_clips()
    now_s = time.monotonic()
    Sender(tapped(log), units).send(100, now_s)
    ended(log, "e1", now_s - 2.0, now_s - 1.0)
    (row,) = written(records, wait_until)
    assert "disk full: 90 MB free" in row["missing"]
    assert log.status().writable


def test_the_oldest_clips_make_room(open_clips: OpenClips, records: Path, wait_until: Wait) -> None:
    """The space is kept; what went says why."""
    log, units = open_clips(max_mb=1), encode(frames=100, size_wh=(256, 144))
    now_s = time.monotonic()
    Sender(tapped(log), units).send(100, now_s)
    for number in range(4):
        ended(log, f"e{number}", now_s - 2.0, now_s - 1.0)
        written(records, wait_until, number + 1)
    log.close()
    rows = rows_of(records)
    size = sum(path.stat().st_size for path in records.rglob("*.mp4"))
    assert all(row["missing"] is None for row in rows), [row["missing"] for row in rows]
    assert size <= 1_000_000 < sum(row["bytes"] for row in rows)
    assert rows[0]["deleted_why"] == "clips_max_mb"
    assert rows[-1]["deleted_why"] is None
    verified(records, images=True)


def test_at_the_end_clips_that_are_under_way_are_written(
    open_clips: OpenClips, records: Path, units: list[Unit]
) -> None:
    """With what there is of them."""
    log = open_clips()
    now_s = time.monotonic()
    Sender(tapped(log), units).send(100, now_s)
    log.write_events([change("open", now_s - 1.0, now_s - 0.5)])
    ended(log, "post", now_s - 1.0, now_s - 0.1)
    log.close()
    (row,) = rows_of(records)
    assert (row["note"], json.loads(row["events"])) == ("the program ended", ["open", "post"])
    assert frames_in(records / row["path"]) == row["frames"]
    assert not list((records / "clips").glob(".*"))


def test_a_clip_bears_the_recipe_of_its_event(open_clips: OpenClips, records: Path, units: list[Unit]) -> None:
    """Also where another one is in force by the time that it is over."""
    log = open_clips()
    now_s = time.monotonic()
    Sender(tapped(log), units).send(100, now_s)
    ended(log, "first", now_s - 1.0, now_s - 0.1)
    log.write_cameras([CameraRecord("cam01", "press 4", "recipe B", "")])
    log.close()
    assert [row["recipe"] for row in rows_of(records)] == ["recipe A"]


def test_a_clip_that_is_there_is_not_said_to_be_missing(
    open_clips: OpenClips, records: Path, units: list[Unit], wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event whose last change found no room in the queue."""
    log = open_clips(post_s=0.0, max_s=1.0)
    now_s = time.monotonic()
    Sender(tapped(log), units).send(100, now_s)
    log.write_events([change("e1", now_s - 1.5, now_s - 1.5)])
    written(records, wait_until)
    monkeypatch.setattr(recorder, "QUEUE_CHANGES", 0)
    log.write_events([change("e1", now_s - 1.5, now_s - 0.1, EventPhase.END)])
    log.close()
    (row,) = rows_of(records)
    assert (row["missing"], row["note"]) == (None, "the event goes on: no clip is longer")
    assert frames_in(records / row["path"]) == row["frames"]


def test_a_fault_costs_one_clip(
    open_clips: OpenClips,
    records: Path,
    units: list[Unit],
    wait_until: Wait,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever a camera provokes, the thread goes on for the others."""
    log = open_clips()
    now_s = time.monotonic()
    Sender(tapped(log), units).send(100, now_s)

    def fails(*_: object) -> None:
        raise RuntimeError("unforeseen")

    with monkeypatch.context() as patch:
        patch.setattr("vision_line.records.clips.open_clip.open_clip_file", fails)
        ended(log, "e1", now_s - 2.0, now_s - 1.0)
        (row,) = written(records, wait_until)
    assert row["missing"] == "it could not be written: unforeseen"
    assert "a fault while its clip was written" in caplog.text
    ended(log, "e2", now_s - 2.0, now_s - 1.0)
    assert written(records, wait_until, 2)[1]["missing"] is None


def test_too_many_events_at_once_are_said(
    open_clips: OpenClips, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a silent loss."""
    monkeypatch.setattr(recorder, "QUEUE_CHANGES", 0)
    log = open_clips()
    ended(log, "e1", 1.0, 2.0)
    log.close()
    (row,) = rows_of(records)
    assert row["missing"] == "too many events at once"


def test_the_rest_of_a_clip_that_a_kill_cost_is_said(
    open_clips: OpenClips, records: Path, units: list[Unit], wait_until: Wait
) -> None:
    """A clip that went on in another one when the run died: that one is missing, with the reason."""
    log = open_clips()
    now_s = time.monotonic()
    ring = tapped(log)
    Sender(ring, units).send(50, now_s - 2.0)
    Sender(ring, units).send(50, now_s)  # another connection
    ended(log, "e1", now_s - 3.0, now_s - 1.0)
    written(records, wait_until, 2)
    log.close()
    with closing(open_writer(records / FILE_NAME)) as connection:
        with transaction(connection):
            connection.execute("DELETE FROM clips WHERE clip_id = 'e1-2'")
            connection.execute("UPDATE runs SET ended_utc = NULL, end_cause = NULL")
        reconcile_files(connection, records, time.time())
    first, second = rows_of(records)
    assert "goes on in another clip" in first["note"]
    assert (second["clip_id"], json.loads(second["events"]), second["path"]) == ("e1-2", ["e1"], None)
    assert second["missing"] == "the program ended before the clip was written"
