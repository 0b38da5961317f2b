# SPDX-License-Identifier: AGPL-3.0-or-later
"""How a decision leaves: to every door, and into the records. In the event loop.

A rejection, and a part that was not inspected, is told first and recorded then. An acceptance is recorded first: when
that is not done by the deadline, or cannot be done, the part is not inspected. Nor is it when another recipe
turns out meanwhile to have been in force when it passed, or when it was ruled out meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from vision_line.lanes.lane_machine import MOST_KEPT, DecidedPart, LateFind
from vision_line.lanes.part_records import RecordFrame, diverted, part_record
from vision_line.lanes.parts_recorder import CorrectionEntry, PartEntry, PartsRecorder
from vision_line.lanes.plc_door import PlcDoor
from vision_line.parts.part import PartCause, PartRecord, PartVerdict
from vision_line.parts.part_entries import LeftAs

logger = logging.getLogger(__name__)

#: Verdicts that let a part pass.
PASSING = frozenset({PartVerdict.ACCEPT, PartVerdict.WARN})
_MEASURED = 1000

_Key = tuple[str, int]


@dataclass(slots=True)
class _Leaving:
    """A part that leaves, and its record as it is known."""

    decided: DecidedPart
    record: PartRecord

    def become(self, verdict: PartVerdict, cause: PartCause) -> None:
        """Note what was told of it instead."""
        self.record = replace(self.record, verdict=verdict, cause=cause)

    def entry(self, on_done: Callable[[bool], None] | None = None) -> PartEntry:
        """Return what is to be entered of it; its lot, unless its trigger says one, once all orders are known."""
        trigger = self.decided.decision.trigger
        return PartEntry(self.record, on_done, trigger.at_s if trigger.lot is None else None)


class Telling:
    """Tells each part once. `on_otherwise` hears of parts that were told another verdict than was decided.

    `notice` is asked before an acceptance is told: it rules out what cannot be accepted any more, as after a sleep.
    """

    def __init__(
        self,
        recorder: PartsRecorder,
        doors: Sequence[PlcDoor],
        frame: Callable[[], RecordFrame],
        on_otherwise: Callable[[DecidedPart], None],
        notice: Callable[[], None],
    ) -> None:
        self._recorder = recorder
        self._doors = doors
        self._frame = frame
        self._on_otherwise = on_otherwise
        self._notice = notice
        self._pending: dict[_Key, _Leaving] = {}
        self._left: dict[str, OrderedDict[int, _Leaving]] = {}  # of each lane, by their sequence
        self._took_s: deque[float] = deque(maxlen=_MEASURED)
        self._is_ended = False

    def took_s(self, share: float) -> float:
        """Return how long it took at most from a decision until it was told, of this share of the newest ones."""
        ordered = sorted(self._took_s)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0

    def leave(self, decided: DecidedPart) -> None:
        """Let a decision leave."""
        leaving = self._remembered(decided)
        if decided.decision.verdict not in PASSING:
            self._send(decided)
            self._recorder.put(leaving.entry())
            return
        self._pending[_key(decided)] = leaving
        self._recorder.put(leaving.entry(partial(self._entered, leaving)))
        asyncio.get_running_loop().call_at(decided.decision.deadline_s, self._expire, decided)

    def correct(self, find: LateFind) -> None:
        """Enter what was found of a part too late, and say so."""
        lane, sequence = key = find.part.trigger.lane, find.part.sequence
        left = self._left.get(lane)
        leaving = None if left is None else left.get(sequence)
        if leaving is None:
            logger.error("lane %s, part %d: a reject was found, of a part that nobody remembers", *key)
            return
        record, is_waiting = leaving.record, key in self._pending
        if record.verdict in PASSING and not is_waiting:
            logger.error("lane %s, part %d %s: a reject was found too late", *key, record.part_id)
        left_as = LeftAs(PartVerdict.REJECT) if is_waiting else None  # so it will leave, if there is time
        self._recorder.put(CorrectionEntry(record, PartVerdict.REJECT, find.events, left_as))

    def _entered(self, leaving: _Leaving, is_entered: bool) -> None:
        """Go on with an acceptance once it was entered, or was not."""
        if self._is_ended:
            return  # what is to be entered of it, is
        self._notice()
        decided = leaving.decided
        is_waiting = self._pending.pop(_key(decided), None) is not None
        if not is_entered:
            if is_waiting:
                self._send_otherwise(diverted(decided, PartCause.LOG))
            leaving.become(PartVerdict.NOT_INSPECTED, PartCause.LOG)
            self._recorder.put(leaving.entry())
        elif not is_waiting:
            self._enter_left_as(leaving, PartCause.LOG)
        elif time.monotonic() >= decided.decision.deadline_s:
            self._take_back(leaving, PartCause.LATE)
        elif decided.part.is_corrected:  # meanwhile a reject was found, and entered as a correction: that is certain
            self._send_otherwise(replace(decided, decision=replace(decided.decision, verdict=PartVerdict.REJECT)))
            leaving.become(PartVerdict.REJECT, PartCause.NONE)
        elif cause := decided.part.ruled_out:  # since it was decided: by a sleep, or a machine that forgot it
            self._take_back(leaving, cause)
        elif self._needs_another_recipe(decided):
            self._take_back(leaving, PartCause.RECIPE)
        else:
            self._send(decided)

    def _expire(self, decided: DecidedPart) -> None:
        """Say at its deadline that a part was not inspected whose acceptance is not on the disk."""
        if self._pending.pop(_key(decided), None) is not None:
            self._send_otherwise(diverted(decided, PartCause.LOG))

    def _needs_another_recipe(self, decided: DecidedPart) -> bool:
        """Whether another recipe was in force when it passed than was known then.

        Orders are read by whoever enters parts, and come late while that one waits.
        """
        trigger = decided.decision.trigger
        if trigger.recipe is not None:
            return False
        return self._recorder.orders(trigger.lane, trigger.at_s).recipe != decided.part.recipe

    def _take_back(self, leaving: _Leaving, cause: PartCause) -> None:
        """Say that a part was not inspected whose acceptance is on the disk, and was not told."""
        self._send_otherwise(diverted(leaving.decided, cause))
        self._enter_left_as(leaving, cause)

    def _enter_left_as(self, leaving: _Leaving, cause: PartCause) -> None:
        """Have the part's record say that it was told as not inspected, behind the acceptance that was entered."""
        left_as = LeftAs(PartVerdict.NOT_INSPECTED, cause)
        self._recorder.put(CorrectionEntry(leaving.record, left_as.verdict, (), left_as))
        leaving.become(left_as.verdict, cause)

    def end(self) -> None:
        """Say of what waits for the disk that it was not inspected: the doors close, and nothing is told any more."""
        waiting, self._pending = list(self._pending.values()), {}
        self._is_ended = True
        for leaving in waiting:
            self._take_back(leaving, PartCause.RESTART)

    def _send_otherwise(self, decided: DecidedPart) -> None:
        self._on_otherwise(decided)
        self._send(decided)

    def _send(self, decided: DecidedPart) -> None:
        for door in self._doors:
            door.decide(decided.decision)
        self._took_s.append(time.monotonic() - decided.decision.decided_s)

    def _remembered(self, decided: DecidedPart) -> _Leaving:
        """Return a part that leaves; it is remembered for as long as something may be found of it."""
        lane, at_s = decided.decision.lane, decided.decision.trigger.at_s
        leaving = _Leaving(decided, part_record(decided, self._frame(), self._recorder.orders(lane, at_s).lot))
        left = self._left.setdefault(lane, OrderedDict())
        left[decided.decision.sequence] = leaving
        if len(left) > MOST_KEPT:
            left.popitem(last=False)
        return leaving


def _key(decided: DecidedPart) -> _Key:
    return decided.decision.lane, decided.decision.sequence
