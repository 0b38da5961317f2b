# SPDX-License-Identifier: AGPL-3.0-or-later
"""A connection's state follows from its frames' times alone."""

from __future__ import annotations

from typing import Any

import pytest

from vision_line.config.models import Stream
from vision_line.frames import CameraState
from vision_line.ingest.health import Health
from vision_line.ingest.lifecycle import ConnectionStats, ReconnectCount, evaluate_health, stale_limit_s


def stream(url: str = "rtsp://h/c", **settings: Any) -> Stream:
    """Return a camera's settings."""
    return Stream(name="cam", url=url, read_timeout_s=3.0, connect_timeout_s=4.0, **settings)  # type: ignore[arg-type]


def running(fps: float, frames: int = 50) -> ConnectionStats:
    """Return the stats of a connection whose last frame arrived at 100 s."""
    stats = ConnectionStats(started_s=0.0, opened_s=1.0)
    for index in range(frames):
        stats.saw_frame(100.0 - (frames - 1 - index) / fps)
    return stats


@pytest.mark.parametrize(("fps", "limit_s"), [(25.0, 2.0), (2.5, 2.0), (1.0, 5.0), (0.5, 10.0)])
def test_a_camera_is_stale_after_two_seconds_or_five_periods(fps: float, limit_s: float) -> None:
    """The limit follows the measured pace."""
    stats = running(fps)
    assert evaluate_health(stats, stream(), 100.0 + limit_s * 0.99).state is CameraState.RUNNING
    assert evaluate_health(stats, stream(), 100.0 + limit_s * 1.01).state is CameraState.STALE


def test_the_setting_overrides_the_pace() -> None:
    """`stale_after_s` counts as it stands."""
    assert stale_limit_s(stream(stale_after_s=0.7), period_s=1.0) == 0.7


def test_a_camera_that_stays_stale_is_given_up() -> None:
    """After a further read timeout the connection counts as lost, though its socket may be busy."""
    stats = running(25.0)
    assert not evaluate_health(stats, stream(), 104.9).lost
    assert evaluate_health(stats, stream(), 105.1).lost


def test_a_camera_is_not_blamed_for_a_stop_of_this_program() -> None:
    """Nobody saw its frames for twenty seconds; from then on its silence counts anew."""
    stats = running(25.0)
    stats.resumed_s = 120.0
    assert evaluate_health(stats, stream(), 120.1).state is CameraState.RUNNING
    assert evaluate_health(stats, stream(), 122.1).state is CameraState.STALE
    assert evaluate_health(stats, stream(), 125.1).lost


def test_frames_that_are_decoded_after_newer_ones_were_left_out_change_no_pace() -> None:
    """What was kept for reference arrived before; silence counts from the newest."""
    stats = running(25.0)
    period_s = stats.period_s
    stats.saw_frame(99.5)
    assert (stats.last_frame_s, stats.period_s) == (100.0, period_s)


def test_an_open_camera_without_a_frame_is_given_up() -> None:
    """It shows no state of its own, and ends after the connect and the read timeout."""
    stats = ConnectionStats(started_s=0.0, opened_s=1.0)
    assert evaluate_health(stats, stream(), 7.9).state is None
    assert not evaluate_health(stats, stream(), 7.9).lost
    assert evaluate_health(stats, stream(), 8.1).lost


@pytest.mark.parametrize(
    ("health", "state"),
    [
        (Health.GOOD, CameraState.RUNNING),
        (Health.FROZEN, CameraState.FROZEN),
        (Health.DEGRADED, CameraState.DEGRADED),
    ],
)
def test_health_shows_while_frames_come(health: Health, state: CameraState) -> None:
    """And STALE outranks it when none comes."""
    stats = running(25.0)
    stats.health = health
    assert evaluate_health(stats, stream(), 100.5).state is state
    assert evaluate_health(stats, stream(), 103.0).state is CameraState.STALE


def test_a_file_is_never_stale() -> None:
    """It waits for room as long as the inspection takes."""
    health = evaluate_health(running(25.0), stream("file:x.mp4"), 500.0)
    assert health.state is CameraState.RUNNING
    assert not health.lost


def test_the_next_inspection_is_when_something_can_change() -> None:
    """The supervisor sleeps until then."""
    assert evaluate_health(running(25.0), stream(), 100.5).recheck_at_s == pytest.approx(102.0)
    assert evaluate_health(running(25.0), stream(), 103.0).recheck_at_s == pytest.approx(105.0)


@pytest.mark.parametrize(
    ("states", "reconnects"),
    [
        ("CONNECTING RECONNECTING RECONNECTING", 0),
        ("CONNECTING RECONNECTING RUNNING", 0),
        ("CONNECTING RUNNING STALE RUNNING", 0),
        ("CONNECTING RUNNING STALE RECONNECTING", 0),
        ("CONNECTING RUNNING RECONNECTING RECONNECTING DEGRADED RUNNING", 1),
        ("CONNECTING FROZEN RECONNECTING FROZEN RECONNECTING RUNNING", 2),
        ("CONNECTING RUNNING RECONNECTING REMOVED CONNECTING RECONNECTING RUNNING", 0),
    ],
)
def test_a_reconnection_is_frames_after_a_loss(states: str, reconnects: int) -> None:
    """A camera that never ran was never lost; one that is lost and not back has not been connected again."""
    count = ReconnectCount()
    for state in states.split():
        count.saw(CameraState(state))

    assert count.n == reconnects
