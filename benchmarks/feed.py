# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the live feed costs the line: with no client, with one that does not read, with one that wants everything.

16 cameras of 25 frames a second and 3.2 Mbit/s, 5 inspections a second each, at their real pace. Each
client is a process of its own; what it got is compared with what was offered, byte for byte and box for box.

Run: python -m benchmarks.feed [SECONDS] [ROUNDS]; CPU times, so that neighbours hardly matter.
"""

from __future__ import annotations

import hashlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np

from benchmarks.control_plane import COLOUR
from benchmarks.rounds import Report, percentile
from vision_line.encoded import EncodedFrame
from vision_line.feed.feed_client import FeedClient
from vision_line.feed.feed_server import FeedServer
from vision_line.feed.headers import BOX_DIGITS, SCORE_DIGITS, FeedFacts
from vision_line.frames import DefectEvent, Detections, EventPhase, Frame, Inspection, Verdict
from vision_line.ports import VideoPacket

CAMERAS = 16
FPS = 25
GOP = 25
KEYFRAME_BYTES, FRAME_BYTES = 80_000, 13_300
INSPECTED_EVERY = 5  # frames
CALLS = 200_000
DRAIN_S = 1.0  # what waits at the end of a run is not sent any more
FACTS = FeedFacts("benchmark", "0", 0, 0.0, ("open", "short"))
CLIENT = "client"

Digests: TypeAlias = "defaultdict[str, hashlib._Hash]"  # noqa: SLF001  typeshed's name of what sha256 returns


class Video:
    """A connection's video."""

    type = "video"

    def __init__(self) -> None:
        context = av.CodecContext.create("h264", "r")
        if not isinstance(context, av.VideoCodecContext):
            raise TypeError("expected a video's codec")
        self.codec_context = context


class Offered:
    """Offers what 16 cameras would, and remembers digests of it."""

    def __init__(self, feed: FeedServer) -> None:
        drawn = random.Random(1)
        self._offers = feed.offers
        self._taps = [feed.offers.tap(f"cam{number:02}") for number in range(CAMERAS)]
        self._videos = [Video() for _ in range(CAMERAS)]
        self._keyframe, self._frame = drawn.randbytes(KEYFRAME_BYTES), drawn.randbytes(FRAME_BYTES)
        self.frames = new_digests()
        self.boxes = new_digests()
        self.count = 0

    def play(self, seconds: float) -> None:
        """Offer at the cameras' pace, all of one moment at once as cameras of one trigger do."""
        began_s = time.monotonic()
        for number in range(round(seconds * FPS)):
            time.sleep(max(0.0, began_s + number / FPS - time.monotonic()))
            for index in range(CAMERAS):
                self._show(index, number)

    def _show(self, index: int, number: int) -> None:
        tap, now_s = self._taps[index], time.monotonic()
        data = (self._keyframe if number % GOP == 0 else self._frame) + bytes([index]) + number.to_bytes(4, "big")
        packet: VideoPacket = av.Packet(data)
        tap.saw(EncodedFrame(packet, self._videos[index], number % GOP == 0, now_s, time.time(), pts_s=number / FPS))
        self.frames[tap.camera].update(data)
        self.count += 1
        if number % INSPECTED_EVERY == index % INSPECTED_EVERY:
            self._inspect(tap.camera, number, now_s)

    def _inspect(self, camera: str, number: int, now_s: float) -> None:
        inspection = inspected(camera, number, now_s)
        self._offers.result(inspection, [event(camera, number)] if number % 50 == 0 else [])
        found = inspection.detections
        scores = [round(float(score), SCORE_DIGITS) for score in found.score]
        boxes = [[round(float(value), BOX_DIGITS) for value in box] for box in found.xyxy]
        self.boxes[camera].update(json.dumps([number, scores, boxes]).encode())


def inspected(camera: str, number: int, now_s: float) -> Inspection:
    """Return an inspected frame with two detections."""
    frame = Frame(camera, number, (1920, 1080), COLOUR, None, now_s, time.time(), now_s)
    xyxy = np.array([[411.234, 212.567, 430.77, 240.013], [1.0, 2.0, 3.0, 4.0]], np.float32) + number / 7
    found = Detections(xyxy, np.array([0.91371, 0.5], np.float32), np.array([0, 1], np.int32))
    return Inspection(frame, found, now_s, now_s)


def event(camera: str, number: int) -> DefectEvent:
    """Return a new event."""
    box = (411.23, 212.5, 430.77, 240.01)
    return DefectEvent(
        *(f"{camera}-{number}", EventPhase.NEW, camera, 0, "open", Verdict.REJECT, 0.9, 0.9, box, number, 3),
        *(0.0, 0.0, 0.0, 0.0),
    )


