# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which physical defects that cross a camera's view become events, and how far several inspections of one help.

Draws clips that no training has seen, inspects every frame once, then replays the detections to the application's own
filter and tracker at several rates of inspection, with several thresholds and `min_hits`. No clock is in it: the same
clips and model give the same figures.

    python -m benchmarks.defect_passes [CLIPS] [--model FOLDER] [--seed 77] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from math import comb
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks.rounds import Report
from benchmarks.scoring import LoggedDetection, Score, SentFrame, load_truth, score_events
from vision_line.config.models import StreamSettings
from vision_line.devices.model.model import Model, open_model
from vision_line.devices.selection import open_device
from vision_line.frames import Colour, ColourMatrix, ColourRange, Detections, Frame
from vision_line.inspection.detection_filter import DetectionFilter
from vision_line.inspection.tracking.events import EventTracker
from vision_line.runtime.camera_manager import CONTINUE_RATIO
from vision_line.simulator.clips import Clip, ensure_planned_clips
from vision_line.simulator.scene import FPS, SIZE_WH, ScenePlan
from vision_line.simulator.truth import Box, ClipTruth
from vision_line_compression.evaluate.predict import execution, inspect, require_integer_execution

#: A longer loop than the demo's: a file plays once, and what its first or last frame shows does not cross it wholly.
FRAMES, BOARDS = 1000, 10
#: More defects than in the demo, so that a thousand of them take minutes.
DEFECTIVE_SHARE, MOST_DEFECTS = 0.8, 3
SPEEDS_PX_S = (80.0, 130.0)
#: One frame in so many is inspected: 25, 5, 2.5 and 1.8 inspections a second; the last is the least for `streams.toml`.
STEPS = (1, 5, 10, 14)
THRESHOLDS = (0.25, 0.35, 0.45, 0.55)
MIN_HITS = (3, 5, 7)
DWELL_S = 4.0
#: An inspection counts where so much of the defect's box is in view, as in the training set's labels.
LEAST_VISIBLE = 0.6
LEAST_OVERLAP = 0.5
#: k of n inspections, evenly spread over the time in which a defect is wholly in view.
OF_INSPECTIONS = ((1, 1), (2, 3), (3, 5), (5, 10), (7, 10))

_COLOUR = Colour(ColourMatrix.BT601, ColourRange.LIMITED)


@dataclass(frozen=True, slots=True)
class Inspected:
    """A clip, what it truly shows, and what the model finds in each of its frames."""

    clip: Clip
    truth: ClipTruth
    found: list[Detections]


def plans(clips: int, seed: int) -> list[ScenePlan]:
    """Return what the cameras see; training sets and the demo have other seeds."""
    rng = np.random.default_rng((seed, 1))
    speeds = np.round(rng.uniform(*SPEEDS_PX_S, clips), 1).tolist()
    return [
        ScenePlan(int(rng.integers(2**31)), FRAMES, BOARDS, speed, DEFECTIVE_SHARE, MOST_DEFECTS) for speed in speeds
    ]


def inspect_clips(clips: Sequence[Clip], model: Model, report: Report) -> Iterator[Inspected]:
    """Inspect every frame of every clip through the device that inspects cameras."""
    finished = threading.Event()
    shape = min(model.input_shapes_hw, key=lambda hw: abs(hw[0] / hw[1] - SIZE_WH[1] / SIZE_WH[0]))
    with closing(open_device("cpu", model, (shape,), finished.set, min(THRESHOLDS) * CONTINUE_RATIO)) as device:
        require_integer_execution(model, device.description)
        report.facts["execution"] = execution(device.description).model_dump()
        for clip in clips:
            found = [inspection.detections for inspection in inspect(device, finished, _frames(clip))]
            yield Inspected(clip, load_truth(clip.truth), found)


def _frames(clip: Clip) -> Iterator[Frame]:
    with av.open(str(clip.video)) as container:
        for index, decoded in enumerate(container.decode(video=0)):
            at_s = index / clip.fps
            yield Frame(clip.camera, index, SIZE_WH, _COLOUR, decoded, at_s, at_s, at_s, pts_s=at_s)


