# SPDX-License-Identifier: AGPL-3.0-or-later
"""Short clips with a barcode and nothing else: they show a loop boundary every two seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vision_line.simulator.barcode import write_barcode
from vision_line.simulator.clips import Clip
from vision_line.simulator.codec import encode, open_encoder

FRAMES, FPS = 50, 25


def barcode_clip(directory: Path, clip_id: int) -> Clip:
    """Encode a clip of grey noise in which each frame says its number."""
    rng = np.random.default_rng(clip_id)
    frames = []
    for index in range(FRAMES):
        frame = rng.integers(90, 130, (96, 640, 3), np.uint8)
        write_barcode(frame, clip_id, index)
        frames.append(frame)
    name = f"cam{clip_id:02d}"
    video = directory / f"{name}.h264"
    video.write_bytes(b"".join(encode(open_encoder((640, 96), FPS), frames)))
    return Clip(name, clip_id, FPS, FRAMES, video, directory / f"{name}.jsonl")


@pytest.fixture(scope="session")
def barcode_clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Give three clips, cam01 to cam03."""
    directory = tmp_path_factory.mktemp("barcodes")
    return [barcode_clip(directory, number) for number in (1, 2, 3)]
