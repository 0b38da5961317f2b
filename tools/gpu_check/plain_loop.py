# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an engineer writes in an afternoon, on the same network: PyAV in a thread for each camera, batches in torch.

`python -m tools.gpu_check.plain_loop ORDER` inspects RTSP cameras and prints what it achieved, as JSON. Frames are
decoded on the CPU, letterboxed by OpenCV, and go to the GPU as bytes; the newest frame of each camera counts.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from tools.gpu_check.findings import percentile
from tools.gpu_check.standin.graph_in_torch import TorchGraph

from vision_line.devices.model.heads import HeadDecoder, class_floors
from vision_line.devices.model.model import Model, open_model

_PADDING = 114


@dataclass(frozen=True, slots=True)
class Order:
    """What to inspect and for how long; `model` is a bundle, None: the shipped one."""

    urls: list[str]
    model: str | None
    shape_hw: tuple[int, int]
    warm_up_s: float
    seconds: float
    device: str

    def to_json(self) -> str:
        """Write it as one line."""
        return json.dumps(asdict(self))


class Camera:
    """Decodes a camera in a thread of its own; the newest frame waits."""

    def __init__(self, url: str, shape_hw: tuple[int, int]) -> None:
        self._url, self._shape_hw = url, shape_hw
        self._newest: tuple[float, NDArray[np.uint8]] | None = None
        self._taking = threading.Lock()
        threading.Thread(target=self._read, name=url, daemon=True).start()

    def take(self) -> tuple[float, NDArray[np.uint8]] | None:
        """Return when the newest frame's packet came and the letterboxed frame (h, w, 3) RGB; None: there is none."""
        with self._taking:
            taken, self._newest = self._newest, None
        return taken

    def _read(self) -> None:
        with av.open(self._url, options={"rtsp_transport": "tcp"}) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for packet in container.demux(stream):
                arrived_s = time.monotonic()
                for frame in packet.decode():
                    rgb = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                    with self._taking:
                        self._newest = arrived_s, letterboxed(rgb, self._shape_hw)


def letterboxed(rgb: NDArray[np.uint8], shape_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an image (h, w, 3) shrunk into the middle of `shape_hw`."""
    height, width = rgb.shape[:2]
    scale = min(shape_hw[0] / height, shape_hw[1] / width)
    inner = cv2.resize(rgb, (round(width * scale), round(height * scale)))
    placed = np.full((*shape_hw, 3), _PADDING, np.uint8)
    top, left = ((outer - side) // 2 for outer, side in zip(shape_hw, inner.shape[:2], strict=True))
    placed[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return placed


class Detector:
    """The network in torch, with a graph for each size of a batch; NMS as the product has it."""

    def __init__(self, model: Model, device: str) -> None:
        self._model, self._device = onnx.load(model.path), device
        self._graphs: dict[int, TorchGraph] = {}
        self._head = HeadDecoder(model.head, class_floors(len(model.classes), model.score_threshold), model.nms_iou)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Any]:
        """Return the detections in letterboxed images (h, w, 3)."""
        with torch.no_grad():
            batch = torch.from_numpy(np.stack(images)).to(self._device).permute(0, 3, 1, 2).float().div(255)
            known = len(images) in self._graphs
            graph = self._graphs.setdefault(len(images), TorchGraph(self._model, self._device, exact=False))
            found = (graph if known else graph.first)(batch).cpu().numpy()
        return [self._head.decode(np.ascontiguousarray(rows)) for rows in found]


def main() -> None:
    """Inspect."""
    fields = json.loads(sys.argv[1])
    order = Order(**{**fields, "shape_hw": tuple(fields["shape_hw"])})
    cv2.setNumThreads(1)
    cameras = [Camera(url, order.shape_hw) for url in order.urls]
    detector = Detector(open_model(None if order.model is None else Path(order.model)), order.device)
    begins_s = time.monotonic() + order.warm_up_s
    ends_s, cpu_s = begins_s + order.seconds, 0.0
    latency_ms: list[float] = []
    while (now_s := time.monotonic()) < ends_s:
        taken = [one for camera in cameras if (one := camera.take()) is not None]
        if not taken:
            time.sleep(0.001)
            continue
        detector.detect([image for _, image in taken])
        if now_s >= begins_s:
            cpu_s = cpu_s or time.process_time()
            latency_ms += [(time.monotonic() - arrived_s) * 1000 for arrived_s, _ in taken]
    result = {
        "inspected_fps": round(len(latency_ms) / order.seconds, 1),
        "latency_ms": {f"p{share * 100:g}": round(percentile(latency_ms, share), 1) for share in (0.5, 0.95, 0.99)},
        "cores": round((time.process_time() - cpu_s) / order.seconds, 2) if cpu_s else 0.0,
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
