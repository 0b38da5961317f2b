# SPDX-License-Identifier: AGPL-3.0-or-later
"""A file that was changed just now has no signature that lasts: it may change again within the step of its time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from vision_line.config.file_signature import file_signature, lasting_signature


@pytest.mark.parametrize(("ago_s", "lasts"), [(0.0, False), (60.0, True), (-3600.0, False)])
def test_a_signature_lasts_once_the_change_is_some_time_ago(tmp_path: Path, ago_s: float, lasts: bool) -> None:
    path = tmp_path / "reviews.sqlite"
    assert lasting_signature(path) is None
    path.write_bytes(b"1")
    then = time.time() - ago_s
    os.utime(path, (then, then))
    assert lasting_signature(path) == (file_signature(path) if lasts else None)
