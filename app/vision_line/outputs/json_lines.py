# SPDX-License-Identifier: AGPL-3.0-or-later
"""Messages as JSON, one a line: for programs that read a pipe, and keep for themselves how far they are."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import Literal

from vision_line.config.output_settings import OutputSettings
from vision_line.errors import ConfigError
from vision_line.outputs.chained_source import ChainedSource
from vision_line.outputs.cursor import BEGINNING, Cursor, CursorKey, JournalName, MemoryCursors
from vision_line.outputs.follower import READ_AHEAD, Follower
from vision_line.outputs.journal_sources import JournalSources
from vision_line.outputs.notification import Notification
from vision_line.records.query import parse_moment
from vision_line.words import printable_json

_NAME = "events"
#: An id: the last number in it is that of the entry, also in one of `lost` or `fork`.
_ID = re.compile(r"(?:[^:,]+:){1,2}(?:\d{1,18}-)?(\d{1,18})")


class JsonLines:
    """Gives lines from a position on; nothing is kept of how far the reader is."""

    def __init__(self, settings: OutputSettings, sources: JournalSources, since: str) -> None:
        """`since` is `now`, `all`, the ids that were seen last with a comma between, an age or a moment.

        Raises:
            ConfigError: it is none of these.
            RunError: the records cannot be read.
        """
        cursors = MemoryCursors()
        if since not in {"now", "all"}:
            for source, position in _positions(sources.followed(settings), since):
                cursors.save(CursorKey(settings.name, source.journal), Cursor(*position))
        self._followers = [Follower(settings, source, cursors) for source in sources.followed(settings)]

    def lines(self) -> Iterator[str]:
        """Yield what is there, a line each, until nothing is for the moment; a line that was yielded is done.

        Raises:
            RunError: the records cannot be read.
        """
        is_done = False
        while not is_done:
            is_done = True
            for follower in self._followers:
                batch = follower.next(READ_AHEAD)
                if batch is not None:
                    is_done = False
                    yield from map(_line, batch.messages)
                    follower.done(batch)


def _line(said: Notification) -> str:
    return printable_json(said.as_json(time.time()).decode())


def _positions(sources: Sequence[ChainedSource], since: str) -> Iterator[tuple[ChainedSource, tuple[int, bytes]]]:
    """Yield where each journal is followed from; one of which no id was seen yet, from its beginning."""
    try:
        at_utc = parse_moment(since, time.time())
    except ConfigError as exc:
        seen = _seen(since)
        if not seen:
            raise ConfigError(f"--since: expected all, the ids that were seen last, or a time: {exc}") from exc
        yield from ((source, _behind(source, seen.get(source.journal, 0))) for source in sources)
    else:
        yield from ((source, source.before(at_utc) or source.newest() or BEGINNING) for source in sources)


def _behind(source: ChainedSource, number: int) -> tuple[int, bytes]:
    if number == 0:
        return source.beginning()
    if number < source.beginning().number:
        return number, b""  # what is gone behind it is said to be lost
    return source.position(number)


def _seen(since: str) -> dict[JournalName, int]:
    """Return the entry that was seen last of each journal; nothing, where `since` is no list of ids."""
    found = [_ID.fullmatch(text.strip()) for text in since.split(",")]
    return {} if None in found else {_journal_of(each[0]): int(each[1]) for each in found if each is not None}


def _journal_of(seen: str) -> JournalName:
    """Return whose id it is: all but those of the records begin with their journal's name."""
    first, _, _ = seen.partition(":")
    return JournalName(first) if first in set(JournalName) else JournalName.RECORDS


def events_settings(
    kinds: list[str], cameras: list[str], classes: list[str], verdicts: list[str], since: str, lanes: Sequence[str] = ()
) -> OutputSettings:
    """Return the settings of a reader by a pipe; without `kinds`, those of any output.

    Raises:
        ConfigError: there is no such kind or verdict.
    """
    begins: Literal["now", "all"] = "all" if since == "all" else "now"
    chosen = {"cameras": cameras, "classes": classes, "verdicts": verdicts, "lanes": list(lanes), "since": begins}
    try:
        return OutputSettings.model_validate({"name": _NAME, **chosen, **({"kinds": kinds} if kinds else {})})
    except ValueError as exc:
        raise ConfigError(f"--kind, --verdict: {exc}") from exc
