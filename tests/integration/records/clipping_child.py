# SPDX-License-Identifier: AGPL-3.0-or-later
"""A process to be killed: a camera's frames, events without end, and their clips. Prints a line once one is written."""

from __future__ import annotations

import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vision_line.config.models import ClipSettings, RecordSettings
from vision_line.encoded import EncodedFrame
from vision_line.frames import DefectEvent, EventPhase, Verdict
from vision_line.records.entries import CameraRecord, RunRecord
from vision_line.records.log import SqliteLog


class Video:
    """What a connection is known by."""

    type = "video"

    def __init__(self) -> None:
        self.codec_context: Any = av.CodecContext.create("h264", "r")


def encoded() -> list[tuple[bytes, bool]]:
    """Return two seconds of H.264."""
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = 320, 192, "yuv420p"
    context.framerate, context.time_base = Fraction(25), Fraction(1, 25)
    context.options = {"preset": "ultrafast", "bf": "0", "g": "5"}
    packets = []
    for number in range(50):
        frame = av.VideoFrame(320, 192, "yuv420p")
        frame.pts = number
        packets += context.encode(frame)
    return [(bytes(packet), packet.is_keyframe) for packet in (*packets, *context.encode(None))]


def event(name: str, at_s: float, at_utc: float, phase: EventPhase) -> DefectEvent:
    times = (at_s, at_utc, at_s, at_utc)
    return DefectEvent(name, phase, "cam01", 0, "open", Verdict.REJECT, 0.9, 0.9, (1, 2, 30, 40), 1, 3, *times)


def main() -> None:
    run = RunRecord("0", time.time(), "", "m", "", "int8", "cpu", "h", (CameraRecord("cam01", "", "", ""),))
    clips = ClipSettings(pre_s=0.1, post_s=0.0, max_s=1.0)
    kept = RecordSettings(min_free_mb=1, evidence=False)
    log = SqliteLog(Path(sys.argv[1]), run, kept, ["open"], clips=clips)
    ring, video, frames = log.tap_for("cam01"), Video(), encoded()
    assert ring is not None
    for number in range(1_000_000):
        data, keyframe = frames[number % len(frames)]
        ring.saw(EncodedFrame(av.Packet(data), video, keyframe, time.monotonic(), time.time()))
        if number % 10 == 9:
            seen = time.monotonic() - 0.02, time.time() - 0.02
            log.write_events([event(f"e{number}", *seen, phase) for phase in (EventPhase.NEW, EventPhase.END)])
        if number == 100:
            sys.stdout.write("under way\n")
            sys.stdout.flush()
        time.sleep(0.01)


if __name__ == "__main__":
    main()
