# SPDX-License-Identifier: AGPL-3.0-or-later
"""The faults, in the order of the table."""

from __future__ import annotations

import contextlib
import signal
import subprocess

from benchmarks.faults.bench import Fault, Scene


def _nothing(scene: Scene) -> None:
    """Do nothing."""


def _remount(scene: Scene, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(scene.disk)], check=True)


def _fill_disk(scene: Scene) -> None:
    with (scene.disk / "fill").open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
            file.flush()


FAULTS = (
    Fault(
        "camera killed",
        "the camera's server is killed, and starts again after 8 s",
        begin=lambda scene: scene.camera.kill(),
        end=lambda scene: scene.camera.start(),
        lasts_s=8.0,
        causes=("camera:",),
    ),
    Fault(
        "camera hangs",
        "the camera's server is stopped for 10 s; its connections stay open",
        begin=lambda scene: scene.camera.signal(signal.SIGSTOP),
        end=lambda scene: scene.camera.signal(signal.SIGCONT),
        lasts_s=10.0,
        causes=("camera:",),
    ),
    Fault(
        "cable pulled",
        "the cable is out for 12 s: nothing goes through, no side is told (half-open TCP)",
        begin=lambda scene: scene.site.pull_cable(),
        end=lambda scene: scene.site.plug_cable(),
        lasts_s=12.0,
        causes=("camera:",),
        needs_networks=True,
    ),
    Fault(
        "packets lost",
        "3 % of the packets are lost in both directions for 10 s (TCP sends them again)",
        begin=lambda scene: scene.site.lose(3),
        end=lambda scene: scene.site.lose_nothing(),
        lasts_s=10.0,
        causes=("camera:", "capacity"),
        blind=False,
        needs_networks=True,
    ),
    Fault(
        "link too narrow",
        "the camera sends 1.5 Mbit/s, its link takes 0.9 for 12 s, and queues the rest",
        begin=lambda scene: scene.site.narrow(900),
        end=lambda scene: scene.site.widen(),
        lasts_s=12.0,
        causes=("camera:", "capacity"),
        blind=False,
        needs_networks=True,
    ),
    Fault(
        "program stopped",
        "the inspecting program is stopped for 20 s (SIGSTOP), the cameras send on",
        begin=lambda scene: scene.subject.signal(signal.SIGSTOP),
        end=lambda scene: scene.subject.signal(signal.SIGCONT),
        lasts_s=20.0,
        causes=("paused",),
        everyone=True,
        back_within_s=2.0,
    ),
    Fault(
        "busy cores",
        "two busy loops on every core for 15 s",
        begin=lambda scene: scene.site.load_cores(),
        end=lambda scene: scene.site.free_cores(),
        lasts_s=15.0,
        causes=("capacity", "paused", "camera:"),
        everyone=True,
        blind=False,
    ),
    Fault(
        "program killed",
        "the inspecting program is killed, and started again after 5 s",
        begin=lambda scene: scene.subject.kill(),
        end=lambda scene: scene.subject.start(),
        lasts_s=5.0,
        causes=("crashed", "device:STARTING", "camera:CONNECTING"),
        everyone=True,
        for_peers=False,
    ),
    Fault(
        "disk full",
        "the disk of the records is full for 10 s",
        begin=_fill_disk,
        end=lambda scene: (scene.disk / "fill").unlink(),
        lasts_s=10.0,
        causes=("log",),
        everyone=True,
        needs_mount=True,
        for_peers=False,
    ),
    Fault(
        "disk read-only",
        "the disk of the records becomes read-only for 10 s",
        begin=lambda scene: _remount(scene, "ro"),
        end=lambda scene: _remount(scene, "rw"),
        lasts_s=10.0,
        causes=("log",),
        everyone=True,
        needs_mount=True,
        for_peers=False,
    ),
)
