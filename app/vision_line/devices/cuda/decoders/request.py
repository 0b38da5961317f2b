# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a decoder for the GPU is opened with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vision_line.devices.cuda.context import GpuContext
from vision_line.devices.cuda.decoders.sequence import VideoSequence
from vision_line.frames import Colour


@dataclass(frozen=True, slots=True)
class DecoderRequest:
    """One camera's sequence that is to be decoded into the memory of `gpu`."""

    gpu: GpuContext
    camera: str
    stream: Any  # av.VideoStream that the packets come from
    colour: Colour | None  # overrides what the sequence says
    sequence: VideoSequence
