# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line bench`: what this box can do, for the planner of its fleet."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from vision_line.devices.model.model import open_model
from vision_line.errors import ConfigError
from vision_line.fleet.box_capacity import BoxCapacity
from vision_line.output_files import write_output
from vision_line.runtime.output_check import check_outputs, takes_standard_output
from vision_line.runtime.protected_files import check_apart, kept_model
from vision_line.screens.lines import say
from vision_line.selftest.camera_count import KINDS, CameraKind, measure_capacity
from vision_line.selftest.device_under_test import QUICK, device_under_test

#: More than this share of the cores in use before it begins is no idle box.
BUSY_SHARE = 0.25


def write_capacity(device: str, model: Path | None, kind: CameraKind, seconds: float, file: Path | None) -> None:
    """Measure this box with such cameras, say what was found, and write it to `file`.

    Raises:
        ConfigError: the cameras cannot be, or `file` cannot be written or would replace the model.
        VisionLineError: the device or the model cannot be used, or a camera cannot be inspected as it should.
    """
    if kind.codec not in KINDS:
        raise ConfigError(f"--codec: expected {' or '.join(KINDS)}, found {kind.codec!r}")
    if kind.inspect_fps > kind.fps:
        raise ConfigError(
            f"--inspect-fps: expected at most {kind.fps:g}, the frames of a camera, found {kind.inspect_fps:g}"
        )
    load = os.getloadavg()[0]  # before anything of this program is busy
    check_outputs({"--write": file}, {})
    check_apart([(f"--write {file}", file)], kept_model(model))
    settings = replace(QUICK, seconds=seconds, size_wh=kind.size_wh, kind=KINDS[kind.codec])
    opened_model = open_model(model)
    with Console(stderr=True).status("bench") as status, device_under_test(device, opened_model, settings) as dut:
        dut.open()
        found = measure_capacity(dut, kind, load, lambda what: status.update(f"bench: {what}"))
    for line in words_of(found):
        say(line, sys.stderr if takes_standard_output(file) else sys.stdout)
    if file is not None:
        write_output(file, found.model_dump_json(indent=2) + "\n", "--write")


def words_of(found: BoxCapacity) -> list[str]:
    """Return what was measured and on what, in lines for people. Pure."""
    on = found.measured
    if on is None:
        return []
    width, height = on.size_wh
    decoded = ", ".join(f"{rate:.0f} {codec}" for codec, rate in on.decoded_mpixels_per_s.items())
    at_least = "at least " if on.more_not_tried else ""
    is_busy = on.load > BUSY_SHARE * on.cores
    return [
        f"{on.device} with {on.cores} cores of {on.processor or 'an unknown processor'}, model {on.model_sha256[:12]}",
        f"{at_least}{on.cameras} cameras of {width}x{height} at {on.fps:g} fps in {on.codec}, each inspected"
        f" {on.inspect_fps:g} times a second: 99 of 100 within {on.latency_p99_ms:.0f} ms (limit {on.limit_ms:g})",
        f"so {found.inspections_per_s:g} inspections and {found.mpixels_per_s:g} million pixels a second, both at once",
        f"alone: {on.inspections_alone_per_s:.0f} inspections; decoding {decoded} million pixels a second",
        *(
            [f"other programs kept {on.load:g} of {on.cores} cores busy: measure a box that does nothing else"]
            * is_busy
        ),
    ]
