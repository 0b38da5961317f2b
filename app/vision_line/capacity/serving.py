# SPDX-License-Identifier: AGPL-3.0-or-later
"""What frames wait for between their last packet and their result: the pipeline's equations, solved for drawn phases.

N cameras send a frame every T seconds, camera c at phase p_c; nothing else is left to chance, so that for given phases
everything follows. With D a frame's time in its decoder, S(n) a batch's in the engine and h a result's in the
scheduler's thread:

1. Decoding. A decoder works in order of arrival: frame i that arrives at a_i is decoded at
   d_i = max(a_i, d_(i-1)) + D. The mean over all phases has a closed form: see `mean_wait_s`.
2. Mailbox. At d_i the frame goes into its camera's mailbox and replaces a frame that still waits there, which is then
   lost: it was superseded. So a mailbox never adds more than T to a frame's age.
3. Forming a batch. Batch k is formed at f_k, the first moment at which the scheduler's thread is free, fewer than two
   batches are on the device (one runs, one waits in the second slot) and a frame is in a mailbox. It takes all waiting
   frames, but at most B; the cameras served longest ago go first. There is no waiting for more: batches fill with the
   cameras that become ready while the engine works, and so grow with the load. Where fewer inspections are wanted
   than frames come, a camera is due every 1 / inspect_fps, and f_k is also the moment at which waiting frames of
   cameras that are not due are dropped; while no slot is free they wait, and may become due.
4. Engine. Batch k of n_k frames starts at s_k = max(f_k, e_(k-1)) and ends at e_k = s_k + S(n_k).
5. Handing on. The thread collects what has ended when it is free, and spends h on each result: the i-th of a batch
   collected at c_k is known at c_k + i * h. Only then does it form the next batch.

No closed form is known for the whole, but there is one at each end, and the tests hold the solution against them:

* Light load, N * S(1) < T and one decoder: batches of one. Then decoder and engine are servers of constant times in
  line, where all the waiting is the wait before the slower one, as if it were alone (Friedman 1965): the mean
  latency is m_(N-1)(max(D, S(1))) + D + S(1) + h, with m of `mean_wait_s`.
* Overload: every batch is full, waits for one and runs for one, and its frames, each the newest of its camera, are half
  a period old on average when they are taken: T / 2 + 2 * S(B) plus decoding and handing on, whatever the load. So an
  engine that cannot keep up costs frames, not latency.

Between the two, the load fixes the batch: in a steady state the frames that come during a batch are as many as the
batch behind it, n = N / T * S(n). With a line S(n) = u + v * n this is n = u * N / (T - v * N), which grows without
bound towards the engine's limit N * v = T. Padding a batch to the next captured size turns S into stairs, and there
may be several such n; which of them is found depends on the phases.

The mean over phases is taken over sets drawn with a fixed seed, so that equal questions get equal answers; the wait for
the decoder is its exact mean.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

BatchTime = Callable[[int], float]

#: Periods of each set of phases: the first ones, in which the pipeline fills, are not counted.
PERIODS = 32
WARM_UP_PERIODS = 24
#: About this many inspected frames are followed in all, in a number of sets of phases within these bounds.
FRAMES = 24_000
LEAST_DRAWS, MOST_DRAWS = 4, 64


@dataclass(frozen=True, slots=True)
class ServingPipeline:
    """What the equations are about. Times in seconds.

    `inspect_fps` is what the cameras are inspected at, at most `fps`; frames beyond it are decoded and dropped.
    """

    cameras: int
    fps: float
    inspect_fps: float
    decoders: int
    decode_s: float
    batch_s: BatchTime
    max_batch: int
    slots: int
    host_s: float


@dataclass(slots=True)
class Passage:
    """Sums over the inspected frames, in seconds, and what the engine did."""

    frames: int = 0
    decoder_wait_s: float = 0.0
    decode_s: float = 0.0
    mailbox_s: float = 0.0
    slot_s: float = 0.0
    engine_s: float = 0.0
    host_s: float = 0.0
    superseded: int = 0
    batches: int = 0
    working_s: float = 0.0
    span_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Means:
    """Means of an inspected frame in seconds, and what the engine is like."""

    decoder_wait_s: float
    decode_s: float
    mailbox_s: float
    slot_s: float
    engine_s: float
    host_s: float
    batch: float  # frames of a batch
    busy: float  # share of the time in which the engine works
    lost: float  # share of the wanted inspections that did not come about

    @property
    def latency_s(self) -> float:
        """From a frame's last packet to its result."""
        waits = self.decoder_wait_s + self.mailbox_s + self.slot_s
        return waits + self.decode_s + self.engine_s + self.host_s


