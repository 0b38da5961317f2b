# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people together say of an item. Pure.

The first answer decides in figures: a second one is there to be compared with it, and would count twice what both saw.
Whoever trains on an item wants more: items of which two people say different things wait until one of them has answered
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vision_line.reviews.answer import Answer, GivenAnswer, ItemKind, ReviewVerdict

NO_DEFECT = "no defect"
UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class SettledItem:
    """An item with the answers that count: `first` decides, `others` are of other people, who did not see it."""

    first: GivenAnswer
    others: tuple[GivenAnswer, ...]

    @classmethod
    def of(cls, answers: Sequence[GivenAnswer]) -> SettledItem:
        """Take the answers of one item, the first one first; there is one at least."""
        return cls(answers[0], tuple(answers[1:]))

    @property
    def is_unsure(self) -> bool:
        """Whether who decides could not tell."""
        return self.first.verdict is ReviewVerdict.UNSURE

    @property
    def is_disputed(self) -> bool:
        """Whether another person says something else."""
        return any(said(one) != said(self.first) for one in self.others)

    @property
    def is_defect(self) -> bool:
        """Whether the event or near miss is a defect; of an audit, whether the line's detections are right."""
        return self.first.verdict is ReviewVerdict.CONFIRMED

    @property
    def class_name(self) -> str:
        """Which class an event or near miss has: the line's own, unless somebody corrected it."""
        return self.first.class_name or self.first.call.class_name


def said(answer: Answer) -> str:
    """Return what an answer says, in a word that two people's answers are compared by.

    Of an event or near miss its class or `NO_DEFECT`, of an audited frame the classes of its true defects.
    """
    if answer.verdict is ReviewVerdict.UNSURE:
        return UNSURE
    if answer.item.kind is ItemKind.AUDIT:
        if answer.boxes is None:
            return f"detections {answer.verdict}"
        return ", ".join(sorted(box.class_name for box in answer.boxes)) or NO_DEFECT
    if answer.verdict is ReviewVerdict.OVERRULED:
        return NO_DEFECT
    return answer.class_name or answer.call.class_name
