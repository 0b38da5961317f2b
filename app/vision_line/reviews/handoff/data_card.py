# SPDX-License-Identifier: AGPL-3.0-or-later
"""The README of an exported data set: who reviewed it, how its images came to be in it, and what it is not. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vision_line.records.formats import iso_utc
from vision_line.reviews.handoff.reviewed_image import Reason, ReviewedImage
from vision_line.reviews.handoff.reviewed_images import LeftOut
from vision_line.reviews.handoff.set_format import SetFormat
from vision_line.reviews.settled_answers import SettledItem

README = "README.md"

_WORDS: Mapping[Reason, str] = {
    Reason.MISSED: "a defect that the line did not call",
    Reason.OVERRULED: "the line found what is no defect",
    Reason.CORRECTED: "a defect of another class or place than the line said",
    Reason.CONFIRMED: "the line was right",
    Reason.CLEAN: "no defect, and the line called none",
}

#: What the labels of these forms go around.
_OUTLINES: Mapping[SetFormat, str] = {SetFormat.YOLO_OBB: "a rotated box", SetFormat.YOLO_SEG: "a mask"}

_NOT = """## What it is not

- **Not a picture of production.** Borderline items and near misses are here more often than they come. Its shares are
  for training; rates of the line are what `vision-line reviews figures` says, which weighs each item.
- **Not free of the model.** Except in audited frames, people looked where the model had found something. A defect that
  it never finds is in this set only where an audit happened to show it.
- **Not what nobody can see** in the image, because of light, focus or the camera's place.
"""

_SETTLED = """## How answers became truth

The latest answer of a person counts; what was taken back does not. Where a second person answered blindly, both have to
say the same, or the item is left out until one of them has answered again. A box is the line's own where nobody touched
it. An image is in the set only when everything that the line found in it was reviewed, or lies where somebody drew a
box; an audited frame was reviewed as a whole.
"""


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card says. `head` is the digest of the newest entry of what people decided, `models` their SHA-256."""

    file_format: SetFormat
    images: Sequence[ReviewedImage]
    answered: Sequence[SettledItem]
    left_out: Mapping[LeftOut, int]
    classes: Mapping[str, int]
    splits: Mapping[str, int]
    models: Sequence[str]
    head: str


def data_card(facts: CardFacts) -> str:
    """Return the README, in Markdown; the same for the same reviews."""
    return "\n".join(
        [
            "# Reviewed images of a production line",
            "",
            f"{len(facts.images)} images as {facts.file_format}, with {_defects(facts.images)}. Made by vision-line"
            f" from the answers of {_people(facts.answered)}.",
            "",
            *_upright(facts),
            *_table(("images", "because"), [(count, _WORDS[reason]) for reason, count in _reasons(facts.images)]),
            *_table(("class", "true defects"), _by_class(facts)),
            *_table(("split", "images"), list(facts.splits.items())),
            *_sampling(facts.answered),
            _SETTLED,
            *_left_out(facts.left_out),
            _NOT,
            *_identity(facts),
        ]
    )


def _defects(images: Sequence[ReviewedImage]) -> str:
    every = [one for image in images for one in image.defects]
    unseen = sum(not one.is_reviewed for one in every)
    return f"{len(every)} defects" + (
        f", of which nobody reviewed {unseen}: they are what the line found" if unseen else ""
    )


def _upright(facts: CardFacts) -> list[str]:
    """Say how many labels are upright rectangles where there should be an outline: a model learns them, too."""
    shape = _OUTLINES.get(facts.file_format)
    if shape is None:
        return []
    every = [one for image in facts.images for one in image.defects]
    count = sum(one.box.outline is None for one in every)
    words = f"{count} of the {len(every)} defects have an upright rectangle instead of the outline of {shape}:"
    return [f"{words} somebody drew it, or the line had none.", ""] if count else []


def _people(items: Iterable[SettledItem]) -> str:
    answers = [answer for item in items for answer in (item.first, *item.others)]
    counts = Counter(answer.person for answer in answers)
    return ", ".join(f"{person} ({count})" for person, count in sorted(counts.items())) or "nobody"


def _reasons(images: Sequence[ReviewedImage]) -> list[tuple[Reason, int]]:
    counts = Counter(image.reason for image in images)
    return [(reason, counts[reason]) for reason in Reason if counts[reason]]


def _by_class(facts: CardFacts) -> list[tuple[object, object]]:
    counts = Counter(one.class_name for image in facts.images for one in image.defects)
    return [(name, counts[name]) for name in facts.classes]


def _sampling(items: Sequence[SettledItem]) -> list[str]:
    """Say with which probability items came to review, by stratum."""
    strata: dict[str, list[float]] = {}
    for item in items:
        strata.setdefault(item.first.stratum or "chosen by hand", []).append(item.first.inclusion)
    rows = [
        (name, len(own), f"{min(own):.3g}" + ("" if min(own) == max(own) else f" to {max(own):.3g}"))
        for name, own in sorted(strata.items())
    ]
    return ["## How items came to review", "", *_table(("stratum", "reviewed", "probability"), rows)]


def _left_out(left_out: Mapping[LeftOut, int]) -> list[str]:
    rows = [(left_out[why], why.value) for why in LeftOut if left_out.get(why)]
    return ["## What was left out", "", *_table(("items or images", "because"), rows)] if rows else []


def _identity(facts: CardFacts) -> list[str]:
    times = sorted(image.frame.at_utc for image in facts.images)
    return [
        "## Where it is from",
        "",
        f"- Frames from {iso_utc(times[0])} to {iso_utc(times[-1])}." if times else "- No frames.",
        *(f"- Reviewed model: SHA-256 `{model}`." for model in facts.models),
        f"- Newest entry of what people decided: `{facts.head}`.",
        "- Each image is the file that was recorded, checked by its SHA-256.",
        "",
    ]


def _table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> list[str]:
    if not rows:
        return []
    lines = [head, tuple("---" for _ in head), *rows]
    return [*("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines), ""]
