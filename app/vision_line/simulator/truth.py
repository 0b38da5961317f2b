# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a clip truly shows, as JSON lines: the clip, each physical defect, and each frame's visible defects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in frame pixels


@dataclass(frozen=True, slots=True)
class DefectTruth:
    """One physical defect on the belt; it passes the camera once in each loop."""

    defect_id: int
    board: int
    kind: str
    longer_side_px: float


@dataclass(frozen=True, slots=True)
class TrueBox:
    """A defect in one frame; `xyxy` is cut at the frame, `visible` is the share of the box inside it."""

    defect_id: int
    kind: str
    xyxy: Box
    visible: float


@dataclass(frozen=True, slots=True)
class ClipTruth:
    """Truth of one clip; `frames[index]` holds what that frame shows."""

    clip_id: int
    seed: int
    fps: int
    size_wh: tuple[int, int]
    speed_px_s: float
    boards: int
    defects: tuple[DefectTruth, ...]
    frames: tuple[tuple[TrueBox, ...], ...]


def write_truth(path: Path, truth: ClipTruth) -> None:
    """Write one JSON object a line: the clip, then its defects, then its frames."""
    path.write_text("".join(f"{json.dumps(line)}\n" for line in _lines(truth)), encoding="utf-8")


def _lines(truth: ClipTruth) -> Iterator[dict[str, object]]:
    yield {
        "record": "clip",
        "clip_id": truth.clip_id,
        "seed": truth.seed,
        "fps": truth.fps,
        "frames": len(truth.frames),
        "size_wh": truth.size_wh,
        "speed_px_s": truth.speed_px_s,
        "boards": truth.boards,
    }
    for defect in truth.defects:
        yield {
            "record": "defect",
            "defect_id": defect.defect_id,
            "board": defect.board,
            "kind": defect.kind,
            "longer_side_px": round(defect.longer_side_px, 2),
        }
    for index, boxes in enumerate(truth.frames):
        yield {"record": "frame", "index": index, "defects": [_box_line(box) for box in boxes]}


def _box_line(box: TrueBox) -> dict[str, object]:
    return {
        "defect_id": box.defect_id,
        "kind": box.kind,
        "xyxy": [round(side, 2) for side in box.xyxy],
        "visible": round(box.visible, 4),
    }
