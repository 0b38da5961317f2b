# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a camera's frames can be believed: frozen, black, uniform or blurred; a pure monitor with injected time.

Frozen. A camera that hangs keeps sending: its encoder compresses the same frame again and again. Between
keyframes nothing can be said: a healthy camera before a still scene repeats itself exactly, because encoders skip
unchanged blocks, and a frozen one changes, because they refine. So keyframes alone are compared, each with the one
before. There everything is coded anew: of 576 single pixels a real sensor's noise moves half a level on average
(H.264 and H.265 at 0.4 to 1.5 Mbit/s, noise of 0.5 levels and more; JPEG passes on 0.2), a repeated frame under a
settled rate control at most 0.1 and two levels, and under constant quality nothing. "The same" is: no sample moved
more than `SAME_LEVELS`, and `SAME_MEAN` on average. A clear difference from the first frame of the stand-still ends
it too, so that slow change adds up. FROZEN is left at a clear difference, or at two small ones in a row.

Degraded. Black and uniform are measured by the spread and the brightness of the samples. Sharpness depends on what lies
under the camera, and there are gaps between parts: so the sharpest frame of `BLUR_WINDOW_S` is compared with the
camera's own long-term value, which is learned while the frame is good.
"""

from __future__ import annotations

import math
from collections import deque
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from vision_line.ingest.fingerprint import Fingerprint

INTERVAL_S = 0.5  # check twice a second

SAME_LEVELS = 2
SAME_MEAN = 0.15
CLEAR_LEVELS = 6
CLEAR_MEAN = 1.0

BLACK_LEVEL = 32.0  # of luma; 16 is black in limited range
DARK_SHARE = 0.95  # of the samples: a few bright ones are no scene
UNIFORM_SPREAD = 3.0  # standard deviation of luma
RECOVERED = 1.5  # thresholds for leaving DEGRADED are wider by this factor
DEGRADED_AFTER_S = 2.0
GOOD_AFTER_S = 1.0

BLUR_WINDOW_S = 10.0
BLUR_LEARN_S = 20.0
BLUR_MEMORY_S = 120.0
BLURRED_SHARE = 0.4
SHARP_SHARE = 0.6


class Health(Enum):
    """What the frames say."""

    GOOD = "good"
    FROZEN = "frozen"
    DEGRADED = "degraded"


def is_flat(fingerprint: Fingerprint, room: float = 1.0) -> bool:
    """Whether a frame is black or uniform; `room` widens the limits."""
    levels = fingerprint.thumbnail
    dark = int(np.count_nonzero(levels <= int(BLACK_LEVEL * room)))
    return dark > levels.size * DARK_SHARE or _spread(levels) <= UNIFORM_SPREAD * room


def _spread(levels: NDArray[np.uint8]) -> float:
    """Return the standard deviation, without the detours of `ndarray.std`: so few samples take less time than those."""
    wide = levels.ravel().astype(np.int64)
    total = int(wide.sum())
    return math.sqrt(levels.size * int(wide.dot(wide)) - total * total) / levels.size


class FreezeWatch:
    """Notices that keyframes repeat one frame."""

    def __init__(self, frozen_after_s: float) -> None:
        """Call it frozen once the same frame has lasted `frozen_after_s`."""
        self._after_s = frozen_after_s
        self._first: Fingerprint | None = None  # of the repeated frames
        self._last: Fingerprint | None = None
        self.since_s = 0.0
        self._moves = 0
        self.frozen = False

    def update(self, now_s: float, fingerprint: Fingerprint) -> bool:
        """Check the next keyframe; return whether the frame is frozen."""
        first, last = self._first, self._last
        self._last = fingerprint
        if first is None or last is None:
            self._begin(now_s, fingerprint)
            return False
        small = _moved(last, fingerprint, SAME_LEVELS, SAME_MEAN)
        clear = _moved(first, fingerprint, CLEAR_LEVELS, CLEAR_MEAN)
        self._moves = self._moves + 1 if small else 0
        if clear or self._moves > (1 if self.frozen else 0):
            self._begin(now_s, fingerprint)
        elif now_s - self.since_s >= self._after_s:
            self.frozen = True
        return self.frozen

    def interrupt(self) -> None:
        """Note that frames were skipped: whether the frame repeated during that time is unknown."""
        if not self.frozen:
            self._first = self._last = None

    def _begin(self, now_s: float, fingerprint: Fingerprint) -> None:
        self.frozen = False
        self._first = fingerprint
        self.since_s = now_s
        self._moves = 0


def _moved(before: Fingerprint, after: Fingerprint, levels: int, mean: float) -> bool:
    change = np.abs(before.thumbnail.astype(np.int16) - after.thumbnail)
    return bool(change.max() > levels or change.mean() > mean)


class BlurWatch:
    """Compares sharpness with the camera's own."""

    def __init__(self) -> None:
        self._window: deque[tuple[float, float]] = deque()  # time, sharpness; falling sharpness: the first is the most
        self._started_s: float | None = None
        self._updated_s = 0.0
        self._baseline: float | None = None
        self.blurred = False

    def update(self, now_s: float, sharpness: float) -> bool:
        """Take the next sample; return whether the frames are strongly blurred."""
        best = self._best(now_s, sharpness)
        if self._started_s is None:
            self._started_s = self._updated_s = now_s
        if now_s - self._started_s < BLUR_LEARN_S:
            self._baseline = max(self._baseline or 0.0, best)
            self._updated_s = now_s
            return False
        baseline = self._baseline or best
        self.blurred = best < baseline * (SHARP_SHARE if self.blurred else BLURRED_SHARE)
        if not self.blurred:
            share = 1.0 - math.exp(-(now_s - self._updated_s) / BLUR_MEMORY_S)
            self._baseline = baseline + share * (best - baseline)
        self._updated_s = now_s
        return self.blurred

    def _best(self, now_s: float, sharpness: float) -> float:
        while self._window and self._window[-1][1] <= sharpness:
            self._window.pop()
        self._window.append((now_s, sharpness))
        while self._window[0][0] < now_s - BLUR_WINDOW_S:
            self._window.popleft()
        return self._window[0][1]


