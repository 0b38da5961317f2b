# SPDX-License-Identifier: AGPL-3.0-or-later
"""The clocks beside a picture: ours at arrival, and the camera's own from RTCP sender reports.

The two are kept apart and never mixed: a camera without a time server can be years off, and ours cannot know when the
shutter opened. RTCP gives the camera's UTC for a given RTP timestamp (RFC 3550 6.4.1); FFmpeg turns that into a
"producer reference time" on every packet after the first report.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_PRFT = struct.Struct("<qi")  # AVProducerReferenceTime: UTC microseconds, flags


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where ingest reads the time: seconds of the monotonic clock, and seconds since the Unix epoch."""

    monotonic: Callable[[], float] = time.monotonic
    utc: Callable[[], float] = time.time


def camera_utc(packet: Any) -> float | None:
    """Return the camera's own time of an `av.Packet` in seconds UTC, None before the first sender report."""
    if not packet.has_sidedata("prft"):
        return None
    microseconds, _flags = _PRFT.unpack_from(bytes(packet.get_sidedata("prft")))
    return float(microseconds) / 1e6
