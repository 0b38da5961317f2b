# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every image decoded once, before anything is trained: one that cannot be would end a later stage after hours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from vision_line.errors import ConfigError
from vision_line.ports import ProgressCallback
from vision_line_compression.data.dataset import MOST_FAULTS, LabelledImage, read_image
from vision_line_compression.files import write_whole
from vision_line_compression.pipeline.context import Context
from vision_line_compression.pipeline.stage import Stage, StagePlace

CHECKED = "checked.json"


def data_check(context: Context) -> Stage:
    """Return the stage; no other comes after it, so that what it finds changes no key."""

    def work(folder: Path, progress: ProgressCallback) -> list[Path]:
        images, faults = list(_every_image(context)), list[str]()
        for number, image in enumerate(images, start=1):
            try:
                read_image(image)
            except ConfigError as exc:
                faults += exc.problems
            progress(number, len(images))
        if faults:
            more = [f"... and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
            raise ConfigError(*faults[:MOST_FAULTS], *more)
        write_whole(folder / CHECKED, json.dumps({"decoded": len(images)}).encode() + b"\n")
        return [folder / CHECKED]

    return context.stage("data-check", work, {}, data=tuple(context.inputs.hashes), place=StagePlace.HERE)


def _every_image(context: Context) -> Iterator[LabelledImage]:
    inputs = context.inputs
    once = {part.split: part for part in (inputs.train, inputs.val, inputs.test)}
    for part in (*once.values(), *([] if inputs.calibration is None else [inputs.calibration])):
        yield from part.images
