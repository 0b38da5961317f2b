# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which frames are decoded: late ones are skipped to the newest, a share is spent from keyframes on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

import av
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vision_line.encoded import EncodedFrame
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.frames import DropCause
from vision_line.ingest.age import DRIFT, EDGE_DRIFT, LONGEST_WAIT_S, FrameAge
from vision_line.ingest.intake import Intake
from vision_line.ingest.shedding import DecodeLoad

FPS, LIMIT_S = 25, 0.5


@dataclass
class Camera:
    """A camera with a queue before it and a decoder behind; time is simulated."""

    group: int = 25
    decode_s: float = 0.004
    read_s: float = 0.0003
    now_s: float = 0.0
    number: int = 0
    stored: int = 0  # so many frames are there at the first moment
    stored_step_s: float = 0.0  # and come one after the other so
    in_step: bool = False  # the decoder has all that the next frame refers to
    shown: list[tuple[int, float]] = field(default_factory=list)  # frame, how late it was then
    decoded: list[int] = field(default_factory=list)
    dropped: Counter[DropCause] = field(default_factory=Counter)
    load: DecodeLoad = field(default_factory=DecodeLoad)

    def __post_init__(self) -> None:
        self.age = FrameAge()
        self.intake = Intake("cam", LIMIT_S, self.load, lambda cause: self.dropped.update([cause]))
        self.busy_s = 0.0
        self.last_decoded = -1

    def read(self, until_s: float) -> None:
        """Read until this moment; a frame is there as soon as it is taken."""
        while max(self.now_s, self._sent_s()) < until_s:
            self.now_s = max(self.now_s, self._sent_s()) + self.read_s
            self.take(self.number)
            self.number += 1

    def _sent_s(self) -> float:
        """Return when the next frame is sent: what is stored comes at its own pace, until that has caught up."""
        start_s = self.stored / FPS
        taken_s = self.number / FPS
        return max(taken_s, start_s + self.number * self.stored_step_s)

    def take(self, number: int) -> None:
        arrived_s = self.now_s
        behind_s = self.age.saw(arrived_s, self.busy_s, number / FPS)
        self.busy_s = 0.0
        packet = av.Packet(b"x" * 100)
        packet.pts, packet.time_base = number, Fraction(1, FPS)
        frame = EncodedFrame(packet, None, number % self.group == 0, arrived_s, 0.0, behind_s=behind_s)
        for chosen in self.intake.take(frame, self.age):
            self.decode(chosen)

    def read_late(self, frames: int, late_s: float) -> None:
        """Read frames of which each comes so late, and is waited for."""
        for _ in range(frames):
            self.now_s = self.number / FPS + late_s
            self.take(self.number)
            self.number += 1

    def decode(self, frame: EncodedFrame) -> None:
        assert frame.packet is not None
        number = frame.packet.pts
        assert number is not None
        assert frame.keyframe or number == self.last_decoded + 1, "what it refers to was not decoded"
        self.last_decoded = number
        self.now_s += self.decode_s
        self.busy_s += self.decode_s
        self.intake.decoded(self.decode_s)
        self.decoded.append(number)
        if frame.shown:
            if frame.behind_s > LIMIT_S:
                self.dropped[DropCause.BEHIND] += 1
            else:
                self.shown.append((number, frame.arrived_s - number / FPS))

    def stop(self, seconds: float) -> None:
        self.now_s = max(self.now_s, self.number / FPS) + seconds

    def assert_accounted(self) -> None:
        assert self.load.frames == len(self.shown) + sum(self.dropped.values())


@given(st.integers(1, 300), st.floats(0.0005, 0.03), st.floats(0.6, 60.0))
@example(group=64, decode_s=0.011486732515661145, stop_s=59.0)
def test_after_a_stop_the_queue_is_skipped_and_no_late_frame_is_shown(
    group: int, decode_s: float, stop_s: float
) -> None:
    """Whatever the groups, the decoder's speed and the stop: fresh frames come at once, or with the next keyframe.

    A frame may be later than the limit by what the estimate leaves to clocks that drift: 10 ms in a minute.
    """
    camera = Camera(group, decode_s)
    camera.read(20.0)
    before = len(camera.shown)
    camera.stop(stop_s)
    resumed_s = camera.now_s
    camera.read(resumed_s + 20.0)
    camera.assert_accounted()
    unseen_s = DRIFT * (camera.now_s - 20.0) + EDGE_DRIFT * LONGEST_WAIT_S
    assert all(late_s <= LIMIT_S + camera.read_s + unseen_s + 1e-6 for _, late_s in camera.shown)
    first = camera.shown[before][0] / FPS
    reading_s = stop_s * FPS * camera.read_s * 1.1
    next_key_s = group / FPS
    assert first <= resumed_s + reading_s + min(next_key_s, 1.0 + group * decode_s / (1 - decode_s * FPS)) + 0.1
    assert set(camera.dropped) <= {DropCause.BEHIND}


def test_a_short_queue_is_skipped_in_step_with_the_decoder() -> None:
    """In a group of ten minutes nothing waits for a keyframe: what was skipped is decoded, and not shown."""
    camera = Camera(group=15_000)
    camera.read(20.0)
    camera.stop(3.0)
    camera.read(camera.now_s + 1.0)
    gap = [later[0] - earlier[0] for earlier, later in zip(camera.shown, camera.shown[1:], strict=False)]
    assert max(gap) == pytest.approx(3.0 * FPS, abs=0.8 * FPS)
    assert camera.decoded == sorted(camera.decoded)


