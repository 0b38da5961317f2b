# SPDX-License-Identifier: AGPL-3.0-or-later
"""The scheduler: one thread that owns the device, fills its slots by a batch plan, and handles the results.

A frame's way: mailbox -> `plan_batch` -> device slot -> detections -> filter -> tracker -> detection log. Frames never
leave this thread for the event loop, which gets grouped updates for the ledger, the metrics and the screens.
"""

from vision_line.scheduler.camera_pipeline import CameraPipeline, Criteria, Filter, Tracker
from vision_line.scheduler.loop import Scheduler
from vision_line.scheduler.messages import InspectedFrame, Observer, Reviewer, SchedulerUpdate
from vision_line.scheduler.wakeup import WakeUp

__all__ = [
    "CameraPipeline",
    "Criteria",
    "Filter",
    "InspectedFrame",
    "Observer",
    "Reviewer",
    "Scheduler",
    "SchedulerUpdate",
    "Tracker",
    "WakeUp",
]
