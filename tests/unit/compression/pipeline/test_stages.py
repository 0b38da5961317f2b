# SPDX-License-Identifier: AGPL-3.0-or-later
"""Stages as functions of hashes: done once, continued after an interruption, done again when anything changes."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vision_line.errors import ConfigError, RunError
from vision_line.ports import ProgressCallback
from vision_line_compression.pipeline.stage import MARKER, STAGE_LOCK, Stage, Workspace


@contextmanager
def silent(_title: str) -> Iterator[ProgressCallback]:
    """Show nothing."""
    yield lambda _done, _total: None


class Counter:
    """A stage's work that counts how often it is done."""

    def __init__(self, text: str = "result") -> None:
        """Write `text` each time."""
        self.times = 0
        self._text = text

    def __call__(self, folder: Path, report: ProgressCallback) -> list[Path]:
        """Write one output."""
        self.times += 1
        report(1, 1)
        output = folder / "output.txt"
        output.write_text(self._text)
        return [output]


def test_an_unchanged_stage_is_not_done_again(tmp_path: Path) -> None:
    """A new process, that is a new workspace, finds the result too."""
    work = Counter()
    for _ in range(2):
        workspace = Workspace(tmp_path)
        folder = workspace.ensure(Stage("plan", work, {"budget": 0.4}), silent)

    assert work.times == 1
    assert (folder / "output.txt").read_text() == "result"


@pytest.mark.parametrize(
    "changed",
    [
        Stage("plan", Counter(), {"budget": 0.5}, {"data": "aa"}),
        Stage("plan", Counter(), {"budget": 0.4}, {"data": "bb"}),
        Stage("plan", Counter(), {"budget": 0.4}, {"data": "aa"}, version=2),
        Stage("plan", Counter(), {"budget": 0.4}, {"data": "aa"}, after=(Stage("sparsify", Counter()),)),
    ],
)
def test_any_change_makes_another_stage(changed: Stage, tmp_path: Path) -> None:
    """Settings, inputs, version and what comes before are all in the key."""
    stage = Stage("plan", Counter(), {"budget": 0.4}, {"data": "aa"})

    assert changed.key != stage.key
    assert Workspace(tmp_path).folder(changed) != Workspace(tmp_path).folder(stage)


def test_a_change_reaches_all_stages_after_it() -> None:
    """The keys form a chain."""
    keys = set()
    for budget in (0.4, 0.5):
        plan = Stage("plan", Counter(), {"budget": budget})
        keys.add(Stage("report", Counter(), after=(Stage("prune", Counter(), after=(plan,)),)).key)

    assert len(keys) == 2


def test_stages_before_are_done_first(tmp_path: Path) -> None:
    """And only those that are not done."""
    plan, prune = Counter(), Counter()
    before = Stage("plan", plan)
    workspace = Workspace(tmp_path)

    workspace.ensure(before, silent)
    workspace.ensure(Stage("prune", prune, after=(before,)), silent)

    assert (plan.times, prune.times) == (1, 1)


def test_an_interrupted_stage_gets_its_folder_back(tmp_path: Path) -> None:
    """What it left there is its own affair; the marker is missing, so the result does not count."""

    def work(folder: Path, _report: ProgressCallback) -> list[Path]:
        halfway = folder / "half.txt"
        if not halfway.exists():
            halfway.write_text("half")
            raise KeyboardInterrupt
        output = folder / "output.txt"
        output.write_text(halfway.read_text() + " and whole")
        return [output]

    workspace, stage = Workspace(tmp_path), Stage("recover", work)
    with pytest.raises(KeyboardInterrupt):
        workspace.ensure(stage, silent)

    assert not workspace.is_done(stage)
    assert (workspace.ensure(stage, silent) / "output.txt").read_text() == "half and whole"


@pytest.mark.parametrize("damage", ["altered", "gone", "marker"])
def test_a_damaged_result_is_made_again(damage: str, tmp_path: Path) -> None:
    """Outputs are compared with the marker's hashes."""
    work = Counter()
    folder = Workspace(tmp_path).ensure(Stage("plan", work), silent)
    if damage == "altered":
        (folder / "output.txt").write_text("resulT")
    elif damage == "gone":
        (folder / "output.txt").unlink()
    else:
        (folder / MARKER).write_text("{")

    Workspace(tmp_path).ensure(Stage("plan", work), silent)

    assert work.times == 2
    assert (folder / "output.txt").read_text() == "result"


def test_a_stage_that_must_be_done_names_the_command(tmp_path: Path) -> None:
    """The order is enforced for single stages too."""
    with pytest.raises(ConfigError, match=r"'plan' is not done.*`vision-line-compress plan r\.toml`"):
        Workspace(tmp_path).require(Stage("plan", Counter()), "vision-line-compress plan r.toml")


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    """The second says so instead of mixing results."""

    def work(folder: Path, _report: ProgressCallback) -> list[Path]:
        Workspace(tmp_path).ensure(Stage("other", Counter()), silent)
        return []

    with pytest.raises(RunError, match="another run works here"):
        Workspace(tmp_path).ensure(Stage("plan", work), silent)


def test_a_shared_stage_that_another_one_has_done_meanwhile_is_not_done_again(tmp_path: Path) -> None:
    """Such as a worker that was given up, and lived on until it was done."""
    work = Counter()
    stage, folder = Stage("recover", work), Workspace(tmp_path).folder(Stage("recover", work))
    folder.mkdir(parents=True)
    with (folder / STAGE_LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        heir = threading.Thread(target=lambda: Workspace(tmp_path).share(stage, silent))
        heir.start()
        Workspace(tmp_path)._carry_out(stage, silent)
    heir.join(40)

    assert not heir.is_alive()
    assert work.times == 1


def test_a_shared_stage_whose_worker_lives_on_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two would mix their results; the message says where."""
    monkeypatch.setattr("vision_line_compression.pipeline.stage.GIVEN_UP_S", 0.1)
    stage = Stage("recover", Counter())
    folder = Workspace(tmp_path).folder(stage)
    folder.mkdir(parents=True)
    with (folder / STAGE_LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="a worker that was given up still works here"):
            Workspace(tmp_path).share(stage, silent)


def test_a_run_and_its_shared_stages_do_not_lock_each_other_out(tmp_path: Path) -> None:
    """Another run is kept out of the folder meanwhile."""
    workspace, work = Workspace(tmp_path), Counter()
    with workspace.locked():
        workspace.share(Stage("plan", work), silent)
        with pytest.raises(RunError, match="another run works here"), Workspace(tmp_path).locked():
            pass

    assert work.times == 1
