# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a contender's process is asked to do, and what it reports: JSON files, read by any Python >= 3.11."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

#: What vision-line says of its run itself, in the job's folder.
SUMMARY = "summary.json"

#: x1, y1, x2, y2 in pixels of the camera's frame, score, class id.
BoxRow: TypeAlias = list[float]


@dataclass(frozen=True, slots=True)
class Job:
    """One run of one contender: `urls` are inspected with `model` until the window is over."""

    urls: list[str]
    bundle: str  # the model as vision-line takes it
    model: str  # the ONNX file of the variant that is computed rightly here
    openvino: str  # the same weights as Ultralytics takes them
    shape_hw: tuple[int, int]
    score: float
    nms_iou: float
    warm_up_s: float  # after each camera had a result
    seconds: float  # of the window that counts
    server_pid: int
    folder: str  # of its own; the result lies in it
    samples_gil: bool = False  # in the window, which takes processor time: such a run is not timed

    @property
    def result(self) -> Path:
        """Where the process leaves its `Observed`."""
        return Path(self.folder) / "observed.json"

    def write(self) -> Path:
        """Write it into its folder and return the file."""
        path = Path(self.folder) / "job.json"
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: str) -> Job:
        """Read what `write` has written."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))


class Result(NamedTuple):
    """One inspected frame: when its result was there (`time.monotonic`), of which camera, and which frame.

    `number` is that of the stamp, None where the frame has none; `boxes` are kept of every 25th frame.
    """

    at_s: float
    camera: int
    number: int | None
    boxes: list[BoxRow] | None


@dataclass(frozen=True, slots=True)
class Observed:
    """What was observed in a contender's process between two moments of `time.monotonic`."""

    started_s: float
    ended_s: float
    cores: dict[str, float]  # of its processes, by kind of thread
    server_cores: float
    peak_mib: float
    results: list[Result]
    gil_held: float | None = None  # share of the window in which any thread held the GIL, None where not sampled

    def write(self, path: Path) -> None:
        """Write it whole or not at all."""
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self)), encoding="utf-8")
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> Observed:
        """Read what `write` has written."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(**content | {"results": [Result(*result) for result in content["results"]]})
