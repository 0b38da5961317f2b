# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is kept of shards and inspected again: all that a result depends on is in its name, and trouble is not kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from vision_line.devices.model.model import SHIPPED_BUNDLE, open_model
from vision_line.errors import ModelError, RunError
from vision_line.reinspection import shard_runs
from vision_line.reinspection.footage import FootageKind, Recording, Reinspected
from vision_line.reinspection.shard import Shard, ShardResult, inspect_shard
from vision_line.reinspection.shard_runs import SHARD_FOOTAGE, InspectingModel, reinspect


@dataclass
class Inspectors:
    """Workers that find what they are told to, and remember what they were given."""

    problems: dict[str, str] = field(default_factory=dict)
    given: list[list[str]] = field(default_factory=list)

    def __call__(self, shards: Sequence[Shard]) -> Iterator[tuple[Shard, ShardResult | RunError]]:
        for shard in shards:
            names = [one.id for one in shard.footage]
            self.given.append(names)
            yield shard, ShardResult(found=tuple(self._found(name) for name in names))

    def _found(self, name: str) -> Reinspected:
        problem = self.problems.get(name, "")
        return Reinspected(id=name, frames=0 if problem else 1, problem=problem)


def images(number: int) -> list[Recording]:
    return [
        Recording(kind=FootageKind.AUDIT, id=f"{n}", camera="cam", at_utc=n, path=f"{n}.jpg", sha256="", settings={})
        for n in range(number)
    ]


def shipped(path: Path = SHIPPED_BUNDLE, computation: str = "int8 on AVX2") -> InspectingModel:
    return InspectingModel(path, open_model(path), "cpu", computation, allow_failed_gates=False)


def with_thresholds(folder: Path, **thresholds: float) -> InspectingModel:
    """Return the shipped bundle with other thresholds: the network's file is the same."""
    shutil.copytree(SHIPPED_BUNDLE, folder)
    file = folder / "bundle.json"
    bundle = json.loads(file.read_text())
    bundle["thresholds"] |= thresholds
    file.write_text(json.dumps(bundle))
    return shipped(folder)


def inspected(kept: Path, by: InspectingModel, workers: Inspectors, number: int = 1) -> dict[str, Reinspected]:
    return reinspect(kept, images(number), by, kept, workers, lambda _done, _all: None)


@pytest.mark.parametrize("changed", [{"score": 0.9}, {"nms_iou": 0.3}])
def test_another_threshold_of_one_network_is_inspected_for_itself(tmp_path: Path, changed: dict[str, float]) -> None:
    other = with_thresholds(tmp_path / "other", **changed)
    assert other.model.sha256 == shipped().model.sha256
    workers = Inspectors()
    for by in (shipped(), other, shipped(), other):
        inspected(tmp_path, by, workers)
    assert workers.given == [["0"], ["0"]]


def test_another_version_of_the_program_inspects_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Inspectors()
    inspected(tmp_path, shipped(), workers)
    monkeypatch.setattr(shard_runs, "__version__", "99")
    inspected(tmp_path, shipped(), workers)
    assert workers.given == [["0"], ["0"]]


def test_what_another_processor_found_is_not_taken_for_what_this_one_would(tmp_path: Path) -> None:
    """Results may lie in a folder that several machines share."""
    workers = Inspectors()
    for computation in ("int8 on AVX2", "int8 on AMX INT8", "int8 on AVX2"):
        inspected(tmp_path, shipped(computation=computation), workers)
    assert workers.given == [["0"], ["0"]]


def test_a_model_that_changes_its_thresholds_meanwhile_is_refused(tmp_path: Path) -> None:
    by = with_thresholds(tmp_path / "other", score=0.3)
    begun = list[Shard]()

    def remember(shards: Sequence[Shard]) -> Iterator[tuple[Shard, ShardResult | RunError]]:
        begun.extend(shards)
        return iter(())

    reinspect(tmp_path, images(1), by, tmp_path, remember, lambda _done, _all: None)
    file = tmp_path / "other/bundle.json"
    file.write_text(file.read_text().replace('"score": 0.3', '"score": 0.4'))
    with pytest.raises(ModelError, match=r"score_threshold: expected 0\.3, found 0\.4"):
        inspect_shard(begun[0])


def test_what_could_not_be_inspected_is_tried_again_alone(tmp_path: Path) -> None:
    """A network drive was away; of the second shard nothing was there."""
    number = SHARD_FOOTAGE + 2
    away = Inspectors({"3": "the file is gone", "24": "the file is gone", "25": "the file is gone"})
    assert inspected(tmp_path, shipped(), away, number)["3"].problem == "the file is gone"

    back = Inspectors()
    found = inspected(tmp_path, shipped(), back, number)
    assert back.given == [["3"], ["24", "25"]]
    assert [one.problem for one in found.values() if one.problem] == []
    assert found.keys() == {one.id for one in images(number)}

    later = Inspectors()
    assert inspected(tmp_path, shipped(), later, number) == found
    assert later.given == []


def test_what_stays_damaged_costs_no_other_a_second_inspection(tmp_path: Path) -> None:
    damaged = Inspectors({"1": "0 of 9 frames were inspected"})
    for _ in range(3):
        assert inspected(tmp_path, shipped(), damaged, 3)["1"].problem
    assert damaged.given == [["0", "1", "2"], ["1"], ["1"]]