class _Decoded(NamedTuple):
    """A frame that is to be inspected."""

    decoded_s: float
    camera: int
    arrived_s: float


@dataclass(slots=True)
class _Batch:
    frames: list[_Decoded]
    formed_s: float
    started_s: float
    ended_s: float


class _Mailboxes:
    """The newest decoded frame of each camera that has one, and from when on the camera is due (equations 2 and 3)."""

    def __init__(self, pipeline: ServingPipeline, frames: Sequence[_Decoded], chance: random.Random) -> None:
        self.coming = deque(frames)
        self.waiting: dict[int, _Decoded] = {}
        self._last_turn: dict[int, int] = {}
        self._turn = 0
        self._capped = pipeline.inspect_fps < pipeline.fps
        self._period_s = 1 / pipeline.inspect_fps
        self._due_s = [chance.random() * self._period_s if self._capped else 0.0 for _ in range(pipeline.cameras)]

    def fill(self, now_s: float) -> int:
        """Let in what has been decoded by now; return how many frames were superseded."""
        superseded = 0
        while self.coming and self.coming[0].decoded_s <= now_s:
            frame = self.coming.popleft()
            superseded += frame.camera in self.waiting
            self.waiting[frame.camera] = frame
        return superseded

    def take(self, most: int, now_s: float) -> list[_Decoded]:
        """Take the frames of the next batch, the cameras served longest ago first."""
        if self._capped:
            self.waiting = {camera: frame for camera, frame in self.waiting.items() if now_s >= self._due_s[camera]}
        cameras = sorted(self.waiting, key=lambda camera: self._last_turn.get(camera, -1))[:most]
        for camera in cameras:
            self._last_turn[camera] = self._turn = self._turn + 1
            self._due_s[camera] = max(self._due_s[camera], now_s - self._period_s) + self._period_s
        return [self.waiting.pop(camera) for camera in cameras]


