# SPDX-License-Identifier: AGPL-3.0-or-later
"""Chooses which frames of a live camera are decoded: all, unless they are late or the box cannot decode all.

Too late. What is queued in front of a frame that is later than allowed is of no use, and decoding it would keep the
camera late. So frames are read and not decoded until one is fresh; only those since the newest keyframe are kept,
because the fresh one refers to them. Where reading on does not help soon, the connection is given up for a new one.

Of unknown age. A relay may begin with what it has stored. The newest frames are held back until the next one shows,
by coming no more quickly than it was taken, that they were the last of those; the ones before them are too late.

Too many. Only a share of the frames is admitted, as tokens: each frame brings `share` of one, each that is decoded
takes one. A frame that is left out breaks the chain of references, so the tokens are spent from a keyframe on: a
part of each group of pictures is decoded, at least its keyframe.

Not whole. Where frames were left out before a keyframe, what may still refer to them is decoded and not shown: what
follows a recovery point until all is new, and what is decoded after a keyframe and shown before it. So is what a
connection begins with: of all that came before it nothing is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf, isfinite

from vision_line.encoded import EncodedFrame
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.frames import DropCause
from vision_line.ingest.age import FrameAge
from vision_line.ingest.recovery import Recovery
from vision_line.ingest.shedding import DecodeLoad

#: A frame is fresh again at this share of the limit: the rest of the queue is decoded soon.
FRESH_SHARE = 0.25
#: Late frames are decoded, and not shown, where that makes the next ones fresh within this time.
FOLLOW_S = 0.25
#: After this time and this many frames it is clear whether reading on helps.
PATIENCE_S = 0.5
PATIENCE_FRAMES = 8
#: A new connection shows a frame after about this time.
RECONNECT_S = 1.0
LONGEST_SKIP_S = 3.0
#: At most this is kept for reference: in a longer group of pictures the next keyframe is awaited.
MAX_REFERENCES = 600
MAX_REFERENCE_BYTES = 64 << 20

_COST_WEIGHT = 0.05
_USUAL_GROUP = 250  # until a second keyframe has come

#: Frames are held back no longer than this: timestamps that always run too fast look like an endless backlog.
LONGEST_S = 5.0
#: This share of the limit, by which frames came sooner, shows that a backlog was not at its end.
FALL_SHARE = 0.5
LEAST_FALL_S = 0.1  # more than the jitter of most paths


class Intake:
    """Chooses one connection's frames. Used by the camera's thread; pure but for the counts in `load`."""

    def __init__(self, camera: str, limit_s: float, load: DecodeLoad, drop: Callable[[DropCause], None]) -> None:
        """Begin before the first keyframe.

        `limit_s` is how late a frame may come. `drop` is called for each frame that will not be shown.
        """
        self._camera = camera
        self._limit_s = limit_s
        self._load = load
        self._drop = drop
        self._awaits: DropCause | None = DropCause.CORRUPT  # why nothing is decoded until a keyframe
        self._late: tuple[float, float, int] | None = None  # since when, how late then, and at which frame
        self._skips = False
        self._recovery = Recovery()
        # A file begins where somebody cut it: what refers to frames outside is left out by FFmpeg, and is no damage.
        self._begins_whole = not isfinite(limit_s)
        #: Why frames since the last decoded one were not decoded.
        self._broken: DropCause | None = None if self._begins_whole else DropCause.CORRUPT
        self._unwhole = DropCause.CORRUPT  # why what follows such frames is not shown
        self._opening = Opening(limit_s)
        self._held: list[tuple[EncodedFrame, float]] = []  # the newest that may be of a backlog, and the fall then
        self._kept: list[EncodedFrame] = []
        self._kept_bytes = 0
        self._tokens = 1.0
        self._since_key = 0  # frames since and with the newest keyframe; 0: none has come
        self._group = 0  # frames from keyframe to keyframe; 0: not known
        self._cost_s = 0.0  # of decoding one

    @property
    def awaits_key(self) -> bool:
        """Whether nothing can be decoded until a keyframe comes."""
        return self._awaits is not None

    def lose(self) -> None:
        """Wait for a keyframe: what was decoded is damaged."""
        self._awaits = DropCause.CORRUPT
        self._break(DropCause.CORRUPT)
        self._clear_kept()
        for _ in self._held:
            self._drop(DropCause.CORRUPT)
        self._held.clear()

    def let_go(self) -> None:
        """Release all frames: the connection is over, and what is left of them is counted elsewhere."""
        self._kept.clear()
        self._held.clear()

    def decoded(self, seconds: float) -> None:
        """Note how long decoding a frame took."""
        self._load.took(seconds)
        self._cost_s = seconds if not self._cost_s else self._cost_s + _COST_WEIGHT * (seconds - self._cost_s)

    def take(self, frame: EncodedFrame, age: FrameAge) -> Sequence[EncodedFrame]:
        """Return what to decode now that this frame has come, in order.

        Raises:
            SourceError: the camera is late, and reading on does not help soon (BEHIND).
        """
        self._load.saw(frame.arrived_s, frame.behind_s, keyframe=frame.keyframe)
        self._count_group(keyframe=frame.keyframe)
        if self._opening.holds(frame.arrived_s, age) and not self._skips:
            self._hold(frame, age)
            return ()
        held = self._release(age) if self._held else []
        chosen = self._choose(frame, age)
        return (
            self._whole([*held, *chosen]) if held or self._broken is not None or not self._recovery.is_over else chosen
        )

    def _whole(self, chosen: Sequence[EncodedFrame]) -> Sequence[EncodedFrame]:
        """Return what is to be decoded, of which only whole frames are to be shown."""
        return [frame if self._is_whole(frame) else self._unshown(frame) for frame in chosen]

    def _is_whole(self, frame: EncodedFrame) -> bool:
        if self._broken is not None and frame.keyframe:
            self._recovery.begin(frame)
            self._unwhole = DropCause.CORRUPT if self._recovery.is_refreshing else self._broken
            self._broken = None
        return self._recovery.is_whole(frame)

    def _unshown(self, frame: EncodedFrame) -> EncodedFrame:
        if frame.shown:
            self._drop(self._unwhole)
        return replace(frame, shown=False)

    def _choose(self, frame: EncodedFrame, age: FrameAge) -> Sequence[EncodedFrame]:
        if frame.behind_s > self._limit_s:
            self._check_progress(frame)
            self._skips = self._skips or not self._can_follow(frame.behind_s, age)
        elif not self._skips:
            self._late = None
        if self._skips:
            return self._skip(frame, age)
        return (frame,) if self._admits(keyframe=frame.keyframe) else ()

    def _hold(self, frame: EncodedFrame, age: FrameAge) -> None:
        """Hold a frame back; those before it turn out to be late by as much as frames have come sooner since."""
        self._load.most_behind_s = max(self._load.most_behind_s, age.fell_s)
        self._held.append((frame, age.fell_s))
        while age.fell_s - self._held[0][1] > self._limit_s * FRESH_SHARE:
            passed, _ = self._held.pop(0)
            if passed.keyframe:
                self._restart()
            self._drop(self._awaits or DropCause.BEHIND)
            self._keep(passed)

    def _release(self, age: FrameAge) -> list[EncodedFrame]:
        """Return what was held back and is fresh, after what it refers to."""
        held, self._held = self._held, []
        chosen: list[EncodedFrame] = []
        for frame, fell_s in held:
            if frame.keyframe:
                self._clear_kept()
            known = replace(frame, behind_s=max(0.0, age.fell_s - fell_s))
            if self._kept:
                chosen += self._resume(known, age)
            elif self._admits(keyframe=frame.keyframe):
                chosen.append(known)
        return chosen

    def _restart(self) -> None:
        """Begin with a keyframe: nothing before it is needed, but for frames that are shown before it."""
        self._awaits = None
        self._clear_kept()

    def _clear_kept(self) -> None:
        """Let go of what was kept for reference, undecoded."""
        if self._kept:
            self._break(DropCause.BEHIND)
        self._kept.clear()

    def _break(self, cause: DropCause) -> None:
        """Note that a frame is not decoded."""
        self._broken = None if self._begins_whole and not self._cost_s else cause

    def _count_group(self, *, keyframe: bool) -> None:
        if keyframe:
            self._group, self._since_key = self._since_key, 1
        elif self._since_key:
            self._since_key += 1

    def _admits(self, *, keyframe: bool) -> bool:
        share = self._load.share
        most = 1.0 if share >= 1.0 else 1.0 + share * (self._group or _USUAL_GROUP)
        self._tokens = min(self._tokens + share, most)
        if self._awaits is None or keyframe:
            if share >= 1.0 or self._tokens >= (0.5 if keyframe else 1.0):
                self._tokens -= 1.0
                self._awaits = None
                return True
            self._awaits = DropCause.SHED
        self._break(self._awaits)
        self._drop(self._awaits)
        return False

    def _can_follow(self, behind_s: float, age: FrameAge) -> bool:
        """Whether decoding what comes makes the camera fresh soon."""
        busy = self._busy_share(age)
        return busy < 1.0 and (behind_s - self._limit_s) * busy / (1.0 - busy) <= FOLLOW_S

    def _busy_share(self, age: FrameAge) -> float:
        """Return which part of a period decoding takes; infinite while that is not known."""
        return self._cost_s / age.period_s if self._cost_s and age.period_s else inf

    def _skip(self, frame: EncodedFrame, age: FrameAge) -> Sequence[EncodedFrame]:
        if frame.keyframe:
            self._restart()
        limit_s = self._limit_s if age.at_edge else self._limit_s * FRESH_SHARE
        if frame.behind_s <= limit_s:
            return self._resume(frame, age)
        self._drop(DropCause.BEHIND)
        self._keep(frame)
        return ()

    def _keep(self, frame: EncodedFrame) -> None:
        """Keep what later frames refer to; it will not be shown."""
        if self._awaits is not None:
            self._break(self._awaits)
            return
        self._kept_bytes = (self._kept_bytes if self._kept else 0) + (0 if frame.packet is None else frame.packet.size)
        self._kept.append(replace(frame, shown=False))
        if len(self._kept) > MAX_REFERENCES or self._kept_bytes > MAX_REFERENCE_BYTES:
            self._clear_kept()
            self._awaits = DropCause.BEHIND

    def _resume(self, frame: EncodedFrame, age: FrameAge) -> Sequence[EncodedFrame]:
        self._skips, self._late = False, None
        kept, self._kept = self._kept, []
        if self._awaits is None and self._is_worth_decoding(len(kept), age):
            return (*kept, frame)
        self._awaits = self._awaits or DropCause.BEHIND
        self._break(self._awaits)
        self._drop(self._awaits)
        return ()

    def _is_worth_decoding(self, frames: int, age: FrameAge) -> bool:
        """Whether decoding `frames` gives a fresh frame before the next keyframe does."""
        cost_s, busy = frames * self._cost_s, self._busy_share(age)
        if cost_s <= self._limit_s / 2:
            return True
        left = self._group - self._since_key
        wait_s = left * (age.period_s or 0.0) if left > 0 else inf
        return busy < 1.0 and cost_s / (1.0 - busy) < wait_s

    def _check_progress(self, frame: EncodedFrame) -> None:
        """Give up where neither decoding nor reading on makes the camera fresh soon."""
        if self._late is None:
            self._load.times_late += 1
            self._late = frame.arrived_s, frame.behind_s, self._load.frames
        since_s, behind_s, first = self._late
        took_s, gained_s = frame.arrived_s - since_s, behind_s - frame.behind_s
        if took_s < PATIENCE_S or self._load.frames - first < PATIENCE_FRAMES:
            return
        left_s = frame.behind_s * took_s / gained_s if gained_s > 0 else inf
        if left_s > RECONNECT_S or took_s > LONGEST_SKIP_S:
            detail = f"frames come {frame.behind_s:.1f} s late, and skipping does not help"
            raise SourceError(self._camera, SourceErrorCode.BEHIND, detail)


class Opening:
    """Whether a connection's frames are still those that a relay, a recorder or the camera had stored before it. Pure.

    That is so until they come no more quickly than they were taken.
    A pause on the way looks like the end. So it begins again where frames come sooner still.
    """

    def __init__(self, limit_s: float) -> None:
        """Begin before the first frame. `limit_s` is how late one may come; without a limit nothing is held."""
        self._fall_s = max(FALL_SHARE * limit_s, LEAST_FALL_S)
        self._known_s = 0.0  # what was known of the fall at the newest end of a backlog
        self._is_open = isfinite(limit_s)
        self._left_s = LONGEST_S
        self._before_s: float | None = None

    def holds(self, arrived_s: float, age: FrameAge) -> bool:
        """Return whether this frame may be one of a backlog; `age` has seen it."""
        before_s, self._before_s = self._before_s, arrived_s
        if before_s is None:
            return self._is_open
        if not (self._is_open or age.is_quick):  # nearly all
            self._known_s = min(self._known_s, age.fell_s)
            return False
        if self._is_open:
            self._left_s -= arrived_s - before_s
        fell = age.fell_s - self._known_s > self._fall_s
        was_open, self._is_open = self._is_open, age.is_quick and self._left_s > 0.0 and (self._is_open or fell)
        self._known_s = age.fell_s if was_open else min(self._known_s, age.fell_s)
        return self._is_open
