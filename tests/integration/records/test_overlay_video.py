# SPDX-License-Identifier: AGPL-3.0-or-later
"""The overlay: real times, playable after a kill, and never in inspection's way."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from vision_line.frames import Frame, Inspection
from vision_line.records.annotate import Image
from vision_line.records.overlay_video import QUEUE_FRAMES, OverlayWriter

WaitUntil = Callable[[Callable[[], bool]], None]


def times_and_images(path: Path) -> tuple[list[float], list[Image]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert all(frame.pts is not None and frame.time_base is not None for frame in frames)
    times = [float(frame.pts * frame.time_base) for frame in frames if frame.pts is not None and frame.time_base]
    return times, [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in frames]


def at(inspection: Inspection, arrived_s: float) -> Inspection:
    frame = dataclasses.replace(inspection.frame, arrived_s=arrived_s, arrived_utc=1_700_000_000 + arrived_s)
    return dataclasses.replace(inspection, frame=frame)


def offer(writer: OverlayWriter, line: Any, moments: list[float], wait_until: WaitUntil, **kwargs: Any) -> None:
    """Offer a frame for each moment, no faster than the encoder takes them."""
    for number, moment in enumerate(moments):
        seen = at(line.inspection(number, data=line.frame_data(kwargs.get("size_wh", (160, 96))), **kwargs), moment)
        before = writer.status().written + writer.status().dropped
        writer.offer(seen, [line.event(seen, "e1")] if number == 1 else [])
        wait_until(lambda before=before: writer.status().written + writer.status().dropped > before)  # type: ignore[misc]


def test_frames_are_shown_when_they_arrived(tmp_path: Path, line: Any, wait_until: WaitUntil) -> None:
    """Uneven gaps stay uneven; a detection's box and an event's mark are on the frame."""
    moments = [10.0, 10.2, 10.25, 11.6, 13.0]
    writer = OverlayWriter(tmp_path)
    offer(writer, line, moments, wait_until)
    writer.close()
    (path,) = tmp_path.rglob("*.mp4")
    times, images = times_and_images(path)

    assert path == tmp_path / "cam01" / "20231114T221330000Z.mp4"
    assert times == pytest.approx([moment - 10.0 for moment in moments], abs=0.001)
    assert images[0].shape[0] > 96
    assert np.abs(images[1][:96].astype(int) - images[4][:96]).max() > 80
    assert (writer.status().written, writer.status().dropped) == (5, 0)


def test_a_new_size_and_a_gap_begin_a_new_file(tmp_path: Path, line: Any, wait_until: WaitUntil) -> None:
    """One file has one size and no hole; odd sizes are padded to even ones."""
    writer = OverlayWriter(tmp_path)
    offer(writer, line, [1.0, 1.1], wait_until)
    offer(writer, line, [1.2, 1.3], wait_until, size_wh=(161, 97))
    offer(writer, line, [30.0], wait_until, size_wh=(161, 97))
    writer.close()

    files = sorted(tmp_path.rglob("*.mp4"))
    assert [len(times_and_images(path)[0]) for path in files] == [2, 2, 1]
    assert times_and_images(files[1])[1][0].shape[1] == 162


def test_what_the_encoder_cannot_follow_is_dropped_and_counted(tmp_path: Path, line: Any) -> None:
    """With the encoder busy, offers return at once; written and dropped add up."""
    go_on = threading.Event()

    def read_slowly(frame: Frame) -> Image:
        go_on.wait(60)
        return np.zeros((96, 160, 3), np.uint8)

    writer = OverlayWriter(tmp_path, read_image=read_slowly)
    for number in range(QUEUE_FRAMES + 10):
        writer.offer(at(line.inspection(number), 1 + number / 10), [])
    go_on.set()
    writer.close()

    status = writer.status()
    assert status.dropped >= 9
    assert status.written + status.dropped == QUEUE_FRAMES + 10


def test_a_failing_disk_is_counted_and_said(tmp_path: Path, line: Any, wait_until: WaitUntil) -> None:
    """Trouble with a camera's file is its own: it is counted, named, and over when the file can be written again."""
    (tmp_path / "cam01").write_text("in the way")
    writer = OverlayWriter(tmp_path)
    offer(writer, line, [1.0, 1.1], wait_until)
    offer(writer, line, [1.2], wait_until, camera="cam02")
    assert "overlay of cam01" in writer.status().problem
    assert (writer.status().written, writer.status().dropped) == (1, 2)

    (tmp_path / "cam01").unlink()
    offer(writer, line, [20.0], wait_until)
    assert writer.status().problem == ""
    writer.close()


CHILD = """
import sys, time
from pathlib import Path
import numpy as np
from vision_line.frames import Colour, ColourMatrix, ColourRange, Detections, Frame, Inspection
from vision_line.records.overlay_video import OverlayWriter
writer = OverlayWriter(Path(sys.argv[1]))
colour = Colour(ColourMatrix.BT709, ColourRange.LIMITED)
for number in range(100):
    data = np.full((96, 160, 3), number, np.uint8)
    frame = Frame("cam01", number, (160, 96), colour, data, number / 10, 0.0, 0.0)
    writer.offer(Inspection(frame, Detections.empty(), 0.0, 0.0), [])
    while writer.status().written <= number:
        time.sleep(0.001)
print("written", flush=True)
time.sleep(60)
"""


def test_a_killed_program_leaves_a_playable_video(tmp_path: Path) -> None:
    """After `kill -9` all but the last fragment plays: of 10 s at most about a second is lost."""
    with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "written\n"
        child.kill()
    (path,) = tmp_path.rglob("*.mp4")
    times, _ = times_and_images(path)

    assert len(times) >= 85
    assert times == pytest.approx([number / 10 for number in range(len(times))], abs=0.001)
