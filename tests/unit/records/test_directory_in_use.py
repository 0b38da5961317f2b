# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether somebody owns a record directory: found out without getting into anybody's way."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from vision_line.records.directory import LOCK_NAME, DirectoryLock, is_in_use


def test_a_directory_is_in_use_while_somebody_has_its_lock(tmp_path: Path) -> None:
    """The file alone, which every run leaves behind, says nothing."""
    assert not is_in_use(tmp_path / "none")
    assert not is_in_use(tmp_path)
    lock = DirectoryLock(tmp_path)
    assert is_in_use(tmp_path)
    lock.close()

    assert (tmp_path / LOCK_NAME).is_file()
    assert not is_in_use(tmp_path)


def test_who_only_checks_does_not_end_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the lock for a moment, in which a run may begin."""
    DirectoryLock(tmp_path).close()
    checking = os.open(tmp_path / LOCK_NAME, os.O_RDONLY)
    fcntl.flock(checking, fcntl.LOCK_SH)
    monkeypatch.setattr(time, "sleep", lambda _: os.close(checking))

    lock = DirectoryLock(tmp_path)

    assert is_in_use(tmp_path)
    lock.close()