@pytest.mark.parametrize("times", [1.2, 2.0, 5.0])
def test_a_decoder_that_is_too_slow_never_makes_a_queue(times: float) -> None:
    """What is shown stays within the limit for ever, and something is shown again and again."""
    camera = Camera(decode_s=times / FPS)
    camera.read(120.0)
    camera.assert_accounted()
    assert all(late_s <= LIMIT_S + 0.05 for _, late_s in camera.shown)
    gaps_s = [(later - earlier) / FPS for (earlier, _), (later, _) in zip(camera.shown, camera.shown[1:], strict=False)]
    assert max(gaps_s) <= 3.0
    assert camera.load.times_late >= 3


def test_late_frames_that_nothing_skips_are_a_reason_to_reconnect() -> None:
    """The network holds them back: the reader waits for each, and each is seconds late."""
    camera = Camera()
    camera.read(5.0)
    with pytest.raises(SourceError) as reported:
        camera.read_late(100, 3.0)
    assert reported.value.code is SourceErrorCode.BEHIND
    assert camera.now_s <= 5.0 + 3.0 + 1.0


def test_a_slow_reader_gives_up_a_long_queue() -> None:
    """A minute of frames that takes six seconds to read: a new connection is quicker."""
    camera = Camera(read_s=0.004)
    camera.read(5.0)
    camera.stop(60.0)
    resumed_s = camera.now_s
    with pytest.raises(SourceError, match="skipping does not help"):
        camera.read(resumed_s + 10.0)
    assert camera.now_s - resumed_s < 1.0


@given(st.floats(0.0, 1.0), st.integers(1, 60))
def test_of_a_share_so_many_are_decoded_and_keyframes_at_least_now_and_then(share: float, group: int) -> None:
    """From each keyframe on, without a gap; what is left out is counted as shed."""
    camera = Camera(group=group)
    camera.load.share = share
    camera.read(80.0)
    camera.assert_accounted()
    assert set(camera.dropped) <= {DropCause.SHED}
    decoded = len(camera.shown) / camera.load.frames
    assert decoded == pytest.approx(share, abs=0.5 / group + 0.02)


def test_a_share_of_a_group_is_its_keyframe_and_what_follows() -> None:
    """Two fifths of 25 frames: ten from each keyframe on."""
    camera = Camera()
    camera.read(4.0)
    camera.load.share = 0.4
    camera.read(20.0)
    of_last_group = [number % 25 for number, _ in camera.shown if number // 25 == 18]
    assert of_last_group == list(range(len(of_last_group)))
    assert len(of_last_group) in (9, 10, 11)


def test_what_is_shed_does_not_stop_when_room_returns() -> None:
    """The whole share lets everything through from the next keyframe on."""
    camera = Camera()
    camera.load.share = 0.04
    camera.read(10.0)
    camera.load.share = 1.0
    camera.read(20.0)
    assert [number for number, _ in camera.shown][-200:] == list(range(camera.number - 200, camera.number))


def test_damage_waits_for_a_keyframe() -> None:
    """Until then frames are counted as corrupt, as before the first keyframe."""
    camera = Camera(group=10)
    camera.number = 3
    camera.read(0.6)
    assert camera.dropped == {DropCause.CORRUPT: 7}
    camera.intake.lose()
    camera.read(1.0)
    assert camera.dropped[DropCause.CORRUPT] >= 12
    camera.assert_accounted()


@given(st.integers(1, 300), st.floats(0.0, 0.25), st.integers(1, 100), st.floats(0.0005, 0.03))
def test_what_was_stored_before_a_connection_is_not_shown_as_new(
    stored: int, pace: float, group: int, decode_s: float
) -> None:
    """However much a relay has kept, and however quickly it sends it: the newest is shown, those before are late."""
    camera = Camera(group, decode_s, stored=stored, stored_step_s=pace / FPS, now_s=stored / FPS)
    camera.read(stored / FPS / (1 - pace) + 10.0)
    camera.assert_accounted()
    assert set(camera.dropped) <= {DropCause.BEHIND}
    assert all(late_s <= LIMIT_S + 1 / FPS + 2 * camera.read_s for _, late_s in camera.shown)
    caught_up_s = stored / FPS / (1 - pace)
    first_s = camera.shown[0][0] / FPS
    assert first_s <= caught_up_s + 1 + 2 * (group + 1) / FPS


@given(st.integers(1, 100), st.lists(st.floats(0, 0.03), min_size=1, max_size=20))
def test_a_connection_with_nothing_stored_loses_nothing_of_its_start(group: int, jitter_s: list[float]) -> None:
    """Jitter may look like a backlog for some frames: they are late by little, and shown."""
    camera = Camera(group)
    for number in range(100):
        camera.now_s = max(camera.now_s, number / FPS + jitter_s[number % len(jitter_s)])
        camera.take(number)
    assert len(camera.shown) >= 95
    assert not camera.dropped


def test_timestamps_that_always_run_too_fast_are_no_endless_backlog() -> None:
    """Twice too fast: seconds of the connection are lost, and then all is shown."""
    camera = Camera()
    for number in range(500):
        camera.now_s = max(camera.now_s, number / FPS / 2)
        camera.take(number)
    camera.assert_accounted()
    assert set(range(260, 500)) <= {number for number, _ in camera.shown}
