# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ultralytics kept off the network; before it is imported, so this imports nothing."""

from __future__ import annotations

import os


def keep_ultralytics_offline() -> None:
    """Let nothing be looked up, installed or reported while a model is compressed; what the user set stays."""
    for name, value in {"YOLO_AUTOINSTALL": "False", "YOLO_OFFLINE": "True"}.items():
        os.environ.setdefault(name, value)
