# SPDX-License-Identifier: AGPL-3.0-or-later
"""One fault, one subject: servers up, subject up, fault on, fault off, and what came of it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from pathlib import Path

from tests.integration.rtsp.raw_server import RawCamera

from benchmarks.faults.line import VisionLine
from benchmarks.faults.peers import OPENCV_LOOP, ULTRALYTICS_LOADER, Peer
from benchmarks.faults.site import RawServers, Servers, Site
from benchmarks.faults.subject import VICTIM, Account, Subject
from benchmarks.faults.verdict import Verdict, Window, judge_line, judge_peer

OTHERS = 2
#: Undisturbed before the fault, and after it.
BEFORE_S = 4.0
AFTER_S = 8.0
DISK_BYTES = 128 << 20
#: A run that was told to end by SIGTERM; all that it took is recorded.
EXIT_INTERRUPTED = 130


@dataclass(slots=True)
class Scene:
    """What a fault can lay hands on."""

    site: Site
    camera: Servers | RawServers  # the victim's server
    subject: Subject
    disk: Path  # where the records go; a file system of its own where that could be mounted


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong for `lasts_s`, and what must hold.

    `causes` are the beginnings of the causes that the ledger may give. `everyone`: all cameras suffer, else the victim.
    `told_s` is how much at least must be in the ledger; None: nearly all of it, as nobody can look at the camera then.
    """

    name: str
    what: str
    begin: Callable[[Scene], None]
    end: Callable[[Scene], None]
    lasts_s: float
    causes: tuple[str, ...]
    everyone: bool = False
    told_s: float | None = None
    exit_code: int = EXIT_INTERRUPTED
    back_within_s: float = 5.0
    needs_networks: bool = False
    needs_mount: bool = False
    for_peers: bool = True
    raw: Callable[[], RawCamera] | None = None  # a camera that has the fault from its start on
    damages: bool = False  # some of its pictures are damaged, and must be counted as that


SUBJECTS = ("vision-line", "OpenCV loop", "Ultralytics")


def run(fault: Fault, subject_name: str, site: Site, video: Path, folder: Path) -> Verdict:
    """Run one subject through one fault."""
    with ExitStack() as stack:
        camera = Servers(site.victim, [video]) if fault.raw is None else RawServers(fault.raw())
        others = Servers(site.others, [video] * OTHERS)
        for servers in (camera, others):
            stack.callback(servers.kill)
            servers.start()
        disk = folder / "disk"
        disk.mkdir(parents=True)
        if fault.needs_mount:
            _mount_disk(folder / "image", disk)
            stack.callback(subprocess.run, ["umount", "--lazy", str(disk)], check=True)
        urls = {VICTIM: camera.urls[0]} | {f"other{n}": url for n, url in enumerate(others.urls, start=1)}
        subject = _subject(subject_name, folder, site, urls, disk)
        stack.callback(subject.close)
        stack.callback(site.free_cores)
        window, account = _play(fault, Scene(site, camera, subject, disk), len(urls))
        judge = judge_line if subject_name == SUBJECTS[0] else judge_peer
        return judge(account, window, tuple(urls) if fault.everyone else (VICTIM,))


def _play(fault: Fault, scene: Scene, cameras: int) -> tuple[Window, Account]:
    """Play a fault through: the subject starts, the fault begins and ends, the subject ends."""
    if fault.raw is not None:
        try:
            scene.subject.start(OTHERS)
        except RuntimeError:  # a peer that ends because of one camera looks at none
            if scene.subject.name == SUBJECTS[0]:
                raise
        begun_s = time.monotonic()
        time.sleep(fault.lasts_s)
        return Window(begun_s, begun_s, time.monotonic()), scene.subject.stop()
    scene.subject.start(cameras)
    time.sleep(BEFORE_S)
    begun_s = time.monotonic()
    fault.begin(scene)
    time.sleep(fault.lasts_s)
    fault.end(scene)
    over_s = time.monotonic()
    time.sleep(AFTER_S)
    return Window(begun_s, over_s, time.monotonic()), scene.subject.stop()


def broken_promises(fault: Fault, verdict: Verdict) -> list[str]:
    """Return what did not hold of vision-line, a few words each. Pure."""
    broken = []
    if verdict.others_lost_s > 0:
        broken.append(f"the others were not looked at for {verdict.others_lost_s:.1f} s")
    if fault.back_within_s < inf and (verdict.back_s is None or verdict.back_s > fault.back_within_s):
        broken.append(f"not back within {fault.back_within_s:g} s")
    must_tell_s = fault.lasts_s - 1.0 if fault.told_s is None else fault.told_s
    if verdict.told_s < must_tell_s:
        broken.append(f"{verdict.told_s:.1f} s are in the ledger, at least {must_tell_s:.1f} s must be")
    strange = [cause for cause in verdict.causes if not cause.startswith(fault.causes)]
    if strange:
        broken.append(f"wrong cause: {', '.join(strange)}")
    if verdict.exit_code != fault.exit_code:
        broken.append(f"exit code {verdict.exit_code} instead of {fault.exit_code}")
    if fault.damages and not verdict.damaged:
        broken.append("no picture was counted as damaged")
    if verdict.old:
        broken.append(f"{verdict.old} results on pictures up to {verdict.oldest_s:.1f} s old")
    return broken


def _mount_disk(image: Path, at: Path) -> None:
    """Mount a small file system of its own, one that can fill, hang and fail as a disk does."""
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(at)], check=True)


def _subject(name: str, folder: Path, site: Site, urls: dict[str, str], disk: Path) -> Subject:
    if name == "vision-line":
        return VisionLine(folder / "line", site.line, urls, records=disk / "records")
    program = OPENCV_LOOP if name == "OpenCV loop" else ULTRALYTICS_LOADER
    return Peer(name, program, folder / "peer", site.line, urls)
