# SPDX-License-Identifier: AGPL-3.0-or-later
"""Follow `streams.toml` while the line runs: a valid new text is handed over, an invalid one is refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from vision_line.config.file_signature import file_signature
from vision_line.config.load import LoadedConfig, load_config
from vision_line.errors import ConfigError

logger = logging.getLogger(__name__)

#: How often the file is checked, in seconds.
CHECK_EVERY_S = 1.0


class ConfigFollower:
    """Re-reads the configuration when its file changes, and when it is asked to."""

    def __init__(
        self,
        loaded: LoadedConfig,
        prepare: Callable[[LoadedConfig], Awaitable[None]],
        apply: Callable[[LoadedConfig], Awaitable[None]],
        asked: asyncio.Event,
    ) -> None:
        """`prepare` raises ConfigError for a file that is valid by itself and cannot be used in this run.

        `asked` is set (by SIGHUP) to have the file read again at once, changed or not; also before there is a follower.
        """
        self._current = loaded
        self._prepare = prepare
        self._apply = apply
        self._signature = loaded.signature
        self._asked = asked
        self.refusal: str | None = None  # why the file as it stands now is not in use; None: it is

    async def run(self) -> None:
        """Follow the file until cancelled."""
        while True:
            try:
                async with asyncio.timeout(CHECK_EVERY_S):
                    await self._asked.wait()
            except TimeoutError:
                pass
            asked = self._asked.is_set()
            self._asked.clear()
            await self._check_file(asked=asked)

    async def _check_file(self, *, asked: bool) -> None:
        signature = file_signature(self._current.path)
        if signature == self._signature and not asked:
            return
        self._signature = signature
        try:
            loaded = load_config(self._current.path, first=self._current.first)
            await self._prepare(loaded)
        except ConfigError as exc:
            self.refusal = str(exc)
            logger.error(
                "the changed configuration has errors and is not used, the previous one stays in force:\n%s", exc
            )
            return
        self.refusal = None
        before, self._current = self._current.config, loaded
        if loaded.config == before:  # not the texts: a secret may have changed outside of the file
            return
        fixed = [
            name
            for name in ("model", "record", "clips", "dashboard", "metrics", "simulator")
            if _differs(before, loaded, name)
        ]
        if fixed:
            logger.warning("changes of %s need a restart", ", ".join(f"[{name}]" for name in fixed))
        await self._apply(loaded)


def _differs(before: object, loaded: LoadedConfig, name: str) -> bool:
    return bool(getattr(before, name) != getattr(loaded.config, name))
