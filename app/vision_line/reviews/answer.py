# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a person says of an event, a near miss or an audited frame. Pure, but for the text of an entry's body.

An answer is never changed: who thinks otherwise answers again, and the latest of a person counts. An answer that is
taken back is still in the journal, and counts no more; the one before it counts again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import TypedDict

from vision_line.errors import ConfigError

#: Signs of a note, and of a name.
LONGEST_NOTE = 2000
_LONGEST_NAME = 200
_MOST_BOXES = 200
#: Digits that are kept of pixels and seconds.
_DIGITS = 2


class ItemKind(StrEnum):
    """What is reviewed."""

    EVENT = "event"
    NEAR_MISS = "near_miss"
    AUDIT = "audit"


class ReviewVerdict(StrEnum):
    """What a person says of what the line said."""

    CONFIRMED = "confirmed"
    OVERRULED = "overruled"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class ItemKey:
    """One item. `id` is the one of the event or near miss; of an audit `CAMERA/SEQUENCE`. Entries have its text."""

    kind: ItemKind
    run_id: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.run_id}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> ItemKey:
        """Return the item of a text.

        Raises:
            ConfigError: it names none.
        """
        kind, _, rest = text.partition("/")
        run_id, _, own = rest.partition("/")
        if kind not in set(ItemKind) or not run_id or not own:
            raise ConfigError(f"expected event/RUN/ID, near_miss/RUN/ID or audit/RUN/CAMERA/SEQUENCE, found {text!r}")
        return cls(ItemKind(kind), run_id, own)


@dataclass(frozen=True, slots=True)
class ReviewedBox:
    """A defect as a person drew or kept it: class, and edges in pixels of the stored image."""

    class_name: str
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True)
class LineCall:
    """What the line had said when the answer was given; "" and None where it says no such thing of this item."""

    verdict: str = ""
    class_name: str = ""
    score: float | None = None
    warn_threshold: float | None = None
    reject_threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One person's answer for one item.

    `class_name` None: as the model said. `boxes` None: not touched; of an audit all true defects of the frame, none
    where it is empty. `stratum` and `inclusion` are those with which the item came to review. What is sent twice has
    the same `submission`; "": it is not sent by a page.
    """

    item: ItemKey
    person: str
    verdict: ReviewVerdict
    class_name: str | None = None
    boxes: tuple[ReviewedBox, ...] | None = None
    note: str = ""
    took_s: float = 0.0
    stratum: str = ""
    inclusion: float = 1.0
    call: LineCall = LineCall()
    submission: str = ""

    def checked(self) -> Answer:
        """Return itself.

        Raises:
            ConfigError: it holds what no person says.
        """
        names = [str(self.item), self.person, self.stratum, self.submission, self.class_name or ""]
        names += [box.class_name for box in self.boxes or ()]
        if any(len(name) > _LONGEST_NAME or not _is_text(name) for name in names[1:]) or not _is_text(names[0]):
            raise ConfigError(f"a name has at most {_LONGEST_NAME} signs, all of them text")
        if len(self.note) > LONGEST_NOTE or not _is_text(self.note):
            raise ConfigError(f"note: at most {LONGEST_NOTE} signs, all of them text")
        if not 0 < self.inclusion <= 1:
            raise ConfigError("inclusion: expected a probability above 0, and 1 at most")
        if not (isfinite(self.took_s) and self.took_s >= 0):
            raise ConfigError("took_s: expected seconds")
        _check_boxes(self.boxes or ())
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAnswer(Answer):
    """An answer that is in the journal: its entry's number and time; `is_second`: another person's stands before it."""

    number: int
    at_utc: float
    is_second: bool


def _is_text(text: str) -> bool:
    """Whether it can be stored: a lone half of a UTF-16 pair cannot, and no name holds a NUL."""
    return "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)


def _check_boxes(boxes: tuple[ReviewedBox, ...]) -> None:
    """Raise ConfigError where one is none, or there are too many."""
    if len(boxes) > _MOST_BOXES:
        raise ConfigError(f"boxes: at most {_MOST_BOXES}")
    for box in boxes:
        edges = (box.x1, box.y1, box.x2, box.y2)
        if not box.class_name or not all(map(isfinite, edges)):
            raise ConfigError("boxes: expected a class, and pixels with x1 below x2 and y1 below y2")
        x1, y1, x2, y2 = (round(edge, _DIGITS) for edge in edges)  # as they are kept
        if not (0 <= x1 < x2 and 0 <= y1 < y2):
            raise ConfigError("boxes: expected a class, and pixels with x1 below x2 and y1 below y2")


BoxBody = TypedDict("BoxBody", {"class": str, "x1": float, "y1": float, "x2": float, "y2": float})
CallBody = TypedDict(
    "CallBody",
    {
        "verdict": str,
        "class": str,
        "score": float | None,
        "warn_threshold": float | None,
        "reject_threshold": float | None,
    },
)
#: What an entry holds. Public: programs that follow the journal read it.
AnswerBody = TypedDict(
    "AnswerBody",
    {
        "by": str,
        "verdict": str,
        "class": str | None,
        "boxes": list[BoxBody] | None,
        "note": str,
        "took_s": float,
        "second": bool,
        "stratum": str,
        "inclusion": float,
        "submission": str,
        "call": CallBody,
    },
)


def body_of(answer: Answer, *, is_second: bool) -> AnswerBody:
    """Return what the journal's entry holds: everything but the item, which is its key, and its time."""
    call = answer.call
    return {
        "by": answer.person,
        "verdict": answer.verdict.value,
        "class": answer.class_name,
        "boxes": None if answer.boxes is None else [_box_body(box) for box in answer.boxes],
        "note": answer.note,
        "took_s": round(answer.took_s, _DIGITS),
        "second": is_second,
        "stratum": answer.stratum,
        "inclusion": answer.inclusion,
        "submission": answer.submission,
        "call": {
            "verdict": call.verdict,
            "class": call.class_name,
            "score": call.score,
            "warn_threshold": call.warn_threshold,
            "reject_threshold": call.reject_threshold,
        },
    }


def answer_of(number: int, key: str, at_utc: float, body: AnswerBody) -> GivenAnswer:
    """Return what an entry says; ConfigError, ValueError, LookupError or TypeError where `body_of` never wrote it."""
    call = body["call"]
    boxes = body["boxes"]
    return GivenAnswer(
        item=ItemKey.parse(key),
        person=body["by"],
        verdict=ReviewVerdict(body["verdict"]),
        class_name=body["class"],
        boxes=None if boxes is None else tuple(_box_of(box) for box in boxes),
        note=body["note"],
        took_s=body["took_s"],
        stratum=body["stratum"],
        inclusion=body["inclusion"],
        submission=body["submission"],
        call=LineCall(call["verdict"], call["class"], call["score"], call["warn_threshold"], call["reject_threshold"]),
        number=number,
        at_utc=at_utc,
        is_second=body["second"],
    )


def _box_body(box: ReviewedBox) -> BoxBody:
    x1, y1, x2, y2 = (round(edge, _DIGITS) for edge in (box.x1, box.y1, box.x2, box.y2))
    return {"class": box.class_name, "x1": x1, "y1": y1, "x2": x2, "y2": y2}


def _box_of(body: BoxBody) -> ReviewedBox:
    return ReviewedBox(body["class"], body["x1"], body["y1"], body["x2"], body["y2"])
