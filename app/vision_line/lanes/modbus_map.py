# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which register means what, for a PLC that reads and writes them; docs/outputs/modbus.md shows it. Pure.

A word is 16 bits; of two words the higher comes first, of two characters in a word too. A field keeps its address and
meaning for ever; new ones take spare words. What cannot be kept raises `MAP_VERSION`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from vision_line.parts.part import PartCause, PartVerdict

MAP_VERSION: Final = 1
#: Input registers: the head, then a block for each lane; and the newest results of each lane once more.
HEAD_AT, LANE_AT, RESULTS_AT = 0, 16, 1000
LANE_WORDS = 16
#: Holding registers: a block for each lane.
HANDSHAKE_AT, HANDSHAKE_WORDS = 1000, 64
#: So many lanes have room before other registers begin.
MAX_LANES = 60
#: How many results of a lane can be read.
RESULTS = 8
#: Defect that is not in the list of classes.
OTHER_CLASS: Final = 65535

Kind = Literal["word", "double", "text"]
Values = Mapping[str, int | str]


class Field(NamedTuple):
    """Some words with one meaning. `words` of a text are two characters each."""

    name: str
    meaning: str
    kind: Kind = "word"
    words: int = 1


#: What the whole line says.
HEAD = (
    Field("map_version", "version of this map: 1"),
    Field("state", "bits, see below"),
    Field("heartbeat", "+1 each 100 ms; divert everything when it stands for 300 ms"),
    Field("lanes", "how many lanes there are"),
    Field("lanes_in_fault", "how many of them accept nothing now"),
    Field("cause", "why the first of those accepts nothing: a cause, see below"),
    Field("uptime_s", "seconds since the start", "double", 2),
    Field("refused", "writes that were refused since the start"),
)
#: What is read of a lane: the newest result, its number last.
LANE = (
    Field("lane_state", "bits: 1 enabled, 2 can accept"),
    Field("lane_cause", "why it can accept nothing: a cause"),
    Field("parts", "parts so far"),
    Field("rejects", "of them rejected"),
    Field("not_inspected", "of them not inspected"),
    Field("trigger_taken", "the newest trigger number that was taken from the PLC"),
    Field("sequence", "the part's number in the records", "double", 2),
    Field("class_code", "its worst defect: 0 none, 1 the first of `classes`, 65535 another"),
    Field("score", "of that defect, in thousandths"),
    Field("took_ms", "from the trigger to the decision"),
    Field("result_cause", "why it was not inspected: a cause"),
    Field("verdict", "0 none, 1 accept, 2 warn, 3 reject, 4 not inspected"),
    Field("trigger", "the trigger number that this answers, 0: the part had none"),
    Field("result", "counts results; it changes when there is a new one"),
)
#: The newest results of a lane, the newest first: for parts that follow each other faster than the PLC reads.
RECENT = tuple(
    field
    for number in range(1, RESULTS + 1)
    for field in (
        Field(f"trigger_{number}", "a trigger number, 0: none"),
        Field(f"verdict_{number}", "what was decided of it"),
    )
)
#: What the PLC writes of a lane, the trigger number last.
HANDSHAKE = (
    Field("enable", "1: decide, 0: divert everything"),
    Field("acknowledged", "the newest `result` that the PLC has taken: its accept is no longer readable then"),
    Field("machine_parts", "parts that the PLC counted since its start"),
    Field("machine_rejects", "of them diverted as rejects"),
    Field("recipe", "the recipe that the part needs, 7 is `[recipe.7]`; 0: not said; it changes nothing over"),
    Field("age_ms", "how long before this write the photo-eye saw the part, at most 5000"),
    Field(
        "encoder", "the belt's count at the photo-eye; between parts, as it is, each scan or every 40 ms", "double", 2
    ),
    Field("part_id", "the part's id, ended by 0", "text", 16),
    Field("lot", "its lot, ended by 0; empty: not said", "text", 16),
    Field("trigger", "the part's number, 1 to 65535: another number than before is a new part; 0: forget what was"),
)

