# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every number the capacity model does not compute, with where it comes from. GPUs have their own table, `gpus`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial

NVDEC_NOTE = "NVIDIA, NVDEC application note, Video Codec SDK 13.0"
ULTRALYTICS = "Ultralytics documentation, TensorRT integration, YOLOv8n 640x640 INT8, ultralytics 8.2.4"
XEON = "own measurement, one core of an Intel Xeon, Python 3.11, av 18"


class Basis(StrEnum):
    """How solid a number is."""

    PUBLISHED = "published"
    MEASURED = "measured"  # by this project, on a machine without a GPU
    ESTIMATED = "estimated"


class Codec(StrEnum):
    """What a camera sends."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, its unit and its origin."""

    value: float
    unit: str
    source: str
    basis: Basis


_published = partial(Constant, basis=Basis.PUBLISHED)
_measured = partial(Constant, basis=Basis.MEASURED)
_estimated = partial(Constant, basis=Basis.ESTIMATED)

#: Pixels of the frame that NVDEC's published rates are for; rates are taken to go with the number of pixels.
REFERENCE_PIXELS = 1920 * 1080

#: Frames a second of one NVDEC engine at 1920x1080, 4:2:0, 8 bit, at the generation's top video clock.
NVDEC_FPS: dict[str, dict[Codec, Constant]] = {
    generation: {codec: _published(fps, "frames/s", NVDEC_NOTE) for codec, fps in rates.items()}
    for generation, rates in {
        "Turing": {Codec.H264: 771, Codec.HEVC: 1316},
        "Ampere": {Codec.H264: 748, Codec.HEVC: 1415, Codec.AV1: 790},
        "Ada": {Codec.H264: 903, Codec.HEVC: 1641, Codec.AV1: 1018},
    }.items()
} | {"Orin": {Codec.HEVC: _estimated(540, "frames/s", "module data: 18 x 1080p30 HEVC; read through GStreamer")}}

#: A batch is padded up to a captured size.
BUCKETS = (1, 2, 4, 8, 16, 24, 32)
MAX_BATCH = BUCKETS[-1]

#: Inputs of the network at most: 640x640, three planes of float32, written by the kernel into the batch slot. Engines
#: of a bundle's variants for GPUs take float16, half of it.
INPUT_BYTES = 640 * 640 * 3 * 4
#: NV12: one byte of luma and half a byte of chroma a pixel.
SURFACE_BYTES_PER_PIXEL = 1.5

DECODER_TRAFFIC = _estimated(
    4, "surfaces/frame", "NVDEC writes one and reads one reference; the decoder's copy reads one and writes one"
)
DECODE_SURFACES = _estimated(
    10, "surfaces/camera", "8 of the decoder (H.264 level 4 holds 4 references at 1080p) and 2 that it hands out"
)
SESSION_BYTES = _estimated(16e6, "bytes/camera", "bitstream buffers of a decoding session")
CONTEXT_BYTES = _estimated(300e6, "bytes", "a CUDA context with its libraries: a few hundred MB")
ENGINE_BYTES = _estimated(400e6, "bytes", "weights, activations and workspace of a YOLOv8n engine at batch 32")

BITS_PER_PIXEL: dict[Codec, Constant] = {
    Codec.H264: _estimated(0.08, "bits/pixel", "1080p25 at 4.1 Mbit/s, usual for a fixed camera"),
    Codec.HEVC: _estimated(0.05, "bits/pixel", "1080p25 at 2.6 Mbit/s"),
    Codec.AV1: _estimated(0.045, "bits/pixel", "1080p25 at 2.3 Mbit/s"),
}
RTP_PAYLOAD_BYTES = _estimated(1400, "bytes", "an Ethernet frame less headers")
PACKET_CPU_S = _measured(
    50e-6, "s/RTP packet", XEON + ": reading a 640x360 RTSP camera on a busy machine, 6.1 packets a frame"
)
PACKET_PYTHON_S = _measured(3e-6, "s/RTP packet", XEON + ": 2.2 us demuxing from a file, 0.8 us joining")
FRAME_PYTHON_S = _estimated(30e-6, "s/frame", "health, decoder call and mailbox in the camera's thread")
INSPECT_PYTHON_S = _measured(
    74e-6, "s/inspected frame", XEON + ": `python -m benchmarks.control_plane`, docs/performance.md"
)
RESULT_PYTHON_S = _measured(
    70e-6, "s/inspected frame", XEON + ": head and NMS with 20 candidates; less where the engine's graph does it"
)

#: What may be planned for: the rest is for cameras that are not as even as the model's.
PLANNED_SHARE = _estimated(
    0.8,
    "of a resource",
    "a usual reserve: published decoder rates are for the top clock, and real cameras are less even",
)


def all_constants() -> dict[str, Constant]:
    """Return every constant that stands alone, by name; the GPUs' own are in `gpus`."""
    alone = {name: constant for name, constant in globals().items() if isinstance(constant, Constant)}
    return alone | {f"BITS_PER_PIXEL {codec}": constant for codec, constant in BITS_PER_PIXEL.items()}