def events_of(one: Inspected, step: int, settings: StreamSettings, model: Model) -> Iterator[LoggedDetection]:
    """Yield the detections of the events that inspecting one frame in `step` gives."""
    keep = DetectionFilter(model.classes, settings, model.score_threshold, continue_ratio=CONTINUE_RATIO)
    tracker = EventTracker(one.clip.camera, model.classes, settings, model.score_threshold)
    for index in range(one.clip.clip_id % step, len(one.found), step):
        at_s = index / FPS
        frame = Frame(one.clip.camera, index // step, SIZE_WH, _COLOUR, None, at_s, at_s, at_s, pts_s=at_s)
        tracker.update(frame, keep(one.found[index], SIZE_WH).tracked)
        for shown in tracker.shown():
            for box in shown.boxes:
                yield LoggedDetection(shown.event.event_id, one.clip.camera, shown.event.class_name, at_s, box)


def scored(inspected: Sequence[Inspected], step: int, settings: StreamSettings, model: Model) -> Score:
    """Score the events of all clips; passes that the first or last frame shows are not whole."""
    sent = {one.clip.camera: [SentFrame(index / FPS, 0, index) for index in range(FRAMES)] for one in inspected}
    truths = {one.clip.camera: one.truth for one in inspected}
    found = [row for one in inspected for row in events_of(one, step, settings, model)]
    return score_events(found, sent, truths, 0.0, (FRAMES - 2) / FPS)


def inspections_of_passes(inspected: Sequence[Inspected], threshold: float) -> tuple[list[NDArray[np.bool_]], int]:
    """Return for each whole pass which inspections found the defect, and how many detections are on none."""
    passes: dict[tuple[str, int], dict[int, bool]] = {}
    false = 0
    for one in inspected:
        for index, (boxes, found) in enumerate(zip(one.truth.frames, one.found, strict=True)):
            counting = found[found.score >= threshold]
            overlaps = _ious(counting.xyxy, [box.xyxy for box in boxes])
            false += int((overlaps.max(axis=1, initial=0.0) < LEAST_OVERLAP).sum())
            for number, box in enumerate(boxes):
                if box.visible >= LEAST_VISIBLE:
                    hit = bool((overlaps[:, number] >= LEAST_OVERLAP).any())
                    passes.setdefault((one.clip.camera, box.defect_id), {})[index] = hit
    whole = [
        np.array([seen[index] for index in sorted(seen)])
        for seen in passes.values()
        if 0 not in seen and FRAMES - 1 not in seen and max(seen) - min(seen) + 1 == len(seen)
    ]
    return whole, false


def _ious(found: NDArray[np.float32], true: Sequence[Box]) -> NDArray[np.float64]:
    boxes = np.array(true, np.float64).reshape(-1, 4)
    low = np.maximum(found[:, None, :2], boxes[None, :, :2])
    high = np.minimum(found[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (found.astype(np.float64), boxes)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None] - shared))


def of_inspections(passes: Sequence[NDArray[np.bool_]], k: int, n: int) -> dict[str, object]:
    """Compare how many defects fewer than `k` of `n` inspections find with what independent ones would give."""
    chosen = [seen[np.linspace(0, len(seen) - 1, n + 2).round().astype(int)[1:-1]] for seen in passes]
    share = float(np.mean([seen.mean() for seen in chosen]))
    independent = sum(comb(n, hits) * share**hits * (1 - share) ** (n - hits) for hits in range(k))
    missed = sum(int(seen.sum()) < k for seen in chosen)
    return {
        "missed": missed,
        "of": len(chosen),
        "missed_share": round(missed / len(chosen), 5),
        "if_independent": float(f"{independent:.3g}"),
    }


def correlation(passes: Sequence[NDArray[np.bool_]], apart: int) -> float | None:
    """Return the correlation of two inspections of one defect that are so many frames apart; None: all are alike."""
    pairs = [(seen[:-apart], seen[apart:]) for seen in passes if len(seen) > apart]
    before, after = (np.concatenate([pair[side] for pair in pairs]).astype(float) for side in (0, 1))
    return None if before.std() == 0 or after.std() == 0 else round(float(np.corrcoef(before, after)[0, 1]), 3)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.defect_passes", description=__doc__)
    parser.add_argument("clips", nargs="?", type=int, default=100)
    parser.add_argument("--model", type=Path, help="a bundle; default: the shipped one")
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--folder", type=Path, default=Path("build/defect-passes"), help="where the clips are kept")
    options = parser.parse_args()
    model = open_model(options.model)
    report = Report("defect_passes", {"model": model.name, "sha256": model.sha256, "seed": options.seed})
    clips = ensure_planned_clips(plans(options.clips, options.seed), options.folder, _show)
    inspected = list(inspect_clips(clips, model, report))
    for threshold in THRESHOLDS:
        passes, false = inspections_of_passes(inspected, threshold)
        report.facts[f"single inspections above {threshold}"] = {
            "missed": round(1 - float(np.concatenate(passes).mean()), 4),
            "false_per_frame": round(false / (len(inspected) * FRAMES), 4),
            **{f"correlation, {apart / FPS:g} s apart": correlation(passes, apart) for apart in (1, 5, 14, 50)},
            **{f"{k} of {n} inspections": of_inspections(passes, k, n) for k, n in OF_INSPECTIONS},
        }
    for threshold, step, min_hits in product(THRESHOLDS, STEPS, MIN_HITS):
        wanted: dict[str, Any] = {"min_hits": min_hits, "dwell_s": DWELL_S, "score_threshold": threshold}
        score = scored(inspected, step, StreamSettings.model_validate(wanted), model)
        report.add(
            threshold=threshold,
            inspections_per_s=round(FPS / step, 2),
            min_hits=min_hits,
            crossed=score.passes,
            found=score.found,
            by_size="; ".join(f"{size}: {found} of {all_}" for size, (found, all_) in score.found_by_size.items()),
            other_class=score.misclassified,
            false_events=score.false_events,
        )
        report.facts["boards"] = score.boards
    report.publish()


def _show(done: int, total: int) -> None:
    print(f"\rdrawn {done}/{total}", end="" if done < total else "\n", flush=True)


if __name__ == "__main__":
    main()
