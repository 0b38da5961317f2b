# SPDX-License-Identifier: AGPL-3.0-or-later
"""The port through which nodes agree: a small store of named values with revisions, and a watch over all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from vision_line.errors import VisionLineError

LEADER = "leader"
PLAN = "plan"
CONFIG = "config"
NODE_PREFIX = "node."
#: Behind it stands a node's name; its value says whether the node is to give its cameras away.
DRAIN_PREFIX = "drain."
DRAIN, NO_DRAIN = b"drain", b"no"


class CoordinationError(VisionLineError):
    """The store did not answer in time, or refused: what became of a write is not known."""


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """A value as it stands in the store. Each write of any key gets a higher revision, until the store is made anew."""

    key: str
    value: bytes
    revision: int
    created_s: float = field(default=0.0, compare=False)  # when it was written, by the store's clock; 0: not known


class Coordination(Protocol):
    """A store that several machines hold together; one event loop uses it. Whatever is in it can be made again."""

    async def put(self, key: str, value: bytes) -> int:
        """Write whatever stands there, and return the revision.

        Raises:
            CoordinationError: it is not known whether it was written.
        """

    async def swap(self, key: str, value: bytes, expected: int) -> int | None:
        """Write if the key's revision is `expected`, 0 where it must have no value; return the new one, None: it isn't.

        Raises:
            CoordinationError: it is not known whether it was written.
        """

    async def get(self, key: str) -> StoreEntry | None:
        """Return the value, which may be a little old, None where the store has none.

        Raises:
            CoordinationError: the store did not answer; that is not "none".
        """

    def watch(self) -> AsyncIterator[StoreEntry]:
        """Yield what stands in the store, then each change, without an end.

        A watch that falls silent or breaks is begun anew: values come again then, and some between were never seen.
        """

    async def close(self) -> None:
        """End the connection and all watches."""
