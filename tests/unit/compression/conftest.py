# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ultralytics kept off the network and out of the home folder; one thread, so that tests do not fight for cores."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp(prefix="yolo-config-"))
os.environ.setdefault("YOLO_AUTOINSTALL", "False")
os.environ.setdefault("YOLO_OFFLINE", "True")

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Let torch use one core."""
    import torch

    torch.set_num_threads(1)
