# SPDX-License-Identifier: AGPL-3.0-or-later
"""The clocks beside a frame: ours at arrival, and the camera's own from RTCP sender reports.

The two are kept apart and never mixed: a camera without a time server can be years off, and ours cannot know when the
shutter opened. RTCP gives the camera's UTC for a given RTP timestamp (RFC 3550 6.4.1), and so for every one after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clocks:
    """Where ingest reads the time: seconds of the monotonic clock, and seconds since the Unix epoch."""

    monotonic: Callable[[], float] = time.monotonic
    utc: Callable[[], float] = time.time
