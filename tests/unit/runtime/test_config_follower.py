# SPDX-License-Identifier: AGPL-3.0-or-later
"""A configuration that changes under the run: what is new is handed over, what is wrong is refused and survived."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from vision_line.config.load import LoadedConfig, load_config
from vision_line.runtime.reload import ConfigFollower

TEXT = 'config_version = 1\n[[stream]]\nname = "a"\nurl = "rtsp://u:{LINE_TEST_PASSWORD}@host/x"\n'


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
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

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
    await followed.until(lambda: followed.follower.refusal is not None)
    assert "expected UTF-8 text" in str(followed.follower.refusal)
    assert followed.applied == []

    followed.secret.write_text("new", encoding="utf-8")
    followed.asked.set()
    await followed.until(lambda: bool(followed.applied))
    assert followed.follower.refusal is None


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
