# SPDX-License-Identifier: AGPL-3.0-or-later
"""The inspecting thread: it owns the device, fills each slot by the plan as it frees, and decides what was seen.

A frame's way: mailbox -> `plan_batch` -> device slot -> detections -> filter -> tracker -> detection log. Frames never
leave this thread for the event loop; the loop gets one grouped message a round, with what it needs for the ledger,
the metrics and the screens.
"""

from vision_line.inspector.doorbell import Doorbell
from vision_line.inspector.line import Filter, Line, Tracker
from vision_line.inspector.rounds import Look, Observer, Round
from vision_line.inspector.thread import Inspector

__all__ = ["Doorbell", "Filter", "Inspector", "Line", "Look", "Observer", "Round", "Tracker"]
