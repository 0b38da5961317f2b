# SPDX-License-Identifier: AGPL-3.0-or-later
"""A run as stages, each a function of hashes: what is done is not done again, what was interrupted goes on.

A stage's key is the hash of its name, its version, its settings, the hashes of the files it reads and the keys of
the stages before it. Its folder bears the key, so a changed recipe works beside the old results and a recipe changed
back finds them again. A folder counts only with its marker, which is written last, in one piece, and names every
output with its hash; a folder without marker is handed to the stage once more, which may continue in it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import IO

from pydantic import Field, JsonValue, ValidationError

from vision_line.errors import ConfigError, RunError
from vision_line.ports import ProgressCallback
from vision_line_compression.files import Document, sha256_of
from vision_line_compression.pipeline.stage_machine import library_versions, this_machine

MARKER = "done.json"
LOCK = "run.lock"
#: In a stage's own folder: held by who works in it, as two might where a worker is given up and lives on.
STAGE_LOCK = "stage.lock"
#: How long such a one is waited for.
GIVEN_UP_S = 60.0

#: Writes a stage's outputs into the folder and returns their paths.
Work = Callable[[Path, ProgressCallback], list[Path]]

#: Opens the display of one stage, by its title.
Display = Callable[[str], AbstractContextManager[ProgressCallback]]


class StagePlace(StrEnum):
    """Where a stage may be done if several machines share a run."""

    ANYWHERE = "anywhere"
    TRAINING = "training"  # where the recipe's training device is
    HERE = "here"  # on the machine of the command, alone: it measures that machine, or says which one it is


@dataclass(frozen=True, eq=False)
class Stage:
    """One step; `settings` and `inputs` hold all that its result depends on beside the stages `after` which it comes.

    `version` rises when the code's results change. `inputs` are hashes of files by what they are to the stage. `place`
    says where it may be done, which its result does not depend on.
    """

    name: str
    work: Work
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    after: tuple[Stage, ...] = ()
    version: int = 1
    place: StagePlace = StagePlace.ANYWHERE

    @cached_property
    def key(self) -> str:
        """The hash that names the result."""
        content = {
            "name": self.name,
            "version": self.version,
            "settings": dict(self.settings),
            "inputs": dict(self.inputs),
            "after": [stage.key for stage in self.after],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Marker(Document):
    """`done.json`: says that a folder is complete."""

    stage: str
    key: str
    outputs: dict[str, str]  # path in the folder: SHA-256
    seconds: float  # of the last attempt
    inputs: dict[str, str]
    machine: str = ""  # which ended it; "" in a folder of an older version
    versions: dict[str, str] = Field(default_factory=dict)


class Workspace:
    """The folder in which a recipe's stages leave their results. One run works in it at a time."""

    def __init__(self, root: Path) -> None:
        """Use `root`; it need not exist yet."""
        self.root = root
        self._verified: set[str] = set()

    def folder(self, stage: Stage) -> Path:
        """Return where `stage` works, whether it is done or not."""
        return self.root / f"{stage.name}-{stage.key[:12]}"

    def marker(self, stage: Stage) -> Marker | None:
        """Return what was written when `stage` was done; None where its folder is not there any more."""
        return _read_marker(self.folder(stage) / MARKER)

    def is_done(self, stage: Stage) -> bool:
        """Return whether the result is there, complete and unaltered."""
        if stage.key in self._verified:
            return True
        folder, marker = self.folder(stage), self.marker(stage)
        whole = (
            marker is not None
            and marker.key == stage.key
            and all(_sha256(folder / name) == sha256 for name, sha256 in marker.outputs.items())
        )
        if whole:
            self._verified.add(stage.key)
        return whole

    def ensure(self, stage: Stage, display: Display) -> Path:
        """Return the folder of the finished `stage`, doing or continuing it, and what it comes after, where needed.

        What a finished stage came after is not looked at: its folders may have been deleted to save space.
        """
        if not self.is_done(stage):
            for before in stage.after:
                self.ensure(before, display)
            with self.locked():
                self._carry_out(stage, display)
        return self.folder(stage)

    def share(self, stage: Stage, display: Display) -> None:
        """Do or continue `stage` alone, after what it comes after; others may do other stages meanwhile.

        Raises:
            RunError: another process works on this stage, and does not end.
        """
        folder = self.folder(stage)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / STAGE_LOCK).open("w") as lock:
            deadline_s = time.monotonic() + GIVEN_UP_S
            while not _is_taken(lock):
                if time.monotonic() > deadline_s:
                    raise RunError(f"{folder}: a worker that was given up still works here: end it, and run this again")
                time.sleep(0.2)
            if not self.is_done(stage):
                self._carry_out(stage, display)

    def require(self, stage: Stage, command: str) -> Path:
        """Return the folder of `stage`, which must be done.

        Raises:
            ConfigError: it is not; `command` does it.
        """
        if not self.is_done(stage):
            raise ConfigError(f"the stage {stage.name!r} is not done for this recipe, expected `{command}` before")
        return self.folder(stage)

    def _carry_out(self, stage: Stage, display: Display) -> None:
        folder = self.folder(stage)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).unlink(missing_ok=True)
        begin = time.monotonic()
        with display(stage.name) as report:
            outputs = stage.work(folder, report)
        marker = Marker(
            stage=stage.name,
            key=stage.key,
            outputs={str(path.relative_to(folder)): sha256_of(path) for path in outputs},
            seconds=round(time.monotonic() - begin, 1),
            inputs=dict(stage.inputs),
            machine=this_machine(),
            versions=library_versions(),
        )
        marker.write(folder / MARKER)
        self._verified.add(stage.key)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other run out of the folder while the block runs.

        Raises:
            RunError: one is in it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / LOCK).open("w") as lock:
            if not _is_taken(lock):
                raise RunError(f"{self.root}: another run works here, expected one at a time")
            yield


def _is_taken(lock: IO[str]) -> bool:
    """Whether the lock is ours now: until the file is closed, or this process ends."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sha256(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None


def _read_marker(path: Path) -> Marker | None:
    try:
        return Marker.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:  # of an older version: the stage is done again
        return None
