# SPDX-License-Identifier: AGPL-3.0-or-later
"""One fault, and the subjects that meet it: servers up, subjects up, fault on, fault off, and what came of it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.faults.clock import Setting, WallClock
from benchmarks.faults.fault import Fault, Scene
from benchmarks.faults.line import VisionLine
from benchmarks.faults.outcome import Outcome, Window, evaluate_line, evaluate_peer
from benchmarks.faults.peers import OPENCV_LOOP, ULTRALYTICS_LOADER, Peer
from benchmarks.faults.relay import Relay
from benchmarks.faults.site import Camera, RawServers, Servers, Site
from benchmarks.faults.subject import VICTIM, Account, Subject
from benchmarks.faults.waiting import EndedError, TooSlowError

OTHERS = 2
#: Undisturbed before the fault; and after it, long enough to see that a camera is back within 5 s.
BEFORE_S = 3.0
AFTER_S = 6.5
DISK_BYTES = 128 << 20
LINE = "vision-line"
SUBJECTS = (LINE, "OpenCV loop", "Ultralytics")
_PROGRAMS = {"OpenCV loop": OPENCV_LOOP, "Ultralytics": ULTRALYTICS_LOADER}


def run(fault: Fault, names: Sequence[str], site: Site, video: Path, folder: Path) -> dict[str, Outcome]:
    """Run the named subjects through one fault, beside each other.

    Raises:
        EndedError: a subject ended before the fault began.
        TooSlowError: one did not start in time.
    """
    with _scene(fault, names, site, video, folder) as scene:
        window = _play(fault, scene)
        accounts = [subject.stop() for subject in scene.subjects]
    return {name: _evaluate(fault, name, account, window) for name, account in zip(names, accounts, strict=True)}


@contextmanager
def _scene(fault: Fault, names: Sequence[str], site: Site, video: Path, folder: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        camera: Camera = Servers(site.victim, [video]) if fault.raw is None else RawServers(fault.raw())
        others = Servers(site.others, [video] * OTHERS)
        for servers in (camera, others):
            stack.callback(servers.kill)
            servers.start()
        disk = folder / "disk"
        disk.mkdir(parents=True)
        if fault.needs_mount:
            _mount_disk(folder / "image", disk)
            stack.callback(subprocess.run, ["umount", "--lazy", str(disk)], check=True)
        relay = Relay((site.victim.address, site.victim.port)) if fault.needs_relay else None
        if relay is not None:
            stack.callback(relay.close)
        victim = camera.urls[0] if relay is None else f"rtsp://127.0.0.1:{relay.port}/cam1"
        urls = {VICTIM: victim} | {f"other{n}": url for n, url in enumerate(others.urls, start=1)}
        clock = WallClock(folder / "clock")
        environment = clock.environment if fault.offsets_s else {}
        subjects = [_subject(name, folder, site, urls, disk, environment) for name in names]
        for subject in subjects:
            stack.callback(subject.close)
        stack.callback(site.free_cores)
        yield Scene(site, camera, subjects, len(urls), disk, clock, relay)


def _play(fault: Fault, scene: Scene) -> Window:
    """Play a fault through; the subjects run on at its end."""
    if fault.raw is not None:
        _start_beside_a_bad_camera(scene)
        begun_s = time.monotonic()
        time.sleep(fault.lasts_s)
        return _window(fault, begun_s, begun_s)
    scene.start()
    time.sleep(BEFORE_S)
    begun_s = time.monotonic()
    fault.begin(scene)
    time.sleep(fault.lasts_s)
    fault.end(scene)
    over_s = time.monotonic()
    time.sleep(AFTER_S)
    return _window(fault, begun_s, over_s)


def _start_beside_a_bad_camera(scene: Scene) -> None:
    """Start all; a peer that ends because of one camera looks at none."""
    for subject in scene.subjects:
        subject.launch()
    for subject in scene.subjects:
        try:
            subject.wait(OTHERS)
        except (EndedError, TooSlowError):
            if subject.name == LINE:
                raise


def _window(fault: Fault, begun_s: float, over_s: float) -> Window:
    moments = zip((begun_s, over_s), fault.offsets_s, strict=False)
    settings = tuple(Setting(at_s, offset_s) for at_s, offset_s in moments)
    now_s = time.monotonic()
    return Window(begun_s, over_s, now_s, time.time() - now_s, settings)


def _evaluate(fault: Fault, name: str, account: Account, window: Window) -> Outcome:
    victims = account.cameras if fault.everyone else (VICTIM,)
    if name == LINE:
        return evaluate_line(account, window, victims)
    return evaluate_peer(account, window, victims, fault.is_damaged)


def _mount_disk(image: Path, at: Path) -> None:
    """Mount a small file system of its own, one that can fill, hang and fail as a disk does."""
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(at)], check=True)


def _subject(
    name: str, folder: Path, site: Site, urls: dict[str, str], disk: Path, environment: dict[str, str]
) -> Subject:
    if name == LINE:
        return VisionLine(folder / "line", site.line, urls, disk / "records", environment)
    short = name.split(maxsplit=1)[0].lower()
    return Peer(name, _PROGRAMS[name], folder / short, site.line, urls, disk / f"{short}.txt", environment)
