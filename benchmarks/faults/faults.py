# SPDX-License-Identifier: AGPL-3.0-or-later
"""The faults, in the order of the table."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from math import inf

from benchmarks.faults.fault import Fault, Scene
from benchmarks.faults.raw_cameras import changes_size, digest_sha256, is_damaged, loses_frames, undescribed

#: Until a camera that is new runs, these say why it is not inspected.
STARTS = ("camera:CONNECTING", "device:STARTING")
#: How far ahead the wall clock is after it is set forward by 3 h, and after it is set back by half an hour.
FORWARD_S, BACK_S = 10_800.0, 9_000.0


def _freeze(scene: Scene, option: str) -> None:
    subprocess.run(["fsfreeze", option, str(scene.disk)], check=True)


def _give_up_disk(scene: Scene) -> None:
    """Have the file system make itself read-only, as it does when its device fails; nothing brings it back."""
    subprocess.run(["mount", "-o", "remount,abort", str(scene.disk)], check=True)


def _fill_disk(scene: Scene) -> None:
    with (scene.disk / "fill").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


FAULTS = (
    Fault(
        "camera killed",
        "the camera's server is killed, and starts again after 6 s",
        begin=lambda scene: scene.camera.kill(),
        end=lambda scene: scene.camera.start(),
        lasts_s=6.0,
        causes=("camera:",),
    ),
    Fault(
        "camera hangs",
        "the camera's server is stopped for 8 s; its connections stay open",
        begin=lambda scene: scene.camera.signal(signal.SIGSTOP),
        end=lambda scene: scene.camera.signal(signal.SIGCONT),
        lasts_s=8.0,
        causes=("camera:",),
    ),
    Fault(
        "cable pulled",
        "the cable is out for 10 s: nothing goes through, no side is told (half-open TCP)",
        begin=lambda scene: scene.site.pull_cable(),
        end=lambda scene: scene.site.plug_cable(),
        lasts_s=10.0,
        causes=("camera:",),
        needs_networks=True,
    ),
    Fault(
        "packets lost",
        "3 % of the packets are lost in both directions for 8 s (TCP sends them again)",
        begin=lambda scene: scene.site.lose(3),
        end=lambda scene: scene.site.lose_nothing(),
        lasts_s=8.0,
        causes=("camera:",),
        reported_s=0.0,
        needs_networks=True,
    ),
    Fault(
        "link too narrow",
        "the camera sends 1.5 Mbit/s, its link takes 0.9 for 12 s, and queues the rest",
        begin=lambda scene: scene.site.narrow(900),
        end=lambda scene: scene.site.widen(),
        lasts_s=12.0,
        causes=("camera:",),
        reported_s=0.0,
        alone=True,
        needs_networks=True,
    ),
    Fault(
        "link unsteady",
        "the link takes 0.1 to 0.3 s in each direction for 8 s, each packet another time",
        begin=lambda scene: scene.delay(0.1, jitter_s=0.2),
        end=lambda scene: scene.delay(0.0),
        lasts_s=8.0,
        causes=("camera:",),
        reported_s=0.0,
        needs_relay=True,
    ),
    Fault(
        "link slow",
        "the link takes 1.5 s in each direction for 10 s",
        begin=lambda scene: scene.delay(1.5),
        end=lambda scene: scene.delay(0.0),
        lasts_s=10.0,
        causes=("camera:",),
        needs_relay=True,
    ),
    Fault(
        "link stalls",
        "nothing comes through the link for 4 s, then all of it at once",
        begin=lambda scene: scene.stall(stalled=True),
        end=lambda scene: scene.stall(stalled=False),
        lasts_s=4.0,
        causes=("camera:",),
        needs_relay=True,
    ),
    Fault(
        "program stopped",
        "the inspecting program is stopped for 20 s (SIGSTOP), the cameras send on",
        begin=lambda scene: scene.signal(signal.SIGSTOP),
        end=lambda scene: scene.signal(signal.SIGCONT),
        lasts_s=20.0,
        causes=("paused", "camera:BEHIND"),  # the second while what had queued meanwhile is skipped
        everyone=True,
        back_within_s=2.0,
    ),
    Fault(
        "busy cores",
        "two busy loops on every core for 10 s",
        begin=lambda scene: scene.site.load_cores(),
        end=lambda scene: scene.site.free_cores(),
        lasts_s=10.0,
        causes=("capacity", "paused", "camera:"),
        everyone=True,
        reported_s=0.0,
        alone=True,
    ),
    Fault(
        "program killed",
        "the inspecting program is killed, and started again after 5 s",
        begin=lambda scene: scene.kill(),
        end=lambda scene: scene.start(),
        lasts_s=5.0,
        causes=("crashed", "device:STARTING", "camera:CONNECTING"),
        everyone=True,
        alone=True,
    ),
    Fault(
        "clock set",
        "the wall clock is set forward by 3 h, and after 8 s back by half an hour",
        begin=lambda scene: scene.clock.set(FORWARD_S),
        end=lambda scene: scene.clock.set(BACK_S),
        lasts_s=8.0,
        causes=(),
        everyone=True,
        reported_s=0.0,
        offsets_s=(FORWARD_S, BACK_S),
    ),
    Fault(
        "disk full",
        "the disk of the records is full for 8 s",
        begin=_fill_disk,
        end=lambda scene: (scene.disk / "fill").unlink(),
        lasts_s=8.0,
        causes=("log",),
        everyone=True,
        needs_mount=True,
    ),
    Fault(
        "disk hangs",
        "the disk of the records answers no write for 8 s (after 2 s inspection stops)",
        begin=lambda scene: _freeze(scene, "--freeze"),
        end=lambda scene: _freeze(scene, "--unfreeze"),
        lasts_s=8.0,
        reported_s=4.0,
        causes=("log",),
        everyone=True,
        needs_mount=True,
    ),
    Fault(
        "disk fails",
        "the file system of the records becomes read-only, for good",
        begin=_give_up_disk,
        lasts_s=8.0,
        reported_s=0.0,  # nothing can be written: the screen and the exit code say so
        exit_code=4,
        causes=("log",),
        everyone=True,
        back_within_s=inf,
        needs_mount=True,
    ),
    Fault(
        "no parameter sets",
        "the camera does not describe its video, and sends a keyframe every 30 s",
        lasts_s=8.0,
        causes=STARTS,
        reported_s=0.0,
        raw=undescribed,
    ),
    Fault(
        "Digest SHA-256",
        "the camera takes no other proof of the password",
        lasts_s=8.0,
        causes=STARTS,
        reported_s=0.0,
        raw=digest_sha256,
    ),
    Fault(
        "another size",
        "the camera changes its frame's size after 4 s, on the same connection",
        lasts_s=10.0,
        causes=STARTS,
        reported_s=0.0,
        raw=changes_size,
    ),
    Fault(
        "frames lost",
        "two frames of fifty never arrive; up to the next keyframe what is decoded is damaged",
        lasts_s=10.0,
        causes=STARTS,
        reported_s=0.0,
        raw=loses_frames,
        is_damaged=is_damaged,
    ),
)
