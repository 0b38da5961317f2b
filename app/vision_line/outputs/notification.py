# SPDX-License-Identifier: AGPL-3.0-or-later
"""One thing that an output is told, and how it reads as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from vision_line.config.output_settings import OutputSettings
from vision_line.outputs.cursor import JournalName
from vision_line.records.formats import iso_utc
from vision_line.records.journal import JournalEntry

#: Said by the follower itself; no filter keeps them back.
LOST = "lost"
FORK = "fork"
_OWN = frozenset({LOST, FORK})
#: A challenge's result, and the line's alarms as they are now: what no entry of the records says.
CHALLENGE = "challenge"
ALARM = "alarm"
#: What became of a wish for a recipe, by the configuration in the records' journal.
RECIPE_STATE = "recipe_state"
#: The version of every content's format: it rises when a key changes its meaning or goes.
VERSION = 1

#: The moment of sending, as it is nowhere else in a message's JSON: quotes within texts are escaped.
_SENT_NEVER = f'"sent":"{iso_utc(0.0)}"'.encode()

Content = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Notification:
    """Entry `number` of the journal as others read it, or what the follower has to say before it.

    `id` is the same however often it is sent. `camera`, `class_name`, `verdict` and `lane` are None where it has none,
    or its verdict is not the last one yet.
    """

    id: str
    number: int
    kind: str
    at_utc: float
    content: Content = field(hash=False)
    camera: str | None = None
    class_name: str | None = None
    verdict: str | None = None
    lane: str | None = None
    _text: list[bytes] = field(default_factory=list, init=False, repr=False, compare=False)
    """Its JSON before and behind the moment of sending, once somebody asked: it is the same for all outputs."""

    @property
    def schema(self) -> str:
        """The name of the content's format with its version."""
        return f"vision-line.{self.kind}/{VERSION}"

    def as_object(self, sent_utc: float) -> dict[str, object]:
        """Return it as flat JSON: what all have first."""
        return {
            "schema": self.schema,
            "id": self.id,
            "number": self.number,
            "time": iso_utc(self.at_utc),
            "sent": iso_utc(sent_utc),
            **self.content,
        }

    def as_json(self, sent_utc: float) -> bytes:
        """Return the same as UTF-8 JSON on one line."""
        if not self._text:
            self._text.extend(json_bytes(self.as_object(0.0)).split(_SENT_NEVER, 1))
        if len(self._text) == 1:  # an entry that somebody changed has a `sent` of its own
            return self._text[0]
        before, behind = self._text
        return b'%b"sent":"%b"%b' % (before, iso_utc(sent_utc).encode(), behind)


def json_bytes(value: object) -> bytes:
    """Return JSON on one line as UTF-8; half a character, which a damaged entry may hold, becomes a question mark."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def id_of(run_id: str | None, entry: JournalEntry) -> str:
    """Return the id of an entry: its run and number. Run `0` is none."""
    return f"{run_id or 0}:{entry.number}"


def is_wanted(settings: OutputSettings, said: Notification) -> bool:
    """Whether an output asks for it. What has no camera, class, verdict or lane passes the filters of these."""
    if said.kind in _OWN:
        return True
    return said.kind in settings.kinds and all(
        not wanted or found is None or found in wanted
        for wanted, found in (
            (settings.cameras, said.camera),
            (settings.classes, said.class_name),
            (settings.verdicts, said.verdict),
            (settings.lanes, said.lane),
        )
    )


def lost(journal: JournalName, begins: int, ends: int, why: str, at_utc: float) -> Notification:
    """Return what says that the entries `begins` to `ends` were never sent: retention or a limit was faster."""
    content = {"journal": journal, "from": begins, "to": ends, "entries": ends - begins + 1, "why": why}
    return Notification(_own_id(journal, f"lost:{begins}-{ends}"), ends, LOST, at_utc, content)


def fork(journal: JournalName, from_number: int, goes_on_behind: int, at_utc: float) -> Notification:
    """Return what says that the entries are others than those which were followed up to `from_number`.

    An older backup was restored, or the folder begun anew: what is behind `goes_on_behind` is sent, perhaps again.
    """
    content = {"journal": journal, "followed_to": from_number, "goes_on_behind": goes_on_behind}
    own_id = _own_id(journal, f"fork:{from_number}-{goes_on_behind}")
    return Notification(own_id, goes_on_behind, FORK, at_utc, content)


def _own_id(journal: JournalName, said: str) -> str:
    return said if journal is JournalName.RECORDS else f"{journal}:{said}"
