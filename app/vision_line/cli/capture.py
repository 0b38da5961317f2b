# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line capture`: says what it will store, collects with a progress bar, says what it stored and what not."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from vision_line.capture.capture import CameraCaptureResult, CaptureOptions, CaptureResult, open_capture
from vision_line.capture.folder import MANIFEST
from vision_line.capture.image_encoding import ImageEncoding
from vision_line.cli.progress import progress_bar
from vision_line.cli.simulate import rendered_clips
from vision_line.config.load import load_config
from vision_line.errors import ExitCode, RunError
from vision_line.frames import CameraState
from vision_line.leaving import run_with_signals_held
from vision_line.runtime.options import RunOptions
from vision_line.runtime.protected_files import check_apart, kept_by_run
from vision_line.screens.lines import say
from vision_line.screens.logs import logging_to_stream


def collect(streams_file: Path, options: CaptureOptions) -> int:
    """Collect images of the cameras in `streams_file`; return the exit code.

    Raises:
        ConfigError: the configuration, or options that do not fit it.
        RunError: nothing could be stored, or the capture cannot go on.
    """
    loaded = load_config(streams_file)
    check_apart([(f"-o {options.output}", options.output)], kept_by_run(RunOptions(streams_file), loaded))
    simulator = loaded.config.simulator
    clips = [] if simulator is None else rendered_clips(simulator.cameras, simulator.seed)
    with logging_to_stream(level=logging.WARNING), open_capture(options, loaded, clips) as capture:
        say(_promise(options, len(loaded.config.enabled_streams)), sys.stdout)
        with progress_bar("Capturing") as report:
            run_with_signals_held(capture.serve(report))
        result = capture.result()
    say("\n".join(_result(result, options)), sys.stdout)
    if result.interrupted:
        return ExitCode.INTERRUPTED
    if not result.stored:
        raise RunError(f"{options.output}: no image was stored; above is what became of each camera")
    return ExitCode.DONE


def _promise(options: CaptureOptions, cameras: int) -> str:
    encoding = ImageEncoding(options.jpeg_quality)
    described = f"{encoding} (lossless)" if encoding.quality is None else str(encoding)
    return (
        f"{options.output}: up to {options.images} whole images of {cameras} cameras in {options.duration_s:g} s, as"
        f" {described}, at most {options.max_mb} MB; {MANIFEST} names camera, time (UTC) and size of each."
        " Nothing else is stored, and nothing leaves this machine."
    )


def _result(result: CaptureResult, options: CaptureOptions) -> Iterator[str]:
    for camera in result.cameras:
        yield f"{camera.camera}: {', '.join(_fate(camera))}"
    bound = f"; ended, since {options.max_mb} MB are full" if result.at_disk_limit else ""
    yield f"{options.output}: {result.stored} of {options.images} images, {result.stored_bytes / 1e6:.1f} MB{bound}"


def _fate(camera: CameraCaptureResult) -> Iterator[str]:
    yield f"{camera.stored} stored"
    for why, count in camera.skipped.items():
        yield f"{count} skipped as {why}"
    if camera.state is not CameraState.RUNNING:
        yield f"{camera.state} {camera.detail}".rstrip()
