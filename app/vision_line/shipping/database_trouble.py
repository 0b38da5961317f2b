# SPDX-License-Identifier: AGPL-3.0-or-later
"""Why a database gets nothing, in the words that outputs have for it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from vision_line.outputs.message_sink import SinkTrouble

#: What libpq and the server say when they do not let anybody in: there is no code of it.
_WORDS: Sequence[tuple[SinkTrouble, tuple[str, ...]]] = (
    (SinkTrouble.AUTH_FAILED, ("authentication failed", "no password supplied", "pg_hba.conf", 'role "')),
    (SinkTrouble.NAME_UNKNOWN, ("could not translate host name", "Name or service not known", "failed to resolve")),
    (SinkTrouble.TLS_FAILED, ("certificate", "SSL", "sslrootcert")),
    (SinkTrouble.TIMEOUT, ("timeout expired", "timed out")),
    (SinkTrouble.UNREACHABLE, ("Connection refused", "No route to host", "Network is unreachable")),
    (SinkTrouble.REFUSED, ('database "',)),
)
#: Codes of SQL's errors by their first letters.
_CODES: Sequence[tuple[str, SinkTrouble]] = (
    ("53", SinkTrouble.BUSY),  # no room: disk, memory, connections
    ("57", SinkTrouble.LOST),  # the server is stopped or starts
    ("08", SinkTrouble.LOST),
    ("40", SinkTrouble.BUSY),  # a deadlock
    ("55", SinkTrouble.BUSY),
    ("42", SinkTrouble.REFUSED),  # no such table, or no right
    ("25", SinkTrouble.REFUSED),  # a server that only reads
)


def trouble_of(code: str | None, text: str) -> SinkTrouble:
    """Return why a database did not do it, by its code, where it gave one, and its words."""
    for letters, trouble in _CODES:
        if code is not None and code.startswith(letters):
            return trouble
    return next((trouble for trouble, words in _WORDS if any(word in text for word in words)), SinkTrouble.LOST)
