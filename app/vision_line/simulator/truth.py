# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a clip truly shows, as JSON lines: the clip, each physical defect, and each frame's visible defects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vision_line.errors import ConfigError

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


def load_truth(path: Path) -> ClipTruth:
    """Read a file of `write_truth`.

    Raises:
        ConfigError: the file is missing or is not a truth file.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return _truth(lines)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ConfigError(f"{path}: not a ground-truth file of the simulator ({error})") from error


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
    for index, sightings in enumerate(truth.frames):
        yield {"record": "frame", "index": index, "defects": [_sighting_line(seen) for seen in sightings]}


def _sighting_line(seen: TrueBox) -> dict[str, object]:
    return {
        "defect_id": seen.defect_id,
        "kind": seen.kind,
        "xyxy": [round(side, 2) for side in seen.xyxy],
        "visible": round(seen.visible, 4),
    }


def _truth(lines: list[dict[str, Any]]) -> ClipTruth:
    head = lines[0]
    defects = [line for line in lines if line["record"] == "defect"]
    frames = [line for line in lines if line["record"] == "frame"]
    if [line["index"] for line in frames] != list(range(head["frames"])):
        raise ValueError(f"frames 0..{head['frames'] - 1} expected in order")
    return ClipTruth(
        clip_id=head["clip_id"],
        seed=head["seed"],
        fps=head["fps"],
        size_wh=(head["size_wh"][0], head["size_wh"][1]),
        speed_px_s=head["speed_px_s"],
        boards=head["boards"],
        defects=tuple(
            DefectTruth(line["defect_id"], line["board"], line["kind"], line["longer_side_px"]) for line in defects
        ),
        frames=tuple(tuple(_sighting(seen) for seen in line["defects"]) for line in frames),
    )


def _sighting(seen: dict[str, Any]) -> TrueBox:
    x0, y0, x1, y1 = (float(side) for side in seen["xyxy"])
    return TrueBox(seen["defect_id"], seen["kind"], (x0, y0, x1, y1), seen["visible"])
