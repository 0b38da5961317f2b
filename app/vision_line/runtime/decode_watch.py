# SPDX-License-Identifier: AGPL-3.0-or-later
"""Watches whether the box can decode what arrives, and sheds fairly where it cannot; says so as long as it lasts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from vision_line.config.models import Stream
from vision_line.ingest.shedding import DecodeLoad, DecodeRoom, Demand, plan_shares
from vision_line.inspection.coverage.causes import DECODING

logger = logging.getLogger(__name__)

PERIOD_S = 1.0
#: Over this many periods a camera is assessed.
WINDOW = 10
#: A check that comes so late finds what a pause has done, which is no lack of room, and is made good within `REST_S`.
PAUSE_S = 1.0
REST_S = 5.0
#: Fallen too late so often within the window, and so busy decoding, is late for lack of decoding.
TIMES_LATE = 3
BUSY_SHARE = 0.3
_NAMES_SHOWN = 6


class DecodedCamera(Protocol):
    """One camera that runs."""

    @property
    def stream(self) -> Stream:
        """Its settings."""

    @property
    def load(self) -> DecodeLoad:
        """What its decoding takes."""


class DecodeSample(NamedTuple):
    """One camera's counters at one moment."""

    at_s: float
    frames: int
    keyframes: int
    times_late: int
    decoded: int
    decode_s: float


class DecodeWatch:
    """Owns every camera's `DecodeLoad.share`; lives in the event loop's thread."""

    def __init__(self, cameras: Callable[[], Sequence[DecodedCamera]], on_alarm: Callable[[str], None]) -> None:
        """`cameras` gives those that run now; `on_alarm` gets the alarm's sentence, "" when it is over."""
        self._cameras = cameras
        self._on_alarm = on_alarm
        self._room = DecodeRoom()
        self._seen: dict[str, deque[DecodeSample]] = {}
        self._shares: Mapping[str, float] = {}
        self._begins_s = float("-inf")

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(PERIOD_S)
            now_s = time.monotonic()
            if now_s - began_s > PERIOD_S + PAUSE_S:
                self._begins_s = now_s + REST_S
            self.check(now_s)

    def check(self, now_s: float) -> None:
        """Take in what the cameras have done, and set what they may decode."""
        live = [camera for camera in self._cameras() if camera.stream.is_live]
        if now_s < self._begins_s:
            self._seen.clear()
        for camera in live:
            self._note(camera, now_s)
        windows = {camera.stream.name: self._seen[camera.stream.name] for camera in live}
        self._seen = windows
        decoded = _decoded_part(list(windows.values()))
        if self._room.update(now_s, decoded, is_strained=any(map(is_strained, windows.values()))):
            self._share_out(live)
            self._seen = {}  # what was seen was of other shares
        for camera in live:  # also those that were added or altered since
            camera.load.share = self._shares.get(camera.stream.name, 1.0)

    def _note(self, camera: DecodedCamera, now_s: float) -> None:
        load = camera.load
        seen = DecodeSample(now_s, load.frames, load.keyframes, load.times_late, load.decoded, load.decode_s)
        window = self._seen.setdefault(camera.stream.name, deque(maxlen=WINDOW + 1))
        if window and window[-1].frames > seen.frames:
            window.clear()  # the camera was altered, and counts anew
        window.append(seen)

    def _share_out(self, live: Sequence[DecodedCamera]) -> None:
        every = [_demand(camera, self._seen[camera.stream.name]) for camera in live]
        demands = [demand for demand in every if demand.fps > 0]
        shares = plan_shares(demands, self._room.room)
        # One that does not send now keeps its share: it will come back to the same box.
        self._shares = {**self._shares, **shares} if self._room.room < 1.0 else {}
        sentence = describe(self._room.room, demands, shares)
        self._on_alarm(sentence)
        if sentence:
            logger.warning("%s", sentence)
        else:
            logger.info("%s: all frames are decoded again", DECODING)


def is_strained(window: Sequence[DecodeSample]) -> bool:
    """Whether a camera fell too late again and again while its thread was busy decoding. Pure."""
    first, last = window[0], window[-1]
    busy_s = last.decode_s - first.decode_s
    return last.times_late - first.times_late >= TIMES_LATE and busy_s >= BUSY_SHARE * (last.at_s - first.at_s)


def describe(room: float, demands: Sequence[Demand], shares: Mapping[str, float]) -> str:
    """Return what is wrong and what is done about it in one sentence; "" where all is decoded. Pure."""
    if room >= 1.0:
        return ""
    cut = [demand for demand in demands if shares[demand.camera] < 1.0]
    enough = [demand.camera for demand in cut if shares[demand.camera] * demand.fps >= demand.enough_fps - 1e-6]
    fewer = [f"{d.camera} {100 * shares[d.camera]:.0f} %" for d in cut if d.camera not in enough]
    remedies = [f"keyframes only, enough for inspect_fps: {_names(enough)}"] if enough else []
    remedies += [f"fewer frames decoded: {_names(fewer)}"] if fewer else []
    return "; ".join(
        [f"{DECODING}: this machine can decode about {100 * room:.0f} % of the frames that arrive", *remedies]
    )


def _decoded_part(windows: Sequence[Sequence[DecodeSample]]) -> float:
    """Return the part of all decoding that was done in the windows."""
    done_s = wanted_s = 0.0
    for window in windows:
        first, last = window[0], window[-1]
        spent_s, decoded = last.decode_s - first.decode_s, last.decoded - first.decoded
        if decoded:
            done_s += spent_s
            wanted_s += spent_s / decoded * max(decoded, last.frames - first.frames)
    return done_s / wanted_s if wanted_s else 1.0


def _demand(camera: DecodedCamera, window: Sequence[DecodeSample]) -> Demand:
    first, last = window[0], window[-1]
    fps = (last.frames - first.frames) / max(last.at_s - first.at_s, PERIOD_S)
    return Demand(
        camera.stream.name,
        fps,
        fps * last.keyframes / max(last.frames, 1),
        last.decode_s / max(last.decoded, 1),
        camera.stream.inspect_fps,
    )


def _names(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" + {more} more" if more > 0 else "")