#: Bits of `state`.
READY, LINE, FAULT, LOG, CHALLENGE, RECIPE, CAMERA, WRITES = (1 << bit for bit in range(8))
#: What each says, the lowest first.
STATE_BITS = (
    "ready: every lane can accept",
    "the line runs and answers",
    "fault: a lane can accept nothing",
    "a lane: nothing can be recorded",
    "a lane: a challenge is failed or overdue",
    "a lane: its recipe is not in force",
    "a lane: a camera is not inspected",
    "writes of the PLC are taken",
)
#: The bit of `state` that a lane's cause sets.
CAUSE_BITS = {
    PartCause.LOG: LOG,
    PartCause.CHALLENGE: CHALLENGE,
    PartCause.RECIPE: RECIPE,
    PartCause.CAMERA: CAMERA,
}
#: Bits of `lane_state`.
ENABLED, CAN_ACCEPT = 1, 2

NO_VERDICT: Final = 0
VERDICTS = {
    PartVerdict.ACCEPT: 1,
    PartVerdict.WARN: 2,
    PartVerdict.REJECT: 3,
    PartVerdict.NOT_INSPECTED: 4,
}
#: After these a part may go on.
GOOD = frozenset({VERDICTS[PartVerdict.ACCEPT], VERDICTS[PartVerdict.WARN]})
CAUSES = {
    PartCause.NONE: 0,
    PartCause.TOO_FEW_INSPECTIONS: 1,
    PartCause.GAP: 2,
    PartCause.LATE: 3,
    PartCause.LINE_AWAY: 4,
    PartCause.CAMERA: 5,
    PartCause.LOG: 6,
    PartCause.RECIPE: 7,
    PartCause.CHALLENGE: 8,
    PartCause.OVERLAP: 9,
    PartCause.LANE_OFF: 10,
    PartCause.RESTART: 11,
    PartCause.CROSSING: 12,
}


def size(block: Sequence[Field]) -> int:
    """Return how many words a block has."""
    return sum(field.words for field in block)


def offset(block: Sequence[Field], name: str) -> int:
    """Return where a field begins in its block."""
    names = [field.name for field in block]
    return size(block[: names.index(name)])


def fields_in(block: Sequence[Field], first: int, count: int) -> frozenset[str]:
    """Return the names of the fields of which words `first` to `first + count` are a part."""
    found, at = set(), 0
    for field in block:
        if at < first + count and first < at + field.words:
            found.add(field.name)
        at += field.words
    return frozenset(found)


def encode(block: Sequence[Field], values: Values, words: int) -> list[int]:
    """Return a block as `words` words, the spare ones 0. Numbers wrap around as counters of 16 and 32 bits do."""
    data = b"".join(_bytes(field, values[field.name]) for field in block)
    return list(struct.unpack(f">{words}H", data.ljust(2 * words, b"\0")))


def decode(block: Sequence[Field], words: Sequence[int]) -> dict[str, int | str]:
    """Return the values of a block.

    Raises:
        ValueError: a text is not made of printable ASCII characters; says which.
    """
    data, values, at = struct.pack(f">{len(words)}H", *words), {}, 0
    for field in block:
        end = at + 2 * field.words
        values[field.name] = _value(field, data[at:end])
        at = end
    return values


def _bytes(field: Field, value: int | str) -> bytes:
    if isinstance(value, str):
        return value.encode("ascii")[: 2 * field.words].ljust(2 * field.words, b"\0")
    return (value % (1 << 16 * field.words)).to_bytes(2 * field.words, "big")


def _value(field: Field, data: bytes) -> int | str:
    if field.kind != "text":
        return int.from_bytes(data, "big")
    text = data.split(b"\0")[0].decode("latin-1").rstrip(" ")
    if not (text.isascii() and text.isprintable()):
        raise ValueError(f"{field.name}: expected printable ASCII characters, found {text!a}")
    return text