@contextmanager
def served() -> Iterator[tuple[FeedServer, Path]]:
    """Serve a feed in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        feed = FeedServer(FACTS)
        feed.open(Path(name))
        try:
            yield feed, Path(name)
        finally:
            feed.close()


def follow(directory: Path) -> None:
    """Be a client that wants everything; say in the end what it got."""
    frames, boxes, delays_ms = new_digests(), new_digests(), list[float]()
    with FeedClient(directory) as client:
        client.want(decisions=True, results=["*"], frames={"*": "all"})
        for kind, header, payload in ((m.kind, m.header, m.payload) for m in client):
            if kind == "wanted":
                sys.stdout.write("ready\n")
                sys.stdout.flush()
            elif kind == "frame":
                frames[header["camera"]].update(payload)
            elif kind == "result":
                scores, found = [box["score"] for box in header["boxes"]], [box["box"] for box in header["boxes"]]
                boxes[header["camera"]].update(json.dumps([header["sequence"], scores, found]).encode())
            elif kind == "decision":
                delays_ms.append((time.monotonic() - header["at_s"]) * 1e3)
    got = {"frames": digests(frames), "boxes": digests(boxes), "delays_ms": delays_ms}
    sys.stdout.write(json.dumps(got))


def new_digests() -> Digests:
    """Return empty ones of any camera."""
    return defaultdict(hashlib.sha256)


def digests(found: Digests) -> dict[str, str]:
    """Return the digests by camera."""
    return {camera: digest.hexdigest() for camera, digest in sorted(found.items())}


def left_alone(seconds: float) -> dict[str, object]:
    """Return the CPU time a frame with no client."""
    with served() as (feed, _):
        offered = Offered(feed)
        return {"us_a_frame": cpu_us(offered, seconds), "dropped": "", "decision_ms_p50": "", "decision_ms_p99": ""}


def with_a_client_that_does_not_read(seconds: float) -> dict[str, object]:
    """Return the CPU time a frame with a client that wants everything and reads nothing."""
    with served() as (feed, directory), FeedClient(directory) as client:
        client.want(results=["*"], frames={"*": "all"})
        client.receive(10)
        offered = Offered(feed)
        used_us = cpu_us(offered, seconds)
        time.sleep(0.5)
        dropped = feed.status.frames_dropped
        if not 0 < dropped < offered.count:
            raise ValueError(f"expected some of {offered.count} frames to be dropped, found {dropped}")
        share = f"{100 * dropped / offered.count:.0f} %"
        return {"us_a_frame": used_us, "dropped": share, "decision_ms_p50": "", "decision_ms_p99": ""}


def with_a_client_of_all_cameras(seconds: float) -> dict[str, object]:
    """Return the CPU time a frame with a client that takes everything, having compared what it got."""
    with served() as (feed, directory):
        command = [sys.executable, "-m", "benchmarks.feed", CLIENT, str(directory)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise ValueError("the client did not begin")
            offered = Offered(feed)
            used_us = cpu_us(offered, seconds)
            time.sleep(DRAIN_S)
            dropped = feed.status.frames_dropped
            feed.close()
            got = json.loads(process.stdout.read())
    if (got["frames"], got["boxes"]) != (digests(offered.frames), digests(offered.boxes)):
        raise ValueError(f"the client got something else than was offered; dropped: {dropped}")
    return {
        "us_a_frame": used_us,
        "dropped": "0 %",
        "decision_ms_p50": round(statistics.median(got["delays_ms"]), 2),
        "decision_ms_p99": round(percentile(got["delays_ms"], 0.99), 2),
    }


def cpu_us(offered: Offered, seconds: float) -> float:
    """Return what the whole process uses a frame while it is offered, the making of frames with it."""
    began_s = time.process_time()
    offered.play(seconds)
    return (time.process_time() - began_s) * 1e6 / offered.count


def ns_a_call(call: Callable[[], object]) -> float:
    """Return the CPU time of a call."""
    began_s = time.thread_time()
    for _ in range(CALLS):
        call()
    return (time.thread_time() - began_s) * 1e9 / CALLS


def report_calls() -> None:
    """Measure what nobody's listening costs the threads of the line."""
    report = Report("feed_calls")
    with served() as (feed, _):
        tap, offers = feed.offers.tap("cam01"), feed.offers
        encoded = EncodedFrame(av.Packet(b"frame"), Video(), True, 0.0, 0.0)
        seen = inspected("cam01", 1, 0.0)
        calls: dict[str, Callable[[], object]] = {
            "an empty call": partial(len, ()),
            "an encoded frame, camera's thread": partial(tap.saw, encoded),
            "an inspected frame, scheduler's thread": partial(offers.result, seen, ()),
            "a commit, writer's thread": partial(offers.committed, 1),
        }
        for name, call in calls.items():
            best = min(ns_a_call(call) for _ in range(5))
            report.add(what=name, ns=round(best), limit_ns=2000)
    report.publish()


def report_clients(seconds: float, rounds: int) -> None:
    """Measure the process with and without clients, in turns."""
    report = Report("feed_clients")
    contenders = {
        "no client": left_alone,
        "one that does not read": with_a_client_that_does_not_read,
        "one of all 16 cameras": with_a_client_of_all_cameras,
    }
    found = defaultdict[str, list[dict[str, object]]](list)
    for number in range(rounds):
        for name in list(contenders) if number % 2 == 0 else reversed(list(contenders)):
            found[name].append(contenders[name](seconds))
    alone_us = statistics.median(float(str(each["us_a_frame"])) for each in found["no client"])
    for name, each in found.items():
        used_us = statistics.median(float(str(one["us_a_frame"])) for one in each)
        cores = (used_us - alone_us) * FPS * CAMERAS / 1e4
        more = {key: value for key, value in each[-1].items() if key != "us_a_frame"}
        report.add(client=name, us_a_frame=round(used_us, 1), percent_of_a_core=round(cores, 1), **more)
    report.publish()


def main() -> None:
    """Measure and publish."""
    if sys.argv[1:2] == [CLIENT]:
        follow(Path(sys.argv[2]))
        return
    seconds, rounds = float((*sys.argv[1:2], "8")[0]), int((*sys.argv[2:3], "3")[0])
    report_calls()
    report_clients(seconds, rounds)


if __name__ == "__main__":
    main()