def solve(pipeline: ServingPipeline, phase_sets: Sequence[Sequence[float]] = ()) -> Means:
    """Return the means over sets of phases; the decoders must be able to keep up.

    `phase_sets` holds one phase for each camera in each set, as shares of the period, 0..1; empty: drawn ones.
    """
    chance = random.Random(1)  # noqa: S311  phases, not secrets
    draws = min(MOST_DRAWS, max(LEAST_DRAWS, FRAMES // (pipeline.cameras * PERIODS)))
    passage = Passage()
    for phases in phase_sets or [[chance.random() for _ in range(pipeline.cameras)] for _ in range(draws)]:
        _follow(pipeline, _Mailboxes(pipeline, _decoded_frames(pipeline, phases), chance), passage)
    n = max(1, passage.frames)
    return Means(
        decoder_wait_s=passage.decoder_wait_s / n if phase_sets else _decoder_wait_s(pipeline),
        decode_s=passage.decode_s / n,
        mailbox_s=passage.mailbox_s / n,
        slot_s=passage.slot_s / n,
        engine_s=passage.engine_s / n,
        host_s=passage.host_s / n,
        batch=passage.frames / max(1, passage.batches),
        busy=passage.working_s / passage.span_s,
        lost=_lost(pipeline, passage),
    )


def _decoder_wait_s(pipeline: ServingPipeline) -> float:
    """Return the exact mean over all phases, cameras being spread evenly over the decoders."""
    few, more = divmod(pipeline.cameras, pipeline.decoders)
    waits_s = [
        cameras * decoders * mean_wait_s(cameras, 1 / pipeline.fps, pipeline.decode_s)
        for cameras, decoders in ((few, pipeline.decoders - more), (few + 1, more))
        if cameras and decoders
    ]
    return sum(waits_s) / pipeline.cameras


def _lost(pipeline: ServingPipeline, passage: Passage) -> float:
    """Return the share of wanted inspections that were lost.

    Of cameras inspected at every frame each superseded frame is lost. Of the others a newer frame is as good, and an
    inspection is lost only when the next one is due already: that shows in the rate.
    """
    if pipeline.inspect_fps >= pipeline.fps:
        return passage.superseded / max(1, passage.superseded + passage.frames)
    wanted = pipeline.cameras * pipeline.inspect_fps * passage.span_s
    return max(0.0, 1.0 - passage.frames / wanted)


def largest_rate(cameras: int, batch_s: BatchTime, max_batch: int) -> float:
    """Return the frames a second that the engine can do with batches of at most one frame a camera."""
    return max(n / batch_s(n) for n in range(1, min(cameras, max_batch) + 1))


def _decoded_frames(pipeline: ServingPipeline, phases: Sequence[float]) -> list[_Decoded]:
    """Return all frames in the order in which they are decoded (equation 1)."""
    period_s = 1 / pipeline.fps
    periods = round(PERIODS * pipeline.fps / pipeline.inspect_fps)
    decoded: list[_Decoded] = []
    for decoder in range(pipeline.decoders):
        cameras = range(decoder, pipeline.cameras, pipeline.decoders)
        order = sorted((phases[camera] * period_s, camera) for camera in cameras)
        free_s = 0.0
        for number in range(periods):
            for phase_s, camera in order:
                arrived_s = phase_s + number * period_s
                free_s = max(free_s, arrived_s) + pipeline.decode_s
                decoded.append(_Decoded(free_s, camera, arrived_s))
    return sorted(decoded)


def _follow(pipeline: ServingPipeline, boxes: _Mailboxes, passage: Passage) -> None:
    """Add one set of phases to `passage` (equations 2 to 5)."""
    counted_from_s = WARM_UP_PERIODS / pipeline.inspect_fps
    ends_s = PERIODS / pipeline.inspect_fps
    device: deque[_Batch] = deque()
    now_s = engine_free_s = 0.0
    while now_s < ends_s and (boxes.coming or device):
        for batch in [device.popleft() for _ in range(sum(batch.ended_s <= now_s for batch in device))]:
            now_s = _hand_on(pipeline, batch, now_s, counted_from_s, passage)
        superseded = boxes.fill(now_s)
        passage.superseded += superseded if now_s >= counted_from_s else 0
        while len(device) < pipeline.slots and (frames := boxes.take(pipeline.max_batch, now_s)):
            started_s = max(now_s, engine_free_s)
            engine_free_s = started_s + pipeline.batch_s(len(frames))
            device.append(_Batch(frames, now_s, started_s, engine_free_s))
        now_s = _next_moment(now_s, boxes, device, pipeline.slots)
    passage.span_s += ends_s - counted_from_s


def _next_moment(now_s: float, boxes: _Mailboxes, device: Sequence[_Batch], slots: int) -> float:
    """Return when the thread has something to do again: a batch has ended, or a frame comes and a slot is free."""
    moments = [batch.ended_s for batch in device][:1]
    if len(device) < slots and boxes.coming:
        moments.append(boxes.coming[0].decoded_s)
    return max(now_s, min(moments)) if moments else now_s


def _hand_on(pipeline: ServingPipeline, batch: _Batch, now_s: float, counted_from_s: float, passage: Passage) -> float:
    """Count a batch's frames; return when the thread is free again."""
    counts = batch.ended_s >= counted_from_s
    if counts:
        passage.batches += 1
        passage.working_s += batch.ended_s - batch.started_s
    for frame in batch.frames:
        now_s += pipeline.host_s
        if counts:
            passage.frames += 1
            passage.decoder_wait_s += frame.decoded_s - pipeline.decode_s - frame.arrived_s
            passage.decode_s += pipeline.decode_s
            passage.mailbox_s += batch.formed_s - frame.decoded_s
            passage.slot_s += batch.started_s - batch.formed_s
            passage.engine_s += batch.ended_s - batch.started_s
            passage.host_s += now_s - batch.ended_s
    return now_s


def mean_wait_s(cameras: int, period_s: float, decode_s: float) -> float:
    """Return how long a frame waits on average for a decoder with `cameras` on it; infinite beyond what it can do.

    n cameras send a frame every T seconds, each at a phase of its own, evenly distributed; a frame takes the decoder D
    seconds, in order of arrival (an N*D/D/1 queue). Let W be the work that waits at some moment, and m_n its mean. W
    falls at the rate of 1 while there is any, and jumps by D at every arrival. In the steady state the mean change of
    W^2 / 2 is zero: what it loses, on average m_n a second, equals what arrivals add, n / T times a second,

        m_n = (n / T) * mean of ((V + D)^2 - V^2) / 2 = (n / T) * (D * mean of V + D^2 / 2)

    where V is the work that an arriving frame finds. Its own camera's frame before came a period ago and is done (n * D
    < T), so V is the work of the n - 1 others at a moment that is a chance moment for them: its mean is m_(n-1). Hence
    m_0 = 0 and m_n = (n * D / T) * (m_(n-1) + D / 2), and a frame of one of n cameras waits m_(n-1) on average. With
    many cameras of little load each, this becomes the M/D/1 queue's load * D / (2 * (1 - load)).
    """
    if cameras * decode_s >= period_s:
        return inf
    work_s = 0.0
    for others in range(1, cameras):
        work_s = others * decode_s / period_s * (work_s + decode_s / 2)
    return work_s
