# SPDX-License-Identifier: AGPL-3.0-or-later
"""All outputs of a record directory in one event loop; follows the configuration while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vision_line.challenges.asked_challenges import AskedChallenges
from vision_line.config.file_signature import SettledChange
from vision_line.config.output_load import LoadedOutputs, load_outputs
from vision_line.config.output_settings import AnyOutput, OutputSettings
from vision_line.errors import ConfigError, RunError
from vision_line.outputs.cursor_file import CursorFile
from vision_line.outputs.delivery import Delivery
from vision_line.outputs.follower import Follower
from vision_line.outputs.journal_sources import JournalSources
from vision_line.outputs.line_alarms import AlarmNews, AlarmWatch
from vision_line.outputs.message_sink import to_next_turn_s
from vision_line.outputs.notification import ALARM
from vision_line.outputs.sinks import check_installed, sink_maker
from vision_line.parts.line_commands import LineCommands, SendPart
from vision_line.task_ending import end_tasks

logger = logging.getLogger(__name__)

#: How often cursors are put on the disk, states noted and the configuration's file checked, in seconds.
TURN_S = 1.0


@dataclass(frozen=True, slots=True)
class _Running:
    settings: AnyOutput
    delivery: Delivery
    task: asyncio.Task[None]


class OutputService:
    """Starts, replaces and stops deliveries. Used by one task."""

    def __init__(self, directory: Path, send_part: SendPart) -> None:
        """Open what is kept of the outputs in `directory`; `send_part` tells who decides that a part begins to pass.

        Raises:
            RunError: it cannot be opened.
        """
        self._directory = directory
        self._send_part = send_part
        self._challenges = AskedChallenges(directory)
        self._sources = JournalSources(directory)
        self._cursors = CursorFile(directory)
        self._wanted: Mapping[str, AnyOutput] = {}
        self._running: dict[str, _Running] = {}
        self._commands: dict[str, LineCommands] = {}
        self._troubles: dict[str, str] = {}  # why what is wanted does not run, by its name
        self._alarms: AlarmWatch | None = None
        self._faults: set[str] = set()  # why something could not be noted, as it was said

    async def run(self, loaded: LoadedOutputs, asked: asyncio.Event) -> None:
        """Deliver until cancelled; `asked` has the configuration read again at once.

        Raises:
            Exception: a fault of ours in a delivery.
        """
        change = SettledChange(loaded.path, loaded.signature)
        try:
            await self._apply(loaded.enabled)
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(to_next_turn_s(TURN_S)):  # with those that look for news
                        await asked.wait()
                if change.is_due(asked=asked.is_set()):
                    asked.clear()
                    await self._reload(loaded.path)
                self._start()
                self._raise_faults()
                self._note()
                if self._challenges.awaits_result:
                    await asyncio.to_thread(self._challenges.enter_results)
        finally:
            await self._apply({})
            self.close()

    def close(self) -> None:
        """Put the cursors on the disk, and close; may not be called while deliveries run."""
        self._sources.close()
        if self._alarms is not None:
            self._alarms.close()
        self._cursors.close()

    async def _reload(self, path: Path) -> None:
        try:
            loaded = load_outputs(path)
            for settings in loaded.enabled.values():
                check_installed(settings)
        except ConfigError as exc:
            logger.error("the changed outputs have errors and are not used, the previous ones stay in force:\n%s", exc)
            return
        await self._apply(loaded.enabled)

    async def _apply(self, wanted: Mapping[str, AnyOutput]) -> None:
        """Stop what is not wanted any more or is otherwise now, and start what is new."""
        gone = [name for name, running in self._running.items() if wanted.get(name) != running.settings]
        await asyncio.gather(*(self._stop(name) for name in gone))
        self._wanted = wanted
        self._troubles.clear()
        self._start()

    def _start(self) -> None:
        """Start what is wanted and does not run; what cannot begin is tried again each turn, and the others go on."""
        for name in self._wanted.keys() - self._running.keys():
            try:
                self._running[name] = self._started(self._wanted[name])
            except RunError as exc:
                if self._troubles.get(name) != str(exc):
                    logger.error("output %r: cannot begin yet: %s", name, exc)
                self._troubles[name] = str(exc)

    def _started(self, settings: AnyOutput) -> _Running:
        make_sink = sink_maker(settings, self._directory, self._commands_of(settings.name))
        followers = [Follower(settings, source, self._cursors) for source in self._sources.followed(settings)]
        delivery = Delivery(
            settings.name, followers, self._sources.shown_state, self._cursors, make_sink, self._alarm_news(settings)
        )
        task = asyncio.create_task(delivery.run(), name=f"output {settings.name}")
        places = " and ".join(f"entry {each.cursor.number} of the {each.key.journal}" for each in followers)
        logger.info("output %r: follows the journals behind %s", settings.name, places)
        return _Running(settings, delivery, task)

    def _commands_of(self, name: str) -> LineCommands:
        """Return what carries out an output's commands: it knows those that it did, also after the output changed."""
        if name not in self._commands:
            self._commands[name] = LineCommands(self._directory, self._send_part, self._challenges.do)
        return self._commands[name]

    def _alarm_news(self, settings: OutputSettings) -> AlarmNews | None:
        """Return what an output is to be told of alarms; the feed is followed once somebody asks for them."""
        if ALARM not in settings.kinds:
            return None
        if self._alarms is None:
            self._alarms = AlarmWatch(self._directory)
        return AlarmNews(self._alarms.now)

    async def _stop(self, name: str) -> None:
        running = self._running[name]
        await end_tasks(running.task)  # may be cut short itself: what has not ended must be found by who ends the rest
        del self._running[name]
        if not running.task.cancelled():
            running.task.result()
        with suppress(RunError):  # it was said when it was noted; the next start repeats what was not
            running.delivery.note()
            self._cursors.sync({name: running.delivery.state()})

    def _raise_faults(self) -> None:
        for running in self._running.values():
            if running.task.done():
                running.task.result()  # one that ended in order is disabled

    def _note(self) -> None:
        """Note how far each output is; where that fails for one it is said once, and the others are noted."""
        faults = [self._fault_of(running.delivery.note) for running in self._running.values()]
        states = {name: running.delivery.state() for name, running in self._running.items()}
        faults.append(self._fault_of(partial(self._cursors.sync, states)))
        said, self._faults = self._faults, {fault for fault in faults if fault}
        for fault in sorted(self._faults - said):
            logger.error("%s: what is sent now may be sent again", fault)

    @staticmethod
    def _fault_of(note: Callable[[], None]) -> str:
        try:
            note()
        except RunError as exc:
            return str(exc)
        return ""
