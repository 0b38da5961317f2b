# SPDX-License-Identifier: AGPL-3.0-or-later
"""Numbers of things in English."""

from __future__ import annotations

import pytest

from vision_line.words import counted


@pytest.mark.parametrize(("number", "words"), [(0, "0 cameras"), (1, "1 camera"), (2, "2 cameras")])
def test_things_are_counted_as_english_does(number: int, words: str) -> None:
    assert counted(number, "camera") == words
