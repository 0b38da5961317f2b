# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line recipes` where nothing runs, and where a run does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.fakes.feeds import FACTS

from vision_line.cli import recipes
from vision_line.cli.recipes import list_recipes, use_recipe
from vision_line.errors import ConfigError, RunError
from vision_line.feed.clients import MOST_CLIENTS
from vision_line.feed.feed_client import FeedClient
from vision_line.feed.feed_server import FeedServer
from vision_line.records.directory import DirectoryLock


@pytest.fixture
def streams(tmp_path: Path) -> Path:
    """Return a file with one recipe, beside a folder for records."""
    (tmp_path / "records").mkdir()
    path = tmp_path / "streams.toml"
    path.write_text("[recipe.7]\nmin_hits = 2\n", encoding="utf-8")
    return path


@pytest.fixture
def crowded(streams: Path) -> Iterator[Path]:
    """Return the records of a run whose feed has as many clients as it takes."""
    records = streams.parent / "records"
    with ExitStack() as stack:
        lock, feed = DirectoryLock(records), FeedServer(FACTS)
        stack.callback(lock.close)
        feed.open(records)
        stack.callback(feed.close)
        for _ in range(MOST_CLIENTS):
            stack.enter_context(FeedClient(records, 40))
        yield records


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for seconds for an answer that does not come."""
    monkeypatch.setattr(recipes, "ANSWER_S", 0.5)


@pytest.mark.usefixtures("_impatient")
def test_a_run_that_sends_us_away_is_not_taken_for_none(streams: Path, crowded: Path) -> None:
    """Who changes the product over must know whether the line has: "no run inspects" would be a lie."""
    said = f"{crowded} is in use, and a run there does not say what it inspects by: .*more than 16 clients at once"
    with pytest.raises(RunError, match=f"^recipe 7: asked for, and not known to be in force: {said}"):
        use_recipe(streams, crowded, "7", None, none=False)
    with pytest.raises(RunError, match=f"^{said}"):
        list_recipes(streams, crowded, as_json=False)


@pytest.mark.usefixtures("_impatient")
def test_a_run_without_a_feed_is_not_taken_for_none(streams: Path) -> None:
    """On a file system without sockets it inspects all the same."""
    records = streams.parent / "records"
    lock = DirectoryLock(records)
    try:
        with pytest.raises(RunError, match=r"asked for, and not known to be in force: .* is in use, and a run there"):
            use_recipe(streams, records, "7", None, none=False)
    finally:
        lock.close()


def test_where_a_run_has_been_the_next_one_begins_with_it(streams: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its lock's file stays behind."""
    records = streams.parent / "records"
    DirectoryLock(records).close()
    use_recipe(streams, records, "7", None, none=False)
    list_recipes(streams, records, as_json=False)

    said = capsys.readouterr().out.splitlines()
    assert said[0] == "recipe 7: asked for; no run inspects now, the next one begins with it"
    assert said[-1].startswith("no run inspects now; it begins with recipe 7, ")


def test_before_the_first_run_it_says_what_to_do(tmp_path: Path) -> None:
    """The folder of the records is the run's to make; nothing is made by asking."""
    streams = tmp_path / "streams.toml"
    streams.write_text("[recipe.7]\nmin_hits = 2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"there is no folder .*records: a run makes it, so start the line once"):
        use_recipe(streams, tmp_path / "records", "7", None, none=False)

    assert not (tmp_path / "records").exists()
