# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which boxes there are, and which one an answer is about; a box's own desk knows of no other.

Among the records of several boxes a camera is called `box:camera`, and a lane `box:lane`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from vision_line.records.records import Records

#: What stands between a box and the name of one of its cameras; neither has it in its name.
SEPARATOR = ":"
#: A number of a run or of an entry is the box's own plus so much times the box's number.
_OWN_NUMBERS = 2**40


@runtime_checkable
class RecordsOfBoxes(Records, Protocol):
    """Records of many boxes, which are asked of one at a time."""

    def show(self, box: str) -> None:
        """Have each later statement be about this box, "" all."""
        ...


@dataclass(frozen=True, slots=True)
class PresentBoxes:
    """The boxes that a desk shows, by their numbers, and the one that an answer is about, "" all.

    `is_central`: it is the desk of all boxes, where nothing is changed. Names of none: a box's own desk.
    """

    names: dict[int, str]
    box: str = ""
    is_central: bool = True

    @property
    def every(self) -> Sequence[str]:
        """All of them, by name."""
        return sorted(self.names.values())

    @property
    def asked(self) -> dict[str, str]:
        """What an address has in it to be about the same box."""
        return {"box": self.box} if self.box else {}

    def of_number(self, number: int) -> str:
        """Return the box of a run or an entry; "" on a box's own desk."""
        return self.names.get(number // _OWN_NUMBERS, "")


_NONE = PresentBoxes({}, is_central=False)
_PRESENT: ContextVar[PresentBoxes] = ContextVar("present_boxes", default=_NONE)


def present_boxes() -> PresentBoxes:
    """Return the boxes that the present answer is about."""
    return _PRESENT.get()


@contextmanager
def shown_of(boxes: PresentBoxes) -> Iterator[None]:
    """Have everything within, also in threads that it waits for, be about these boxes."""
    token = _PRESENT.set(boxes)
    try:
        yield
    finally:
        _PRESENT.reset(token)


@contextmanager
def of_camera(name: str) -> Iterator[None]:
    """Have everything within be about a camera's box; of "", or on a box's own desk, about what it is about."""
    boxes = present_boxes()
    is_of_many = boxes.is_central and not boxes.box
    with shown_of(replace(boxes, box=box_of(name)) if is_of_many and box_of(name) else boxes):
        yield


def each_box(records: Records) -> Iterator[tuple[str, Records]]:
    """Yield each box that the present answer is about, with its records alone until the next one is asked for.

    Each box's records are known since a moment of its own, and its journals have numbers of their own. On a box's own
    desk it is "" with the records as they are.

    Raises:
        Error: the database's, as it comes.
    """
    boxes = present_boxes()
    if boxes.box or not boxes.is_central:
        yield boxes.box, records
        return
    if not isinstance(records, RecordsOfBoxes):
        raise TypeError(f"{records!r} cannot be asked of one box")
    for box in boxes.every:
        records.show(box)
        yield box, records
    records.show("")


def own_number(number: int) -> int:
    """Return a run's or an entry's number as its box has it."""
    return number % _OWN_NUMBERS


def name_in_box(name: str) -> str:
    """Return a camera's or lane's name as its box has it."""
    return name.partition(SEPARATOR)[2] if SEPARATOR in name else name


def name_of_box(box: str, name: str) -> str:
    """Return a camera's or lane's name as it is among several boxes; of the box "" as it is."""
    return f"{box}{SEPARATOR}{name}" if box else name


def box_of(name: str) -> str:
    """Return the box in a camera's or lane's name, "" without one."""
    return name.partition(SEPARATOR)[0] if SEPARATOR in name else ""
