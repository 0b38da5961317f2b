# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is asked for comes into force at once, at a start too; a reload and a wish do not contradict each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.fakes.waiting import until

from vision_line.config.load import LoadedConfig, load_config
from vision_line.errors import ConfigError
from vision_line.parts.orders import Asked, ask_recipe
from vision_line.parts.parts_file import FILE_NAME
from vision_line.runtime.active_recipes import ActiveRecipes
from vision_line.runtime.configuration_record import configuration_change
from vision_line.runtime.recipe_follower import RecipeFollower
from vision_line.runtime.recipe_watch import POLL_EVERY_S, REFUSE_EVERY_S, RecipeWatch

BY = Asked("the shift", "command")


class Followed:
    """A follower of the wishes in a folder, and what it brought in force."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.applied: list[tuple[str, dict[str, str]]] = []
        self.active = ActiveRecipes()
        self.watch = RecipeWatch(folder)
        self.follower = RecipeFollower(self.watch, self.load("7", "8"), self._apply)

    def load(self, *recipes: str) -> LoadedConfig:
        path = self.folder / "streams.toml"
        tables = "".join(f"[recipe.{name}]\nmin_hits = 2\n" for name in recipes)
        tables += '[[stream]]\nname = "a"\nurl = "rtsp://h/x"\n'
        tables += '[[stream]]\nname = "off"\nurl = "rtsp://h/y"\nenabled = false\nmin_hits = 1\nmin_looks = 1\n'
        path.write_text(f"config_version = 1\n{tables}", encoding="utf-8")
        return load_config(path, {})

    async def _apply(self, loaded: LoadedConfig, active: ActiveRecipes, why: str) -> None:
        await asyncio.sleep(0)
        self.active = active
        self.applied.append((why, active.names))

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(condition, lambda: self.applied)


@pytest.fixture
async def followed(tmp_path: Path) -> AsyncIterator[Followed]:
    """A run's follower, after a wish that was made before the run."""
    ask_recipe(tmp_path, "7", BY)
    made = Followed(tmp_path)
    await made.follower.begin()
    task = asyncio.create_task(made.follower.run())
    yield made
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    made.watch.close()


async def test_a_run_begins_with_what_was_asked_for_and_follows(followed: Followed) -> None:
    assert followed.applied == [("start", {"a": "7"})]
    ask_recipe(followed.folder, "8", BY)
    await followed.until(lambda: followed.applied[-1] == ("recipe", {"a": "8"}))
    ask_recipe(followed.folder, "", BY)
    await followed.until(lambda: followed.applied[-1] == ("recipe", {}))
    assert len(followed.applied) == 3


async def test_what_is_not_in_the_file_is_refused_and_comes_with_it(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    ask_recipe(followed.folder, "9", BY)
    await followed.until(lambda: bool(followed.follower.status().troubles))
    (trouble,) = followed.follower.status().troubles
    assert trouble == "recipe 9 is not in force: the configuration has no recipe 9 (asked for by the shift)"
    assert trouble in caplog.messages
    assert followed.active.names == {"a": "7"}
    assert [(wish.recipe, wish.refused != "") for wish in followed.follower.status().wishes] == [
        ("9", True),
        ("7", False),
    ]

    loaded = followed.load("7", "9")
    followed.follower.check(loaded)
    await followed.follower.reload(loaded)
    assert followed.applied[-1] == ("reload", {"a": "9"})
    assert followed.follower.status().troubles == ()


async def test_wishes_are_looked_for_seldom_where_there_is_no_recipe(followed: Followed) -> None:
    """They are refused all the same, and come with a file that has them."""
    assert followed.watch.pause_s == POLL_EVERY_S
    await followed.follower.reload(followed.load())
    assert followed.watch.pause_s == REFUSE_EVERY_S
    ask_recipe(followed.folder, "9", BY)
    await followed.until(lambda: "no recipe 9" in "".join(followed.follower.status().troubles))

    await followed.follower.reload(followed.load("9"))
    assert followed.applied[-1] == ("reload", {"a": "9"})
    assert followed.watch.pause_s == POLL_EVERY_S


async def test_a_file_without_the_recipe_in_force_is_refused(followed: Followed) -> None:
    with pytest.raises(ConfigError, match=r"streams.toml: recipe.7: is in force at a and not in the file"):
        followed.follower.check(followed.load("8"))


async def test_a_file_that_cannot_be_read_leaves_what_is_in_force_and_is_said(followed: Followed) -> None:
    for name in (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"):
        (followed.folder / name).unlink(missing_ok=True)
    (followed.folder / FILE_NAME).write_bytes(b"no SQLite file, and long enough to be taken for one" * 20)
    await followed.until(lambda: bool(followed.follower.status().troubles))
    assert followed.follower.status().troubles[0].startswith("recipes are not followed: ")
    assert followed.active.names == {"a": "7"}


async def test_the_journal_gets_who_asked_and_by_which_door(followed: Followed) -> None:
    loaded = followed.load("7", "8")
    cameras, recipes, refused, *_ = configuration_change(loaded, followed.active, "recipe")
    assert set(cameras.settings) == {"camera/a", "camera/off"}
    said = recipes.settings["recipe/*"]
    assert isinstance(said, dict)
    assert (said["recipe"], said["by"], said["door"], said["wish"]) == ("7", "the shift", "command", 1)
    assert recipes.source["asked"] == said
    assert (recipes.complete, refused.settings) == ("recipe/", {})
    camera = cameras.settings["camera/a"]
    assert isinstance(camera, dict)
    assert (camera["recipe"], camera["min_hits"]) == ("7", 2)
