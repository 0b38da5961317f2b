# SPDX-License-Identifier: AGPL-3.0-or-later
"""The faults, in the order of the table."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from math import inf

from tests.integration.rtsp.raw_server import RawCamera

from benchmarks.faults.bench import Fault, Scene
from benchmarks.faults.videos import FPS, Kind, ensure_stamped_video, units_of

#: Until a camera that is new runs, these say why it is not inspected.
STARTS = ("camera:CONNECTING", "device:STARTING")


def _nothing(scene: Scene) -> None:
    """Do nothing."""


def _freeze(scene: Scene, option: str) -> None:
    subprocess.run(["fsfreeze", option, str(scene.disk)], check=True)


def _give_up_disk(scene: Scene) -> None:
    """Have the file system make itself read-only, as it does when its device fails; nothing brings it back."""
    subprocess.run(["mount", "-o", "remount,abort", str(scene.disk)], check=True)


def _fill_disk(scene: Scene) -> None:
    with (scene.disk / "fill").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def _undescribed() -> RawCamera:
    return RawCamera(units_of(ensure_stamped_video(Kind(group=30 * FPS))), fps=FPS, describes_sets=False)


def _digest_sha256() -> RawCamera:
    return RawCamera(units_of(ensure_stamped_video()), fps=FPS, auth=("sha256",))


def _changes_size() -> RawCamera:
    small = units_of(ensure_stamped_video(Kind(size_wh=(480, 270))))
    return RawCamera(units_of(ensure_stamped_video())[: 4 * FPS] + small[4 * FPS :], fps=FPS)


def _loses_pictures() -> RawCamera:
    units = units_of(ensure_stamped_video())
    lost = frozenset(number for number in range(len(units)) if number % (2 * FPS) in (45, 46))
    return RawCamera(units, fps=FPS, lose=lost)


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
        causes=("camera:",),
        told_s=0.0,
        needs_networks=True,
    ),
    Fault(
        "link too narrow",
        "the camera sends 1.5 Mbit/s, its link takes 0.9 for 12 s, and queues the rest",
        begin=lambda scene: scene.site.narrow(900),
        end=lambda scene: scene.site.widen(),
        lasts_s=12.0,
        causes=("camera:",),
        told_s=0.0,
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
        told_s=0.0,
    ),
    Fault(
        "program killed",
        "the inspecting program is killed, and started again after 5 s",
        begin=lambda scene: scene.subject.kill(),
        end=lambda scene: scene.subject.start(3),
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
        "disk hangs",
        "the disk of the records answers no write for 10 s (after 2 s inspection stops)",
        begin=lambda scene: _freeze(scene, "--freeze"),
        end=lambda scene: _freeze(scene, "--unfreeze"),
        lasts_s=10.0,
        told_s=6.0,
        causes=("log",),
        everyone=True,
        needs_mount=True,
        for_peers=False,
    ),
    Fault(
        "disk fails",
        "the file system of the records becomes read-only, for good",
        begin=_give_up_disk,
        end=_nothing,
        lasts_s=10.0,
        told_s=0.0,  # nothing can be written: the screen and the exit code say so
        exit_code=4,
        causes=("log",),
        everyone=True,
        back_within_s=inf,
        needs_mount=True,
        for_peers=False,
    ),
    Fault(
        "no parameter sets",
        "the camera does not describe its video, and sends a keyframe every 30 s",
        begin=_nothing,
        end=_nothing,
        lasts_s=12.0,
        causes=STARTS,
        told_s=0.0,
        raw=_undescribed,
    ),
    Fault(
        "Digest SHA-256",
        "the camera takes no other proof of the password",
        begin=_nothing,
        end=_nothing,
        lasts_s=12.0,
        causes=STARTS,
        told_s=0.0,
        raw=_digest_sha256,
    ),
    Fault(
        "another size",
        "the camera changes its picture's size after 4 s, on the same connection",
        begin=_nothing,
        end=_nothing,
        lasts_s=12.0,
        causes=STARTS,
        told_s=0.0,
        raw=_changes_size,
    ),
    Fault(
        "pictures lost",
        "two pictures of fifty never arrive; up to the next keyframe what is decoded is damaged",
        begin=_nothing,
        end=_nothing,
        lasts_s=12.0,
        causes=STARTS,
        told_s=0.0,
        raw=_loses_pictures,
        damages=True,
    ),
)
