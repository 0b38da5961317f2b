# SPDX-License-Identifier: AGPL-3.0-or-later
"""Frozen, black, uniform and blurred frames are noticed; noise, stand-stills with noise and gaps are not."""

from __future__ import annotations

import time

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vision_line.ingest.fingerprint import COLUMNS, ROWS, Fingerprint, fingerprint_frame, fingerprint_luma
from vision_line.ingest.health import Health, HealthMonitor

Luma = NDArray[np.uint8]


def scene(seed: int = 1) -> Luma:
    """Return a (90, 160) frame with detail."""
    frame: Luma = np.random.default_rng(seed).integers(40, 200, (90, 160)).astype(np.uint8)
    return frame


def noisy(frame: Luma, seed: int, levels: int = 3) -> Luma:
    """Return the frame with a sensor's noise."""
    noise = np.random.default_rng(seed).integers(-levels, levels + 1, frame.shape)
    result: Luma = np.clip(frame.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    return result


def watch(
    health: HealthMonitor, frames: list[Luma], start_s: float = 0.0, fps: float = 5.0, gop: int = 5
) -> list[Health]:
    """Show the frames and return the verdict after each."""
    verdicts = []
    for index, frame in enumerate(frames):
        now_s, keyframe = start_s + index / fps, index % gop == 0
        if health.due(now_s, keyframe=keyframe):
            health.update(now_s, fingerprint_luma(frame), keyframe=keyframe)
        verdicts.append(health.health)
    return verdicts


def test_a_repeated_frame_is_frozen_after_its_time() -> None:
    """FROZEN comes at the first keyframe after `frozen_after_s`, not before."""
    verdicts = watch(HealthMonitor(10.0, may_stand_still=False), [scene()] * 60)
    assert verdicts.index(Health.FROZEN) == 50


@settings(max_examples=30, deadline=None)
@given(gop=st.integers(1, 40), moving=st.integers(1, 80), after_s=st.sampled_from([1.0, 2.0, 4.0]))
def test_how_long_a_frozen_camera_is_believed_at_most(gop: int, moving: int, after_s: float) -> None:
    """`frozen_after_s` and two keyframe intervals, or two seconds where those are short: docs/outputs/lanes.md."""
    fps = 20.0
    before = [scene(seed) for seed in range(2, 2 + moving)]
    verdicts = watch(HealthMonitor(after_s, may_stand_still=False), [*before, *[scene()] * 180], fps=fps, gop=gop)
    believed_s = (verdicts.index(Health.FROZEN) - moving) / fps

    assert after_s <= believed_s <= after_s + (2 * gop / fps if gop / fps >= 0.5 else 2.0)


def test_an_encoder_that_changes_its_quantiser_does_not_hide_a_freeze() -> None:
    """A repeated frame that comes back with single levels of difference is still the same frame."""
    frames = []
    for index in range(60):
        frame = scene().copy()
        frame[index % 90, :40] += 1
        frames.append(frame)
    assert Health.FROZEN in watch(HealthMonitor(10.0, may_stand_still=False), frames)


def test_a_still_scene_with_noise_is_not_frozen() -> None:
    """A real sensor's noise moves some pixels in every keyframe, though frames between them repeat exactly."""
    frames = [noisy(scene(), seed=index // 5) for index in range(300)]
    assert set(watch(HealthMonitor(10.0, may_stand_still=False), frames)) == {Health.GOOD}


def test_one_long_group_of_frames_proves_nothing() -> None:
    """Without a second keyframe an exact repeat is the encoder's doing."""
    verdicts = watch(HealthMonitor(10.0, may_stand_still=False), [scene()] * 100, gop=1000)
    assert set(verdicts) == {Health.GOOD}


def test_slow_change_adds_up() -> None:
    """Each frame equals the one before within a level, and the scene still changes."""
    frames = [np.clip(scene().astype(int) + index // 10, 0, 255).astype(np.uint8) for index in range(300)]
    assert set(watch(HealthMonitor(10.0, may_stand_still=False), frames)) == {Health.GOOD}


def test_a_thawed_camera_recovers_at_once() -> None:
    """The first keyframe of another scene ends FROZEN, and so do two of the same scene with a sensor's noise."""
    health = HealthMonitor(10.0, may_stand_still=False)
    assert watch(health, [scene()] * 60)[-1] is Health.FROZEN
    assert watch(health, [scene(2)], start_s=20.0)[-1] is Health.GOOD
    assert watch(health, [scene()] * 60, start_s=30.0)[-1] is Health.FROZEN
    assert watch(health, [noisy(scene(), seed, levels=1) for seed in range(10)], start_s=45.0)[-1] is Health.GOOD


def test_what_was_left_out_of_a_camera_did_not_stand_still() -> None:
    """The same frame before and after a hole of half a minute proves nothing, and after its time it does."""
    health = HealthMonitor(10.0, may_stand_still=False)
    watch(health, [scene()] * 20)
    health.interrupt()
    verdicts = watch(health, [scene()] * 60, start_s=34.0)
    assert verdicts.index(Health.FROZEN) == 50
    health.interrupt()
    assert health.health is Health.FROZEN


def test_a_belt_that_may_stand_still_is_never_frozen() -> None:
    """The setting turns FROZEN off."""
    assert set(watch(HealthMonitor(10.0, may_stand_still=True), [scene()] * 100)) == {Health.GOOD}


@pytest.mark.parametrize("level", [16, 128])
def test_black_and_uniform_frames_are_degraded_and_recover(level: int) -> None:
    """After two seconds DEGRADED, after one good second GOOD again."""
    health = HealthMonitor(10.0, may_stand_still=True)
    flat = [noisy(np.full((90, 160), level, np.uint8), seed=index, levels=1) for index in range(20)]
    verdicts = watch(health, flat)
    assert verdicts[5] is Health.GOOD
    assert verdicts[-1] is Health.DEGRADED
    assert watch(health, [scene(index) for index in range(10)], start_s=4.0)[-1] is Health.GOOD


def test_a_flicker_is_not_degraded() -> None:
    """A single black frame among good ones changes nothing."""
    frames = [np.zeros((90, 160), np.uint8) if index % 9 == 0 else scene(index) for index in range(100)]
    assert set(watch(HealthMonitor(10.0, may_stand_still=False), frames)) == {Health.GOOD}


def blurred(frame: Luma) -> Luma:
    """Return the frame averaged over 9 pixels of each row."""
    rows = frame.astype(np.float32)
    shifted = np.stack([np.roll(rows, shift, axis=1) for shift in range(-4, 5)])
    return np.asarray(shifted.mean(axis=0), np.uint8)


def test_a_lens_out_of_focus_is_degraded_and_recovers() -> None:
    """Sharpness far below the camera's own for ten seconds is DEGRADED; gaps between parts are not."""
    health = HealthMonitor(10.0, may_stand_still=True)
    parts = [scene(index) if index % 20 < 10 else blurred(scene(index)) for index in range(300)]
    assert set(watch(health, parts)) == {Health.GOOD}
    assert watch(health, [blurred(scene(index)) for index in range(80)], start_s=60.0)[-1] is Health.DEGRADED
    assert watch(health, [scene(index) for index in range(5)], start_s=76.0)[-1] is Health.GOOD


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=120))
def test_frozen_rests_on_keyframes_alone(frames: list[tuple[bool, bool]]) -> None:
    """Whatever comes: FROZEN just when all keyframes of the last 10 s or more, and the one before, are one frame."""
    health = HealthMonitor(10.0, may_stand_still=False)
    shown, since_s, key_shown = 0, 0.0, -1
    for index, (changes, keyframe) in enumerate(frames):
        now_s = index * 1.0
        shown += changes
        health.update(now_s, fingerprint_luma(noisy(scene(), shown, 20)), keyframe=keyframe)
        if keyframe and shown != key_shown:
            key_shown, since_s = shown, now_s
        if keyframe:
            assert (health.health is Health.FROZEN) == (now_s - since_s >= 10.0)


def test_fingerprints_read_every_luma_form() -> None:
    """8-bit, padded, 10-bit and semi-planar frames give the same samples; RGB gives none."""
    luma = scene()
    want = fingerprint_luma(luma)
    assert want.thumbnail.shape == (ROWS, COLUMNS)
    grey = av.VideoFrame.from_ndarray(luma, format="gray")
    for pixel_format in ("yuv420p", "nv12", "yuvj422p", "yuv420p10le", "p010le"):
        got = fingerprint_frame(grey.reformat(format=pixel_format, src_color_range="JPEG", dst_color_range="JPEG"))
        assert got is not None, pixel_format
        assert np.abs(got.thumbnail.astype(int) - want.thumbnail).max() <= 1, pixel_format
    assert fingerprint_frame(grey.reformat(format="rgb24")) is None
    assert fingerprint_frame(object()) is None


def test_an_inspection_costs_little() -> None:
    """Two looks a second at a 1080p frame cost at most 0.05 ms for each of 25 frames."""
    frame = av.VideoFrame(1920, 1080, "yuv420p")
    health = HealthMonitor(10.0, may_stand_still=False)
    costs = []
    for index in range(50):
        started = time.thread_time()
        fingerprint = fingerprint_frame(frame)
        assert isinstance(fingerprint, Fingerprint)
        health.update(float(index), fingerprint, keyframe=True)
        costs.append(time.thread_time() - started)
    assert sorted(costs)[len(costs) // 2] * 2 / 25 <= 0.05e-3
