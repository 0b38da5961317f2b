# SPDX-License-Identifier: AGPL-3.0-or-later
"""The simulator from the command line: clips with a progress bar, the server, the training set."""

from __future__ import annotations

import signal
import sys
import threading
import time
from ipaddress import ip_address
from pathlib import Path

import typer

from vision_line.cli.progress import progress_bar
from vision_line.errors import ConfigError, ExitCode, RunError
from vision_line.output_files import said_of
from vision_line.runtime.output_check import check_live_logs, check_outputs
from vision_line.screens.lines import say
from vision_line.simulator.clips import Clip, ensure_clips
from vision_line.simulator.labelled_images import write_dataset
from vision_line.simulator.live import Simulator

#: How often the server is looked after, in seconds.
CHECK_EVERY_S = 1.0


def rendered_clips(cameras: int, seed: int) -> list[Clip]:
    """Return the clips of the virtual cameras, drawing those that are not there yet."""
    with progress_bar("Drawing the virtual PCB line (once)") as report:
        return ensure_clips(cameras, seed, None, report)


def serve(cameras: int, address: tuple[str, int], seed: int, sent_log: Path | None, duration_s: float | None) -> int:
    """Serve virtual cameras at an IP address and port until a signal or the end of `duration_s`; return the exit code.

    Raises:
        ConfigError: `sent_log` cannot be written, or the address is none.
        RunError: the port is in use, the server does not start, or it ends by itself.
    """
    check_live_logs({"--sent-log": sent_log})
    host, port = address
    try:
        ip_address(host)
    except ValueError as exc:
        raise ConfigError(f"--listen: expected an IP address such as 0.0.0.0, found {host!r}") from exc
    clips = rendered_clips(cameras, seed)
    over = threading.Event()
    interrupted = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        interrupted.set()
        over.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    with Simulator(clips, port, sent_log=sent_log, host=host) as simulator:
        first, last = clips[0].camera, clips[-1].camera
        say(f"serving {cameras} cameras: rtsp://{host}:{port}/{first} to {last}", sys.stdout)
        ends_s = float("inf") if duration_s is None else time.monotonic() + duration_s
        while not over.wait(min(CHECK_EVERY_S, max(ends_s - time.monotonic(), 0.0))) and time.monotonic() < ends_s:
            if (fault := simulator.fault()) is not None:
                raise RunError(f"simulator: the server process ended: {fault}")
    return ExitCode.INTERRUPTED if interrupted.is_set() else ExitCode.DONE


def write_training_set(directory: Path, images: int, seed: int) -> None:
    """Write `images` labelled images below `directory` in YOLO's layout.

    Raises:
        ConfigError: `directory` cannot be written.
        RunError: the disk refused while it was written.
    """
    check_outputs({}, {"--dataset": directory})
    with said_of(directory), progress_bar("Drawing images") as report:
        write_dataset(directory, images, seed, report)
    typer.echo(f"{directory}/data.yaml: {images} images with labels")
