# SPDX-License-Identifier: AGPL-3.0-or-later
"""The lane without a photo-eye of docs/outputs/lanes.md: the shipped model on simulated boards, each spur a part.

From frames to decisions by the program's own parts, without their threads: time is that of the frames.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest

from vision_line.config.lane_load import load_lanes
from vision_line.config.models import StreamSettings
from vision_line.devices.cpu.backend import open_cpu
from vision_line.devices.device import InferenceDevice
from vision_line.devices.model.model import Model, open_model
from vision_line.devices.preprocessing.shapes import plan_input_shapes
from vision_line.feed.headers import result_header, result_of
from vision_line.frames import Colour, ColourMatrix, ColourRange, Frame, Inspection
from vision_line.inspection.detection_filter import DetectionFilter
from vision_line.inspection.tracking.events import EventTracker
from vision_line.lanes.feed_facts import events_of_result, inspected_facts
from vision_line.lanes.lane_machine import DecidedPart, LaneMachine, LastPart
from vision_line.lanes.lane_plan import plan_of
from vision_line.lanes.optical_lane import OpticalLane
from vision_line.lanes.plc_door import Trigger
from vision_line.parts.part import PartVerdict
from vision_line.simulator.clips import plan_clip
from vision_line.simulator.scene import FPS, SIZE_WH, Scene, draw_scene

PAGE = Path(__file__).parents[3] / "docs/outputs/lanes.md"
FENCE = 3 * chr(96)
CAMERA, NUMBER, LINE = "cam04", 4, 0.7
#: Each third frame is inspected, over a turn of the belt and a little more.
STEP, FRAMES = 3, 560
BEGAN_S = 100.0


def recipe() -> str:
    """Return the configuration of the page."""
    found = re.search(
        rf"^{FENCE}toml\n(config_version.*?)^{FENCE}$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert found is not None
    return found[1]


@contextmanager
def open_device(model: Model, woken: threading.Event) -> Iterator[InferenceDevice]:
    """Open the CPU for frames of the simulator."""
    device = open_cpu(model, plan_input_shapes(model, [SIZE_WH], limit=1), woken.set)
    try:
        yield device
    finally:
        device.close()


def inspected(model: Model, scene: Scene) -> Iterator[Inspection]:
    """Yield each frame with what the model finds in it."""
    woken = threading.Event()
    colour = Colour(ColourMatrix.BT601, ColourRange.LIMITED)
    with open_device(model, woken) as device:
        for index in range(0, FRAMES, STEP):
            data = av.VideoFrame.from_ndarray(scene.render(index), format="bgr24").reformat(format="yuv420p")
            woken.clear()
            at_s = BEGAN_S + index / FPS
            device.submit([Frame(CAMERA, index, SIZE_WH, colour, data, at_s, 5e8 + at_s, at_s)])
            assert woken.wait(60)
            yield from device.collect()


def decided(streams: Path, model: Model, scene: Scene, settings: StreamSettings) -> list[DecidedPart]:
    """Return what the lane decides."""
    loaded = load_lanes(streams)
    plan = plan_of(loaded.lanes[0], loaded.cameras, loaded.recipes)
    assert plan.optical is not None
    keep = DetectionFilter(model.classes, settings, model.score_threshold)
    tracker = EventTracker(CAMERA, model.classes, settings, model.score_threshold)
    lane, machine = OpticalLane(plan.optical, 0.0), LaneMachine(plan, BEGAN_S - 1, LastPart())
    lane.line_came(model.classes)
    machine.line_came(BEGAN_S - 1)
    assert not lane.stops
    found = []
    for inspection in inspected(model, scene):
        tracked, kept = keep(inspection.detections, SIZE_WH)
        events = tracker.update(inspection.frame, tracked)
        seen = Inspection(inspection.frame, kept, 0.0, 0.0)
        result = result_of(seen, events, tracker.shown(), tracker.tracks(), of_keyframe=False)
        header = json.loads(json.dumps(result_header(result, model.classes)))
        now_s = inspection.frame.captured_s + 0.05
        for crossing in lane.result(header):
            trigger = Trigger(plan.name, crossing.at_s, crossing=crossing.number)
            if crossing.cause:
                machine.miss(trigger, crossing.cause)
            else:
                machine.trigger(trigger)
        for event in events_of_result(header, 0.0):
            machine.event(event)
        machine.inspected(inspected_facts(header, 0.0), now_s)
        found += machine.decide(now_s)
    return found


def crossings(scene: Scene) -> list[tuple[float, frozenset[PartVerdict]]]:
    """Return when spurs are on the line, and what each may get.

    One that is as small as the least may be taken for something else: then it is none that is accepted.
    """
    turn_px, speed_px_s = scene.plan.belt_px, scene.plan.belt_px * FPS / scene.plan.frames
    found = []
    for spur in (each for each in scene.defects if each.kind == "spur"):
        way_px = (LINE * SIZE_WH[0] - (spur.xyxy[0] + spur.xyxy[2]) / 2 - scene.shift_px(0)) % turn_px
        others = [each for each in scene.defects if each.kind != "spur" and abs(each.xyxy[0] - spur.xyxy[0]) < 30]
        may = frozenset(PartVerdict) if spur.longer_side_px < 20 else frozenset({PartVerdict.ACCEPT})
        may = frozenset({PartVerdict.REJECT}) if others else may
        found += [(BEGAN_S + (way_px + turn * turn_px) / speed_px_s, may) for turn in range(2)]
    # What is in view at the beginning was not seen from its first frame on, what comes at the end is not decided.
    return sorted(each for each in found if BEGAN_S + 2.5 < each[0] < BEGAN_S + FRAMES / FPS - 1.5)


def test_each_spur_that_crosses_the_line_is_a_part(tmp_path: Path) -> None:
    streams = tmp_path / "streams.toml"
    streams.write_text(recipe(), encoding="utf-8")
    settings = load_lanes(streams).cameras[CAMERA]
    scene, model = draw_scene(plan_clip(NUMBER, 1)), open_model(None)
    parts = decided(streams, model, scene, settings)
    true = crossings(scene)
    assert true
    for at_s, may in true:
        (mine,) = (part.decision for part in parts if abs(part.decision.trigger.at_s - at_s) <= 0.2)
        assert mine.verdict in may
        assert mine.trigger.at_s == pytest.approx(at_s, abs=0.1 if len(may) > 1 else 0.04)
    accepted = [part.decision.trigger.at_s for part in parts if part.decision.verdict is PartVerdict.ACCEPT]
    assert all(any(abs(one - at_s) <= 0.2 and PartVerdict.ACCEPT in may for at_s, may in true) for one in accepted)
