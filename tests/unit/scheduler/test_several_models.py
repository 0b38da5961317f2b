# SPDX-License-Identifier: AGPL-3.0-or-later
"""The scheduler with several models on the device: each frame and each result goes where it belongs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from benchmarks.simulated_device import SimulatedDevice
from tests.fakes.scheduler_rig import CLASSES, Rig, one_defect
from tests.fakes.waiting import WAIT_S

from vision_line.config.models import StreamSettings
from vision_line.devices.several_models import OpenModel, SeveralModels
from vision_line.errors import RunError
from vision_line.frames import OWN_MODEL, Frame
from vision_line.inspection.detection_filter import DetectionFilter
from vision_line.inspection.tracking.events import EventTracker
from vision_line.scheduler import Criteria, Scheduler


class Swapped(SeveralModels):
    """A device that takes one model for the other."""

    def submit(self, model: str, frames: Sequence[Frame]) -> None:
        super().submit("other" if model == OWN_MODEL else OWN_MODEL, frames)


@pytest.fixture
def two_models() -> Iterator[tuple[Rig, dict[str, OpenModel]]]:
    """A rig with a second model, `other`, whose results take longer, and the devices of both."""
    rig = Rig()
    models = {
        key: OpenModel(SimulatedDevice(rig.device.description, rig.bell.notify, inference_s, one_defect), key)
        for key, inference_s in ((OWN_MODEL, 0.001), ("other", 0.01))
    }
    rig.scheduler = scheduler_of(rig, SeveralModels(models))
    yield rig, models
    rig.end()
    for model in models.values():
        model.device.close()


def scheduler_of(rig: Rig, device: SeveralModels) -> Scheduler:
    """Return a scheduler of a rig with another device."""
    return Scheduler(device, rig.log, rig.bell, observer=rig.tally, on_update=rig.rounds.append, watcher=rig.watcher)


def criteria_of(model: str) -> Criteria:
    """Return criteria under a recipe called as its model."""
    settings = StreamSettings()
    tracker = EventTracker("file", CLASSES, settings, 0.25)
    return Criteria(model, DetectionFilter(CLASSES, settings, 0.25), tracker, 0.5, 3.0, model=model)


def test_the_next_frame_goes_to_the_model_of_the_criteria_to_come(
    two_models: tuple[Rig, dict[str, OpenModel]],
) -> None:
    """Over changes back and forth while frames are on the device: no result is judged by another model's criteria."""
    rig, _ = two_models
    rig.add("file", live=False)
    rig.scheduler.start()
    for n in range(12):
        rig.put("file", n)
        if n % 3 == 2:
            rig.scheduler.change_criteria("file", criteria_of("other" if n % 2 == 0 else OWN_MODEL), lambda: None)
    rig.until(lambda: len(rig.log.inspected) == 12)
    assert [sequence for _, sequence in rig.log.inspected] == list(range(12))
    assert rig.watcher.models == rig.watcher.recipes
    assert "other" in rig.watcher.models


def test_a_result_of_another_model_ends_the_run(two_models: tuple[Rig, dict[str, OpenModel]]) -> None:
    """Its classes would be taken for those of the model that was asked for: worse than no inspection."""
    rig, models = two_models
    rig.scheduler = scheduler_of(rig, Swapped(models))
    rig.add("cam")
    rig.scheduler.start()
    rig.put("cam", 0)
    with pytest.raises(RunError, match="camera cam: frame 0 was inspected by another model"):
        rig.scheduler.outcome.result(WAIT_S)
