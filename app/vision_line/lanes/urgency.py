# SPDX-License-Identifier: AGPL-3.0-or-later
"""Has the kernel let this process go before all ordinary ones: a decision that waits for a processor is late."""

from __future__ import annotations

import logging
import os
import resource

logger = logging.getLogger(__name__)

#: The lowest of the priorities that go before ordinary ones.
_PRIORITY = 1
#: A process that goes first and never waits would take a core for itself: the kernel ends it, and it is started again.
_LONGEST_BUSY_US = 2_000_000


def go_first() -> bool:
    """Go before ordinary processes, threads that begin later too; return whether that is permitted."""
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
        longest = _LONGEST_BUSY_US if hard == resource.RLIM_INFINITY else min(_LONGEST_BUSY_US, hard)
        resource.setrlimit(resource.RLIMIT_RTTIME, (longest, hard))
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
    except PermissionError:
        logger.info("lanes go beside other processes, not before them (docs/deploy.md)")
        return False
    return True
