# SPDX-License-Identifier: AGPL-3.0-or-later
"""Watches whether the box can decode what arrives, and sheds fairly where it cannot; says so as long as it lasts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from vision_line.config.models import Stream
from vision_line.ingest.shedding import DecodeLoad, DecodeRoom, Demand, least_room, plan_quota, plan_shares
from vision_line.inspection.coverage.causes import DECODING
from vision_line.scheduler import CameraPipeline, CoreSharing

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

GIVES_WAY = "decoding: inspecting needs the cores; from each keyframe on only as much is decoded as parts need"
FREE = "decoding: inspecting has what it needs; frames are decoded beyond what parts need"


class DecodedCamera(Protocol):
    """One camera that runs."""

    @property
    def stream(self) -> Stream:
        """Its settings."""

    @property
    def load(self) -> DecodeLoad:
        """What its decoding takes."""

    @property
    def pipeline(self) -> CameraPipeline:
        """Whether it rests."""


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

    def __init__(
        self,
        cameras: Callable[[], Sequence[DecodedCamera]],
        on_alarm: Callable[[str], None],
        sharing: CoreSharing,
        *,
        shares_cores: bool,
    ) -> None:
        """Begin with room for all.

        Args:
            cameras: gives those that run now.
            on_alarm: gets the alarm's sentence, "" when it is over.
            sharing: what the scheduler says, and what it is told.
            shares_cores: whether inspecting needs the same cores as decoding, and gets what that gives up.
        """
        self._cameras = cameras
        self._on_alarm = on_alarm
        self._sharing = sharing
        self._shares_cores = shares_cores
        self._room = DecodeRoom()  # what can be decoded
        self._left = DecodeRoom()  # what inspecting leaves of it
        self._seen: dict[str, deque[DecodeSample]] = {}
        self._shares: Mapping[str, float] = {}
        self._resting: frozenset[str] = frozenset()
        self._gives_way = False
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
        every = [_demand(camera, windows[camera.stream.name]) for camera in live]
        demands = [demand for demand in every if demand.fps > 0]
        if demands:
            self._follow(now_s, demands)
        for camera in live:  # also those that were added or altered since
            camera.load.share = self._shares.get(camera.stream.name, 1.0)
            camera.load.rests = camera.pipeline.rests and self._sharing.decodable >= 1.0

    def _follow(self, now_s: float, demands: Sequence[Demand]) -> None:
        """Learn how much can be decoded, and share that out anew where it has changed."""
        least = least_room([replace(demand, rests=False) for demand in demands])
        strained = any(map(is_strained, self._seen.values()))
        has_changed = self._room.update(now_s, _decoded_part(list(self._seen.values())), is_strained=strained)
        if self._shares_cores and self._sharing.is_inspection_short:
            self._left.give_way(now_s, least)
        else:
            self._left.update(now_s, 1.0, is_strained=False)
        self._sharing.decodable = min(1.0, self._room.room / least)
        resting = frozenset(demand.camera for demand in demands if demand.rests)
        self._set_quotas(demands, max(1.0, self._left.room / least))
        if has_changed or resting != self._resting:
            self._resting = resting
            self._share_out(demands)
            self._seen = {}  # what was seen was of other shares
        if has_changed:
            self._say(demands)

    def _set_quotas(self, demands: Sequence[Demand], times: float) -> None:
        """Let decoding end where parts have had `times` the inspections that they need, while inspecting is short."""
        quotas = {d.camera: plan_quota(d, times) for d in demands if not d.rests and self._left.room < 1.0}
        for camera in self._cameras():
            camera.load.quota = quotas.get(camera.stream.name)
        if bool(quotas) != self._gives_way:
            self._gives_way = bool(quotas)
            logger.info("%s", GIVES_WAY if quotas else FREE)

    def _note(self, camera: DecodedCamera, now_s: float) -> None:
        load = camera.load
        seen = DecodeSample(now_s, load.frames, load.keyframes, load.times_late, load.decoded, load.decode_s)
        window = self._seen.setdefault(camera.stream.name, deque(maxlen=WINDOW + 1))
        if window and window[-1].frames > seen.frames:
            window.clear()  # the camera was altered, and counts anew
        window.append(seen)

    def _share_out(self, demands: Sequence[Demand]) -> None:
        room = self._room.room
        shares = plan_shares(demands, room)
        # One that does not send now keeps its share: it will come back to the same box.
        self._shares = {**self._shares, **shares} if room < 1.0 or self._resting else {}

    def _say(self, demands: Sequence[Demand]) -> None:
        sentence = describe(self._room.room, [demand for demand in demands if not demand.rests], self._shares)
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
        camera=camera.stream.name,
        fps=fps,
        key_fps=fps * last.keyframes / max(last.frames, 1),
        cost_s=last.decode_s / max(last.decoded, 1),
        inspect_fps=camera.stream.inspect_fps,
        needed_fps=camera.stream.needed_fps,
        dwell_s=camera.stream.dwell_s,
        rests=camera.pipeline.rests,
    )


def _names(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" + {more} more" if more > 0 else "")
