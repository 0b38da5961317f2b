# SPDX-License-Identifier: AGPL-3.0-or-later
"""Answers of reviewers that tests begin with."""

from __future__ import annotations

from typing import Any

from vision_line.reviews.answer import Answer, ItemKey, ItemKind, ReviewVerdict

EVENT = ItemKey(ItemKind.EVENT, "run 1", "event 1")


def make_answer(item: ItemKey = EVENT, person: str = "anna", **other: Any) -> Answer:
    """Return a confirmation."""
    return Answer(**{"item": item, "person": person, "verdict": ReviewVerdict.CONFIRMED, **other})
