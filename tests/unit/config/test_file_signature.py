# SPDX-License-Identifier: AGPL-3.0-or-later
"""A file that was changed just now may change again: half of one that is written in place is no configuration."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from vision_line.config.file_signature import MOST_CHECKS, SettledChange, file_signature, lasting_signature


@pytest.mark.parametrize(("ago_s", "lasts"), [(0.0, False), (60.0, True), (-3600.0, False)])
def test_a_signature_lasts_once_the_change_is_some_time_ago(tmp_path: Path, ago_s: float, lasts: bool) -> None:
    path = tmp_path / "reviews.sqlite"
    assert lasting_signature(path) is None
    path.write_bytes(b"1")
    then = time.time() - ago_s
    os.utime(path, (then, then))
    assert lasting_signature(path) == (file_signature(path) if lasts else None)


def test_a_file_that_is_being_written_is_not_read_yet(tmp_path: Path) -> None:
    """Nor one that is gone for the moment; it counts once it stood still from one look to the next."""
    path = tmp_path / "streams.toml"
    path.write_text("whole", encoding="utf-8")
    change = SettledChange(path, file_signature(path))
    assert not change.is_due(asked=False)
    for text in ("half", "half and more"):
        path.write_text(text, encoding="utf-8")
        assert not change.is_due(asked=False)
    path.unlink()
    assert not change.is_due(asked=False)
    path.write_text("another whole", encoding="utf-8")
    assert [change.is_due(asked=False) for _ in range(3)] == [False, True, False]


def test_a_file_that_never_stands_still_is_read_all_the_same(tmp_path: Path) -> None:
    """What rewrites it each second would keep any change from being taken up, and nobody would say so."""
    path = tmp_path / "streams.toml"
    path.write_text("", encoding="utf-8")
    change = SettledChange(path, file_signature(path))
    found = []
    for length in range(1, 2 * MOST_CHECKS + 1):
        path.write_text(length * "#", encoding="utf-8")
        found.append(change.is_due(asked=False))
    assert [number for number, is_due in enumerate(found, start=1) if is_due] == [MOST_CHECKS, 2 * MOST_CHECKS]


def test_who_asks_has_it_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "streams.toml"
    path.write_text("whole", encoding="utf-8")
    change = SettledChange(path, file_signature(path))
    assert change.is_due(asked=True)
    path.write_text("another whole", encoding="utf-8")
    assert change.is_due(asked=True)
    assert not change.is_due(asked=False)
    path.unlink()
    assert [change.is_due(asked=False) for _ in range(2)] == [False, True], "a lasting absence is read, and refused"
