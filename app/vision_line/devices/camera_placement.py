# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which GPU a camera's frames go to, by how busy the GPUs are: docs/decisions/0008-several-gpus.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vision_line.ports import DeviceLoad

#: A GPU is taken to be at least so busy for each of its cameras, for the time until it is measured: 25 frames/s of
#: H.264 at 1920 x 1080 take 3.3 % of an NVDEC engine of Ampere's (docs/capacity.md).
CAMERA_PERCENT = 4.0
#: GPUs whose load differs by less are alike, and the number of cameras decides.
ALIKE_PERCENT = 15.0
#: A camera that comes back leaves its GPU for one that is less busy by more than this.
MOVE_PERCENT = 30.0
#: Time from one move to the next, in which the measured load follows the first.
SETTLE_S = 10.0
#: How long a camera's place is kept after its connection ended.
HOLD_S = 600.0

#: How busy a GPU counts whose memory is nearly full: it gets a camera only where all are.
_FULL_PERCENT = 1000.0


@dataclass(slots=True)
class _Home:
    """Where a camera's frames go; `open` is how many decoders it has there, `left_s` when it last lost one."""

    gpu: int
    open: int = 0
    left_s: float = 0.0


class CameraPlacement:
    """The cameras' places on the GPUs. One thread at a time; time is given, in seconds of one clock.

    A camera is given a place when its decoder is opened, keeps it over reconnections, and is moved at a reconnection
    alone: a decoder cannot move its frames. Cameras that lost their connection keep their place for `HOLD_S`.
    """

    def __init__(self, gpus: Sequence[int]) -> None:
        """Spread over `gpus`, by their numbers, two or more."""
        self._gpus = tuple(gpus)
        self._homes: dict[str, _Home] = {}
        self._moved_s: float | None = None

    def place(self, camera: str, loads: Mapping[int, DeviceLoad], now_s: float) -> int:
        """Return the GPU on which to open a decoder of `camera`, and count it there until `left` is called.

        `loads` are the present loads of the GPUs that tell them.
        """
        self._drop_expired(now_s)
        home = self._homes.get(camera)
        counts = self._counts(without=camera)
        busy = {gpu: _busy_percent(loads.get(gpu), counts[gpu]) for gpu in self._gpus}
        if home is None:
            home = self._homes[camera] = _Home(self._roomiest(busy, counts))
        elif self._should_move(home, busy, now_s):
            self._moved_s = now_s
            home = self._homes[camera] = _Home(self._roomiest(busy, counts))
        home.open += 1
        return home.gpu

    def left(self, camera: str, gpu: int, now_s: float) -> None:
        """Note that a decoder which was opened for `camera` on `gpu` is closed."""
        home = self._homes.get(camera)
        if home is not None and home.gpu == gpu and home.open:  # else it has moved, and this was its old place
            home.open -= 1
            home.left_s = now_s

    def cameras(self) -> dict[int, int]:
        """Return how many cameras have a place on each GPU."""
        counts = self._counts()
        return {gpu: counts[gpu] for gpu in self._gpus}

    def _counts(self, without: str | None = None) -> Counter[int]:
        return Counter(home.gpu for camera, home in self._homes.items() if camera != without)

    def _roomiest(self, busy: Mapping[int, float], counts: Mapping[int, int]) -> int:
        least = min(busy.values())
        alike = [gpu for gpu in self._gpus if busy[gpu] - least <= ALIKE_PERCENT]
        return min(alike, key=lambda gpu: (counts[gpu], busy[gpu]))

    def _should_move(self, home: _Home, busy: Mapping[int, float], now_s: float) -> bool:
        if home.open or (self._moved_s is not None and now_s - self._moved_s < SETTLE_S):
            return False
        return busy[home.gpu] - min(busy.values()) > MOVE_PERCENT

    def _drop_expired(self, now_s: float) -> None:
        expired = [name for name, home in self._homes.items() if not home.open and now_s - home.left_s > HOLD_S]
        for name in expired:
            del self._homes[name]


def _busy_percent(load: DeviceLoad | None, cameras: int) -> float:
    """Return how busy a GPU counts: as measured, and never less than its cameras will make it."""
    expected = CAMERA_PERCENT * cameras
    if load is None:
        return expected
    if load.is_full:
        return _FULL_PERCENT + expected
    return max(expected, load.busy_percent or 0)
