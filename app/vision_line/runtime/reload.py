# SPDX-License-Identifier: AGPL-3.0-or-later
"""Follow `streams.toml` while the line runs: a valid new text is handed over, an invalid one is refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from vision_line.config.file_signature import SettledChange
from vision_line.config.load import LoadedConfig, load_config
from vision_line.config.models import Config
from vision_line.errors import ConfigError
from vision_line.telemetry.snapshot import ConfigStatus

logger = logging.getLogger(__name__)

#: How often the file is checked, in seconds; a change counts once it stood still for so long.
CHECK_EVERY_S = 1.0
#: So much of why a configuration is refused goes into an alarm or a heartbeat; the log has all of it.
_LONGEST_WHY = 200
#: Sections that a run reads at its start only.
_READ_AT_START = ("model", "record", "clips", "challenge", "dashboard", "metrics", "simulator")


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
        self._at_start = loaded.config
        self._current = loaded
        self._prepare = prepare
        self._apply = apply
        self._change = SettledChange(loaded.path, loaded.signature)
        self._asked = asked
        self._refusal = ""
        self._waiting: list[str] = []  # sections of which the file says otherwise than at the start

    def status(self) -> ConfigStatus:
        """Return what of the file as it is now is not in force."""
        return ConfigStatus(self._refusal, _needs_restart(self._waiting) if self._waiting else "")

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
        if not self._change.is_due(asked=asked):
            return
        try:
            loaded = load_config(self._current.path, first=self._current.first)
            await self._prepare(loaded)
        except ConfigError as exc:
            self._refusal = f"the configuration as it is now is not used: {in_short(exc)}"
            logger.error(
                "the changed configuration has errors and is not used, the previous one stays in force:\n%s", exc
            )
            return
        self._refusal = ""
        before, self._current = self._current.config, loaded
        if loaded.config == before:  # not the texts: a secret may have changed outside of the file
            return
        self._note_waiting(loaded.config)
        await self._apply(loaded)

    def _note_waiting(self, config: Config) -> None:
        before = self._waiting
        self._waiting = [name for name in _READ_AT_START if getattr(config, name) != getattr(self._at_start, name)]
        if self._waiting and self._waiting != before:
            logger.warning("%s", _needs_restart(self._waiting))


def in_short(error: ConfigError) -> str:
    """Return the first problem, and how many more there are."""
    first, *others = error.problems
    more = f" (+ {len(others)} more)" if others else ""
    return f"{first.splitlines()[0][:_LONGEST_WHY]}{more}"


def _needs_restart(sections: Sequence[str]) -> str:
    return f"changes of {', '.join(f'[{name}]' for name in sections)} need a restart"