class HealthMonitor:
    """Evaluates the health of one camera's frames, over its connections. Used by one thread."""

    def __init__(self, frozen_after_s: float, *, may_stand_still: bool) -> None:
        """Watch for a frame frozen `frozen_after_s` seconds, unless it `may_stand_still`."""
        self._freeze = None if may_stand_still else FreezeWatch(frozen_after_s)
        self._blur = BlurWatch()
        self._next_s = -math.inf
        self._next_key_s = -math.inf
        self._flat = False
        self._flat_for_s: float | None = None  # since when the samples contradict `_flat`
        self.health = Health.GOOD

    def interrupt(self) -> None:
        """Note that seconds of frames were skipped; what was frozen stays so until a frame differs."""
        if self._freeze is not None:
            self._freeze.interrupt()

    def begin_connection(self) -> None:
        """Check the first frame of a new connection however soon it comes: what was frozen may be so still, or not."""
        self._next_s = self._next_key_s = -math.inf

    def due(self, now_s: float, *, keyframe: bool) -> bool:
        """Whether to check this frame: twice a second, and keyframes as often."""
        return now_s >= self._next_s or (keyframe and now_s >= self._next_key_s)

    @property
    def still_since_s(self) -> float | None:
        """Since when the frame repeats, while FROZEN."""
        return self._freeze.since_s if self._freeze is not None and self._freeze.frozen else None

    def update(self, now_s: float, fingerprint: Fingerprint, *, keyframe: bool) -> Health:
        """Check a frame at `now_s` (monotonic seconds, never falling) and return the health."""
        self._next_s = now_s + INTERVAL_S
        if keyframe:
            self._next_key_s = now_s + INTERVAL_S
            if self._freeze is not None:
                self._freeze.update(now_s, fingerprint)
        frozen = self._freeze is not None and self._freeze.frozen
        flat = self._is_flat(now_s, fingerprint)
        blurred = not flat and self._blur.update(now_s, fingerprint.sharpness)
        if frozen:
            self.health = Health.FROZEN
        elif flat or blurred:
            self.health = Health.DEGRADED
        else:
            self.health = Health.GOOD
        return self.health

    def _is_flat(self, now_s: float, fingerprint: Fingerprint) -> bool:
        """Whether the frame is black or uniform, and has been for a while."""
        room = RECOVERED if self._flat else 1.0
        flat_now = is_flat(fingerprint, room)
        if flat_now == self._flat:
            self._flat_for_s = None
            return self._flat
        if self._flat_for_s is None:
            self._flat_for_s = now_s
        if now_s - self._flat_for_s >= (DEGRADED_AFTER_S if flat_now else GOOD_AFTER_S):
            self._flat = flat_now
            self._flat_for_s = None
        return self._flat
