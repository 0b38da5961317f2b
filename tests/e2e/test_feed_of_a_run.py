# SPDX-License-Identifier: AGPL-3.0-or-later
"""`feed.sock`: what another process gets of a run, held against the cameras' sent log, the records and the page."""

from __future__ import annotations

import io
import json
import signal
import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
from tests.e2e.conftest import COMMAND, LineRun
from tests.fakes.ports import free_port
from tests.fakes.waiting import wait_for

from vision_line.errors import RunError
from vision_line.feed.feed_client import FeedClient
from vision_line.feed.protocol import FeedMessage, packed

pytestmark = pytest.mark.e2e

_SECRET = "geheim-7421"  # noqa: S105  nobody's


def connect(run: LineRun) -> FeedClient | None:
    try:
        return FeedClient(run.records)
    except RunError:
        return None


def frames_in(video: FeedMessage, frames: list[FeedMessage]) -> int:
    """Return how many frames a decoder makes of what came, by the bytes alone."""
    data = video.payload + b"".join(message.payload for message in frames)
    with av.open(io.BytesIO(data), "r", format=video.header["codec"]) as container:
        return len(list(container.decode(video=0)))


def boxes_of(result: dict[str, Any]) -> list[tuple[Any, ...]]:
    return sorted((box["class"], box["score"], *box["box"]) for box in result["boxes"])


def test_a_run_is_followed_from_outside(make_run: Callable[[int], LineRun]) -> None:
    """Frames decode, boxes are the log's and on their frame, decisions are its events, no message has a password."""
    run = make_run(2)
    dead = f'[[stream]]\nname = "dead"\nurl = "rtsp://user:{_SECRET}@127.0.0.1:{free_port()}/x"\n'
    run.write_streams(run.names, extra=dead)
    run.start()
    client = wait_for(lambda: connect(run), "the run serves its feed")
    with client:
        client.want(snapshots=True, decisions=True, journal=True, results=["*"], frames={"*": "all"})
        got: dict[str, list[FeedMessage]] = defaultdict(list)
        sent_bytes = b""
        stopped = False
        for message in client:
            got[message.kind].append(message)
            sent_bytes += packed(message.header)
            enough = len(got["frame"]) > 400 and len(got["decision"]) > 3 and len(got["journal"]) > 5
            if enough and not stopped:
                run.signal(signal.SIGTERM)
                stopped = True
    assert run.wait() == 130, run.text()[-2000:]
    assert client.reason == "the run has ended"
    assert not (run.records / "feed.sock").exists()

    assert _SECRET.encode() not in sent_bytes
    assert client.hello["run"] == run.query("SELECT run_id FROM runs")[0][0]
    assert not any(message.header["frames"] or message.header["results"] for message in got["dropped"])
    for name in run.names:
        (video,) = [message for message in got["video"] if message.header["camera"] == name]
        frames = [message for message in got["frame"] if message.header["camera"] == name]
        assert frames[0].header["keyframe"]
        assert frames_in(video, frames) == len(frames)

    arrivals = {(message.header["camera"], message.header["arrived_s"]) for message in got["frame"]}
    first_s = {name: min(s for camera, s in arrivals if camera == name) for name in run.names}
    results = [message.header for message in got["result"]]
    tied = [(r["camera"], r["arrived_s"]) for r in results if r["arrived_s"] >= first_s[r["camera"]]]
    assert len(tied) > 20
    assert set(tied) <= arrivals

    logged = defaultdict(list)
    for camera, sequence, *box in run.query("SELECT camera, sequence, class, score, x1, y1, x2, y2 FROM detections"):
        logged[camera, sequence].append(tuple(box))
    followed = {(r["camera"], r["sequence"]): boxes_of(r) for r in results}
    since = {name: min(r["sequence"] for r in results if r["camera"] == name) for name in run.names}
    expected = {key: sorted(boxes) for key, boxes in logged.items() if key[1] >= since[key[0]]}
    assert len(expected) > 5
    assert {key: boxes for key, boxes in followed.items() if boxes} == expected

    events = {event for (event,) in run.query("SELECT event_id FROM events")}
    assert {message.header["event_id"] for message in got["decision"]} <= events
    numbers = [message.header["number"] for message in got["journal"]]
    assert numbers == sorted(numbers)
    assert numbers[-1] <= run.query("SELECT max(number) FROM journal")[0][0]

    cameras = {camera["name"]: camera for camera in got["snapshot"][-1].header["cameras"]}
    assert cameras["dead"]["not_inspected"] == "camera:REFUSED"
    assert any(c["inspecting"] for s in got["snapshot"] for c in s.header["cameras"] if c["name"] == "cam01")


def test_the_command_shows_it_and_the_pages_example_reads_it(make_run: Callable[[int], LineRun]) -> None:
    """As a field engineer would, and as docs/feed.md says; a killed run's socket is replaced by the next run's."""
    run = make_run(1)
    run.start()
    run.wait_for_detections()
    run.signal(signal.SIGKILL)
    run.wait()
    assert (run.records / "feed.sock").exists()
    refused = subprocess.run([COMMAND, "feed", run.records], text=True, capture_output=True, check=False)
    assert (refused.returncode, "no run has a live feed there" in refused.stderr) == (4, True)

    run.start()
    wait_for(lambda: run.query("SELECT max(run) FROM runs") == [(2,)] and connect(run), "the next run serves").close()
    command = [str(COMMAND), "feed", str(run.records), "--camera", "cam01", "--camera", "cam9", "--duration", "6"]
    shown = subprocess.run(command, text=True, capture_output=True, check=False)
    as_json = subprocess.run([*command, "--json"], text=True, capture_output=True, check=False)
    page = (Path(__file__).parents[2] / "docs" / "feed.md").read_text(encoding="utf-8")
    example = page.split("```python\n")[1].split("```")[0].replace('"records"', repr(str(run.records)))
    reading = subprocess.Popen([COMMAND.parent / "python", "-u", "-c", example], text=True, stdout=subprocess.PIPE)
    assert reading.stdout is not None
    greeted = reading.stdout.readline()
    run.signal(signal.SIGTERM)
    said, _ = reading.communicate(timeout=60)

    assert shown.returncode == 0, shown.stderr
    assert "cameras inspected" in shown.stdout
    assert "cam01: keyframe of " in shown.stdout
    assert "the run has no camera cam9" in shown.stderr
    kinds = {json.loads(line)["kind"] for line in as_json.stdout.splitlines()}
    assert kinds >= {"hello", "wanted", "snapshot", "video", "frame", "result"}
    assert greeted.endswith("['cam01']\n")
    assert said.splitlines()[-1] == "the run has ended"
    run.wait()
