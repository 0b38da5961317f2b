# SPDX-License-Identifier: AGPL-3.0-or-later
"""The run's state for the feed: what a dashboard needs, as plain JSON; docs/feed.md explains each key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict

from vision_line.challenges.due import TargetState, acceptance
from vision_line.feed.feed_server import FeedServer
from vision_line.feed.protocol import Header
from vision_line.screens.headline import headline
from vision_line.telemetry.snapshot import CameraSnapshot, Snapshot

#: How often a snapshot is offered, in seconds.
SNAPSHOT_EVERY_S = 0.25


async def offer_snapshots(
    feed: FeedServer, take: Callable[[], Snapshot], challenges: Callable[[], Sequence[TargetState]] = tuple
) -> None:
    """Offer the run's state while anybody wants it, until cancelled; in the event loop's thread.

    `challenges` returns how each challenge stands. A fault in it ends the feed and not the run.
    """
    try:
        while True:
            if feed.offers.is_snapshot_due:
                feed.offers.snapshot(snapshot_document(take(), challenges()))
            await asyncio.sleep(SNAPSHOT_EVERY_S)
    except Exception as exc:  # noqa: BLE001  logged and shown by the feed
        feed.fail(exc)


def snapshot_document(snapshot: Snapshot, challenges: Sequence[TargetState] = ()) -> Header:
    """Return the run as it is now. Pure."""
    totals = snapshot.totals
    return {
        "now_utc": snapshot.now_utc,
        "uptime_s": round(snapshot.uptime_s, 3),
        "device": snapshot.device,
        "model": snapshot.model,
        "headline": headline(snapshot),
        "inspecting": snapshot.inspecting,
        "expected": snapshot.expected,
        "fps_in": round(totals.fps_in, 2),
        "fps_inspected": round(totals.fps_inspected, 2),
        "latency_p50_ms": None if totals.latency_ms is None else round(totals.latency_ms.p50, 1),
        "latency_p99_ms": None if totals.latency_ms is None else round(totals.latency_ms.p99, 1),
        "cpu_percent": round(totals.cpu_percent, 1),
        "events": totals.events,
        "log_writable": snapshot.log.writable,
        "log_reason": snapshot.log.reason,
        "alarms": snapshot.alarms,
        "notices": snapshot.notices,
        "cameras": [_camera(camera, acceptance(challenges, camera.name)) for camera in snapshot.cameras],
        "recipes": [asdict(wish) for wish in snapshot.recipes],
    }


def _camera(camera: CameraSnapshot, not_accepted: str) -> Header:
    age_s = camera.last_frame_age_s
    return {
        "name": camera.name,
        "state": camera.state,
        "code": camera.code,
        "detail": camera.detail,
        "inspecting": camera.is_inspecting,
        "troubled": camera.is_troubled,
        "not_inspected": camera.not_inspected,
        "not_accepted": not_accepted,
        "fps_in": round(camera.fps_in, 2),
        "fps_inspected": round(camera.fps_inspected, 2),
        "needed_fps": round(camera.needed_fps, 2),
        "inspected_age_s": None if age_s is None else round(age_s, 3),
        "sequence": camera.sequence,
        "latency_p99_ms": None if camera.latency_ms is None else round(camera.latency_ms.p99, 1),
        "events": camera.events,
        "reconnects": camera.reconnects,
        "recipe": camera.recipe.name,
        "recipe_since_utc": camera.recipe.since_utc,
        "model": camera.model.name,
        "model_sha256": camera.model.sha256,
    }
