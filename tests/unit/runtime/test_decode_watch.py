# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras that come late for lack of decoding are shed fairly, and told of, and decoded again when there is room."""

from __future__ import annotations

from dataclasses import dataclass, field

from vision_line.config.models import Stream
from vision_line.ingest.shedding import DecodeLoad
from vision_line.runtime.decode_watch import WINDOW, DecodeWatch

COST_S = 0.01  # of decoding a frame, with a core to itself


@dataclass
class Camera:
    """A camera that sends 25 frames a second, the first of each a keyframe."""

    name: str
    settings: dict[str, object] = field(default_factory=dict)
    load: DecodeLoad = field(default_factory=DecodeLoad)

    @property
    def stream(self) -> Stream:
        return Stream.model_validate({"name": self.name, "url": "rtsp://10.0.0.1/x"} | self.settings)

    @property
    def wanted(self) -> int:
        return round(25 * self.load.share)

    def second(self, part: float) -> None:
        """Let a second pass in which this part of what is wanted is decoded; the rest comes late."""
        decoded = max(1, int(self.wanted * part))
        self.load.frames += 25
        self.load.keyframes += 1
        self.load.times_late += decoded < self.wanted
        for _ in range(decoded):
            self.load.took(COST_S if part >= 1.0 else 1.0 / decoded)


class Rig:
    """A watch over cameras that share a box's time for decoding."""

    def __init__(self, *cameras: Camera) -> None:
        self.cameras = cameras
        self.reported: list[str] = []
        self.now_s = 0.0
        self.watch = DecodeWatch(lambda: self.cameras, self.reported.append)

    def run(self, seconds: int, room_s: float) -> None:
        for _ in range(seconds):
            self.now_s += 1.0
            part = room_s / (COST_S * sum(camera.wanted for camera in self.cameras))
            for camera in self.cameras:
                camera.second(min(1.0, part))
            self.watch.check(self.now_s)


def test_a_box_with_room_is_left_alone() -> None:
    """Nothing is shed and nothing told while everything is decoded."""
    rig = Rig(Camera("a"), Camera("b"))
    rig.run(60, 1.1)
    assert rig.reported == []
    assert {camera.load.share for camera in rig.cameras} == {1.0}


def test_a_box_that_is_too_slow_sheds_and_says_so_until_there_is_room() -> None:
    """Half of what arrives can be decoded; then all of it."""
    rig = Rig(Camera("a"), Camera("b"), Camera("capped", {"inspect_fps": 1.0}))
    rig.run(40, 0.4)
    late = [camera.load.times_late for camera in rig.cameras]
    rig.run(5, 0.4)
    assert [camera.load.times_late for camera in rig.cameras] == late
    shares = {camera.name: camera.load.share for camera in rig.cameras}
    assert shares["capped"] < 0.05
    assert 0.2 < shares["a"] == shares["b"] < 0.6
    assert rig.reported[-1].startswith("capacity:decoding: this machine can decode about ")
    assert "keyframes only, enough for inspect_fps: capped" in rig.reported[-1]
    rig.run(200, 10.0)
    assert rig.reported[-1] == ""
    assert {camera.load.share for camera in rig.cameras} == {1.0}


def test_one_stop_of_the_program_is_no_lack_of_room() -> None:
    """What comes late once, after a pause, sheds nothing."""
    rig = Rig(Camera("a"))
    rig.run(10, 1.0)
    rig.cameras[0].load.times_late += 2
    rig.run(10, 1.0)
    assert rig.reported == []


def test_late_frames_of_an_idle_thread_are_the_networks_affair() -> None:
    """A link that is too slow for its camera takes nothing from the others."""
    rig = Rig(Camera("a"))
    for _ in range(20):
        rig.cameras[0].load.times_late += 1
        rig.run(1, 10.0)
    assert rig.reported == []


def test_a_camera_that_is_altered_is_counted_anew() -> None:
    """Its counters begin again, and it keeps its share."""
    rig = Rig(Camera("a"), Camera("b"))
    rig.run(30, 0.4)
    rig.cameras = (Camera("a"), rig.cameras[1])
    for _ in range(WINDOW):
        rig.run(1, 0.4)
        assert rig.cameras[0].load.share < 1.0
