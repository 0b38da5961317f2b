# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a GPU's decoder takes, asked of the driver's video library in the context that is current.

PyNvVideoCodec could be asked as well, but it asks the first GPU, whichever is meant, and makes a context there for each
answer: tenths of a second and some hundred MB, in which no other Python runs. This call takes neither, and lets other
threads run.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from vision_line.errors import DeviceError

LIBRARY = "libnvcuvid.so.1"

#: FFmpeg's name of a codec -> its number in `cudaVideoCodec`.
_NUMBERS = {"h264": 4, "hevc": 8, "av1": 11}
_CHROMA_420 = 1  # of `cudaVideoChromaFormat`


class _Query(ctypes.Structure):
    """`CUVIDDECODECAPS`: the first three say what is asked, the rest is the answer."""

    _fields_ = (
        ("codec", ctypes.c_int),
        ("chroma", ctypes.c_int),
        ("bits_above_8", ctypes.c_uint),
        ("reserved_1", ctypes.c_uint * 3),
        ("supported", ctypes.c_ubyte),
        ("engines", ctypes.c_ubyte),
        ("output_formats", ctypes.c_ushort),
        ("most_width", ctypes.c_uint),
        ("most_height", ctypes.c_uint),
        ("most_macroblocks", ctypes.c_uint),
        ("least_width", ctypes.c_ushort),
        ("least_height", ctypes.c_ushort),
        ("histogram", ctypes.c_ubyte * 4),
        ("reserved_2", ctypes.c_uint * 10),
    )


@dataclass(frozen=True, slots=True)
class DecoderCaps:
    """What a decoder takes of one codec and depth in 4:2:0; sizes are (width, height)."""

    supported: bool
    engines: int
    least_wh: tuple[int, int]
    most_wh: tuple[int, int]
    most_macroblocks: int


def decoder_caps(codec: str, bits: int) -> DecoderCaps:
    """Return what the decoder of the GPU that is current can do with 4:2:0 frames of `codec`, h264, hevc or av1.

    Raises:
        DeviceError: the driver's video library is missing, or does not answer.
    """
    try:
        ask = ctypes.CDLL(LIBRARY).cuvidGetDecoderCaps
    except (OSError, AttributeError) as exc:
        raise DeviceError(
            f"NVDEC: {LIBRARY} cannot be loaded: {exc}; a container needs NVIDIA_DRIVER_CAPABILITIES="
            "compute,utility,video"
        ) from exc
    query = _Query(codec=_NUMBERS[codec], chroma=_CHROMA_420, bits_above_8=bits - 8)
    code = ask(ctypes.byref(query))
    if code:
        raise DeviceError(f"NVDEC does not say what it can decode: CUDA error {code}")
    return DecoderCaps(
        supported=bool(query.supported),
        engines=query.engines,
        least_wh=(query.least_width, query.least_height),
        most_wh=(query.most_width, query.most_height),
        most_macroblocks=query.most_macroblocks,
    )
