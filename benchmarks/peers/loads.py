# SPDX-License-Identifier: AGPL-3.0-or-later
"""The loads, and the cameras' videos: stamped H.264 of drawn boards, or of streets for models that know people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count, islice
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.cameras import encode_noisy
from vision_line.devices.model.model import Model
from vision_line.simulator.clips import default_directory, ensure_clips

FPS = 25
#: A run must end within its video: frame numbers would start anew.
VIDEO_S = 75
VIDEOS = 2  # served to a load's cameras in turn

Image = NDArray[np.uint8]  # (h, w, 3) BGR


class SceneKind(StrEnum):
    """What the cameras show."""

    BOARDS = "boards"
    STREET = "street"


@dataclass(frozen=True, slots=True)
class Load:
    """So many cameras of one size; `mbit_s` is what each sends."""

    name: str
    cameras: int
    size_wh: tuple[int, int]
    mbit_s: float

    def __str__(self) -> str:
        """Say it in words."""
        width, height = self.size_wh
        return f"{self.cameras} x {width}x{height}, {FPS} fps, {self.mbit_s:g} Mbit/s"


LOADS = (
    Load("16x360p", 16, (640, 360), 1.5),
    Load("8x720p", 8, (1280, 720), 4.0),
    Load("4x1080p", 4, (1920, 1080), 6.0),
)


def scene_for(model: Model) -> SceneKind:
    """Return what a model finds something in: people for those that know persons, boards for all others."""
    return SceneKind.STREET if "person" in model.classes else SceneKind.BOARDS


def ensure_videos(load: Load, kind: SceneKind) -> list[Path]:
    """Return the videos (MP4) that a load's cameras send; they are made once, which takes minutes."""
    folder = default_directory() / "stamped"
    folder.mkdir(parents=True, exist_ok=True)
    return [_ensure_video(load, kind, number, folder) for number in range(VIDEOS)]


def _ensure_video(load: Load, kind: SceneKind, number: int, folder: Path) -> Path:
    target = folder / f"{kind}{number}-{load.size_wh[0]}x{load.size_wh[1]}-{load.mbit_s:g}mbit-{VIDEO_S}s.mp4"
    if not target.exists():
        partial = target.with_suffix(".partial.mp4")
        shown = board_frames(number) if kind is SceneKind.BOARDS else street_frames(number, load.size_wh)
        encode_noisy(islice(shown, VIDEO_S * FPS), partial, load.size_wh, load.mbit_s, FPS, stamped=True)
        partial.replace(target)
    return target


def board_frames(number: int) -> Iterator[av.VideoFrame]:
    """Yield the simulator's boards for ever."""
    clip = ensure_clips(VIDEOS, 1)[number]
    while True:
        with av.open(str(clip.video)) as source:
            yield from source.decode(video=0)


def street_frames(number: int, size_wh: tuple[int, int]) -> Iterator[av.VideoFrame]:
    """Yield, for ever, views that wander over one of the images that Ultralytics' package brings.

    Raises:
        FileNotFoundError: the package has no such image.
    """
    wide = _covering(street_image(number), (size_wh[0] * 5 // 4, size_wh[1] * 5 // 4))
    spare_h, spare_w = wide.shape[0] - size_wh[1], wide.shape[1] - size_wh[0]
    for frame in count():
        top = round(spare_h / 2 * (1 + np.sin(frame / 90)))
        left = round(spare_w / 2 * (1 + np.sin(frame / 130)))
        view = np.ascontiguousarray(wide[top : top + size_wh[1], left : left + size_wh[0]])
        yield av.VideoFrame.from_ndarray(view, "bgr24")


def street_image(number: int) -> Image:
    """Return one of the two images with people.

    Raises:
        FileNotFoundError: the package has no such image.
    """
    from ultralytics.utils import ASSETS

    path = Path(ASSETS) / ("bus.jpg", "zidane.jpg")[number % 2]
    image = cv2.imread(str(path))
    if image is None:
        raise FileNotFoundError(f"{path}: Ultralytics' package has brought this image so far")
    return np.asarray(image, np.uint8)


def _covering(image: Image, size_wh: tuple[int, int]) -> Image:
    """Return the image, scaled so that it just covers `size_wh`."""
    scale = max(size_wh[0] / image.shape[1], size_wh[1] / image.shape[0])
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR), np.uint8)
