# SPDX-License-Identifier: AGPL-3.0-or-later
"""A configuration that changes under the run: what is new is handed over, what is wrong is refused and survived."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.fakes.waiting import until

from vision_line.config.load import LoadedConfig, load_config
from vision_line.runtime.reload import ConfigFollower

TEXT = 'config_version = 1\n[[stream]]\nname = "a"\nurl = "rtsp://u:{LINE_TEST_PASSWORD}@host/x"\n'

_WORD = "geheim-7421"


class Followed:
    """A followed configuration with a secret beside it."""

    def __init__(self, folder: Path) -> None:
        self.secret = folder / "LINE_TEST_PASSWORD"
        self.secret.write_text("old", encoding="utf-8")
        self.path = folder / "streams.toml"
        self.path.write_text(TEXT, encoding="utf-8")
        self.applied: list[LoadedConfig] = []
        self.checks = 0
        self.asked = asyncio.Event()
        self.follower = ConfigFollower(load_config(self.path), self._check, self._apply, self.asked)

    async def _check(self, loaded: LoadedConfig) -> None:
        self.checks += 1

    async def _apply(self, loaded: LoadedConfig) -> None:
        self.applied.append(loaded)

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(condition)

    @property
    def urls(self) -> list[str]:
        return [loaded.config.stream[0].url.get_secret_value() for loaded in self.applied]


@pytest.fixture
async def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Followed]:
    """A configuration that is being followed."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    made = Followed(tmp_path)
    task = asyncio.create_task(made.follower.run())
    yield made
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_rotated_secret_is_taken_up_at_sighup(followed: Followed) -> None:
    """The file's text has not changed, and the camera's password has."""
    followed.secret.write_text("n/ew", encoding="utf-8")
    followed.asked.set()
    await followed.until(lambda: bool(followed.applied))

    assert followed.urls == ["rtsp://u:n%2Few@host/x"]


async def test_a_secret_that_cannot_be_read_is_refused_and_survived(followed: Followed) -> None:
    """The old configuration stays in force, and the next check takes up the mended one."""
    followed.secret.write_bytes(b"\xff\xfe")
    followed.asked.set()
    await followed.until(lambda: followed.follower.status().refusal != "")
    assert "stream[a].url: {LINE_TEST_PASSWORD}: " in followed.follower.status().refusal
    assert followed.applied == []

    followed.secret.write_text("new", encoding="utf-8")
    followed.asked.set()
    await followed.until(lambda: bool(followed.applied))
    assert followed.follower.status().refusal == ""


async def test_a_refused_file_is_an_alarm_with_its_first_problem(followed: Followed) -> None:
    """Who looks at the screen knows that what was added is not inspected; the log has all problems."""
    added = f'{TEXT}[[stream]]\nname = "b"\nurl = "rtsp://u:{_WORD}@host/y"\nroi = 1\nmin_hits = 0\n'
    followed.path.write_text(added, encoding="utf-8")
    await followed.until(lambda: followed.follower.status().refusal != "")
    said = followed.follower.status().refusal
    assert said.startswith(f"the configuration as it is now is not used: {followed.path}:")
    assert said.endswith(" (+ 1 more)")
    assert _WORD not in said

    followed.path.write_text(f"# mended\n{TEXT}", encoding="utf-8")
    await followed.until(lambda: followed.follower.status().refusal == "")
    assert followed.applied == []


async def test_what_needs_a_restart_is_said_until_the_file_is_as_at_the_start(followed: Followed) -> None:
    """Also while other changes of the file are taken up at once."""
    changed = f'{TEXT}[challenge]\nfile = "parts.toml"\n[metrics]\nlisten = "127.0.0.1:9108"\n'
    followed.path.write_text(changed, encoding="utf-8")
    await followed.until(lambda: len(followed.applied) == 1)
    waits = "changes of [challenge], [metrics] need a restart"
    assert followed.follower.status().restart == waits

    followed.path.write_text(changed.replace('"a"', '"other"'), encoding="utf-8")
    await followed.until(lambda: len(followed.applied) == 2)
    assert followed.follower.status().restart == waits

    followed.path.write_text(TEXT, encoding="utf-8")
    await followed.until(lambda: len(followed.applied) == 3)
    assert followed.follower.status().restart == ""


async def test_what_says_the_same_is_not_applied(followed: Followed) -> None:
    """Neither a second SIGHUP nor a comment restarts a camera."""
    followed.path.write_text(f"# a comment\n{TEXT}", encoding="utf-8")
    followed.asked.set()
    await followed.until(lambda: followed.checks == 1)
    followed.asked.set()
    await followed.until(lambda: followed.checks == 2)

    assert followed.applied == []


async def test_a_change_during_the_start_is_noticed(tmp_path: Path) -> None:
    """Between the reading of the file and the first look a device is opened: a GPU's first engine takes minutes."""
    path = tmp_path / "streams.toml"
    text = TEXT.replace("{LINE_TEST_PASSWORD}", "x")
    path.write_text(text, encoding="utf-8")
    loaded = load_config(path)
    path.write_text(text.replace('"a"', '"b"'), encoding="utf-8")
    applied = asyncio.Queue[LoadedConfig]()

    async def nothing_to_say(loaded: LoadedConfig) -> None:
        del loaded

    follower = ConfigFollower(loaded, nothing_to_say, applied.put, asyncio.Event())
    task = asyncio.create_task(follower.run())
    try:
        async with asyncio.timeout(40):
            now = await applied.get()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert [stream.name for stream in now.config.stream] == ["b"]
