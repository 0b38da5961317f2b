# SPDX-License-Identifier: AGPL-3.0-or-later
"""A process that works for another one ends with it, however that one ends: nobody would wait for it or stop it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from vision_line.errors import ExitCode

#: The option of Linux' prctl.
_SIGNAL_OF_PARENTS_DEATH = 1


def end_with(parent: int) -> None:
    """Let SIGTERM end this process when `parent` dies, which is the process that started it and waits for it."""
    ctypes.CDLL(None).prctl(_SIGNAL_OF_PARENTS_DEATH, signal.SIGTERM)
    if os.getppid() != parent:  # it died before that
        sys.exit(ExitCode.INTERRUPTED)
