# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is broken while boards pass, and mended again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.virtual_plc.site import Site


@dataclass(frozen=True, slots=True)
class Fault:
    """`play` breaks and mends; it returns when the PLC may accept again. `seen_s`: by when the PLC must know."""

    name: str
    play: Callable[[Site], None]
    seen_s: float | None = None
    needs_mount: bool = False


def _nothing(_site: Site) -> None:
    time.sleep(20)


def _stop_line(seconds: float) -> Callable[[Site], None]:
    def play(site: Site) -> None:
        os.kill(site.line.pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(site.line.pid, signal.SIGCONT)

    return play


def _kill_line(site: Site) -> None:
    site.kill(site.line)
    time.sleep(2)
    site.restart_line()


def _kill_lanes(site: Site) -> None:
    site.kill(site.lanes)
    time.sleep(2)
    site.restart_lanes()


def _stop_lanes(site: Site) -> None:
    os.kill(site.lanes.pid, signal.SIGSTOP)
    try:
        time.sleep(3)
    finally:
        os.kill(site.lanes.pid, signal.SIGCONT)


def _lose_camera(site: Site) -> None:
    site.camera_proxy.is_cut = True
    time.sleep(6)
    site.camera_proxy.is_cut = False
    time.sleep(8)


def _overload(site: Site) -> None:
    site.write_streams(more_cameras=12)
    time.sleep(15)
    site.write_streams()
    time.sleep(3)


def _cut_network(site: Site) -> None:
    site.plc_proxy.is_cut = True
    time.sleep(3)
    site.plc_proxy.is_cut = False


def _fill_disk(site: Site) -> None:
    filler = site.records / "filler"
    try:
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=1M"], check=False, stderr=subprocess.DEVNULL)
        time.sleep(8)
    finally:
        filler.unlink(missing_ok=True)
    time.sleep(3)


FAULTS = (
    Fault("nothing", _nothing),
    Fault("line stopped for 1 s", _stop_line(1.0), 0.3),
    Fault("line stopped for 10 s", _stop_line(10.0), 0.3),
    Fault("line killed", _kill_line, 0.1),
    Fault("camera lost", _lose_camera),
    Fault("12 more cameras", _overload),
    Fault("disk full", _fill_disk, needs_mount=True),
    Fault("lanes killed", _kill_lanes, 0.3),
    Fault("lanes stopped for 3 s", _stop_lanes, 0.3),
    Fault("network to the PLC silent", _cut_network, 0.3),
)
QUICK = ("nothing", "line stopped for 1 s", "line killed", "lanes killed")
