# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a connection's statistics to the camera's state, and to when it is opened again. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from vision_line.config.models import Stream
from vision_line.errors import SLOW_RETRY_CODES, SourceErrorCode
from vision_line.frames import CameraState
from vision_line.ingest.health import Health

MIN_STALE_S = 2.0
STALE_PERIODS = 5.0
_PERIOD_SHARE = 0.1  # weight of the newest interval in the measured frame period

_STATES = {
    Health.GOOD: CameraState.RUNNING,
    Health.FROZEN: CameraState.FROZEN,
    Health.DEGRADED: CameraState.DEGRADED,
}


#: States in which a connection has delivered frames.
_SHOWING = frozenset(_STATES.values())

FIRST_LIMIT_S = 0.5
QUICK_CAP_S = 4.0
SLOW_CAP_S = 30.0
SLOW_FLOOR_S = 1.0
HEALTHY_AFTER_S = 60.0


@dataclass(slots=True)
class ReconnectCount:
    """How often a camera delivered frames again after its connection was lost.

    Its first frames are no reconnection, however many attempts they took; nor are those after a removal.
    """

    n: int = 0
    _has_run: bool = False
    _is_lost: bool = False

    def saw(self, state: CameraState) -> None:
        """Note the camera's new state."""
        if state in _SHOWING:
            self.n += self._is_lost
            self._has_run, self._is_lost = True, False
        elif state is CameraState.RECONNECTING:
            self._is_lost = self._has_run
        elif state is CameraState.REMOVED:
            self._has_run = self._is_lost = False


@dataclass(slots=True)
class ConnectionStats:
    """What a connection shows of itself: written by its thread, read by the supervisor. Times are monotonic seconds."""

    started_s: float
    opened_s: float | None = None
    first_frame_s: float | None = None
    last_frame_s: float | None = None
    period_s: float | None = None
    health: Health = Health.GOOD
    still_since_s: float | None = None  # while FROZEN: since when the frame repeats
    #: Since when silence counts: the program was resumed after a stop, or the first frame was let through.
    resumed_s: float = float("-inf")

    def saw_frame(self, arrived_s: float) -> None:
        """Note that a frame that had arrived at `arrived_s` was decoded, or skipped on purpose."""
        if self.last_frame_s is None:
            self.first_frame_s = arrived_s
        elif arrived_s <= self.last_frame_s:
            return
        else:
            interval_s = arrived_s - self.last_frame_s
            period_s = interval_s if self.period_s is None else self.period_s
            self.period_s = period_s + _PERIOD_SHARE * (interval_s - period_s)
        self.last_frame_s = arrived_s

    @property
    def ran_for_s(self) -> float:
        """How long the connection delivered frames."""
        if self.first_frame_s is None or self.last_frame_s is None:
            return 0.0
        return max(self.last_frame_s - self.first_frame_s, 1e-6)


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """The state (None: unchanged, no frame yet), whether to give the connection up, and when to evaluate again."""

    state: CameraState | None
    lost: bool
    recheck_at_s: float  # monotonic


def stale_limit_s(stream: Stream, period_s: float | None) -> float:
    """Return how old the newest frame may be: `stale_after_s`, or the larger of 2 s and 5 measured periods."""
    if stream.stale_after_s is not None:
        return stream.stale_after_s
    if period_s is None:  # one frame shows no rate: a slow camera gets the read timeout
        return max(MIN_STALE_S, stream.read_timeout_s)
    return max(MIN_STALE_S, STALE_PERIODS * period_s)


def evaluate_health(stats: ConnectionStats, stream: Stream, now_s: float) -> CameraHealth:
    """Return the health of an open connection at `now_s`.

    A camera that gives no frame, or is STALE for `read_timeout_s`, is given up though its socket may still be busy.
    A file is never stale: it waits for room.
    """
    if stats.last_frame_s is None:
        opened_s = stats.started_s if stats.opened_s is None else stats.opened_s
        give_up_s = opened_s + stream.connect_timeout_s + stream.read_timeout_s
        return CameraHealth(None, stream.is_live and now_s >= give_up_s, give_up_s)
    stale_at_s = max(stats.last_frame_s, stats.resumed_s) + stale_limit_s(stream, stats.period_s)
    if not stream.is_live or now_s < stale_at_s:
        # The frame rate is not known yet: it may be high, and the limit short.
        recheck_at_s = now_s + MIN_STALE_S if stats.period_s is None else stale_at_s
        return CameraHealth(_STATES[stats.health], lost=False, recheck_at_s=recheck_at_s)
    give_up_s = stale_at_s + stream.read_timeout_s
    return CameraHealth(CameraState.STALE, now_s >= give_up_s, give_up_s)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a camera is opened again: exponential back-off with full jitter, as a pure function.

    Full jitter (a wait drawn evenly from 0 to the current limit) keeps sixteen cameras behind one restarted switch from
    knocking at the same moment. See M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. It holds
    what is remembered between two attempts; `has_run` once the camera has given a frame.
    """

    failures: int = 0
    has_run: bool = False

    def after_run(self, ran_for_s: float) -> Backoff:
        """Return the memory after a connection that gave frames for `ran_for_s` seconds; a long one clears it."""
        if ran_for_s <= 0:
            return self
        return Backoff(0 if ran_for_s >= HEALTHY_AFTER_S else self.failures, has_run=True)

    def after_failure(self) -> Backoff:
        """Return the memory after one more lost or failed connection."""
        return Backoff(self.failures + 1, self.has_run)

    def wait_s(self, code: SourceErrorCode | None, chance: float) -> float:
        """Return the wait in seconds before the next attempt; `chance` is drawn evenly from 0..1.

        A camera that has run before is waited for at most `QUICK_CAP_S`, one that never has, or whose error no quick
        retry cures, up to `SLOW_CAP_S` (and then at least `SLOW_FLOOR_S`: a wrong password tried often locks accounts).
        """
        slow = code in SLOW_RETRY_CODES
        cap_s = QUICK_CAP_S if self.has_run and not slow else SLOW_CAP_S
        limit_s = min(cap_s, FIRST_LIMIT_S * 2.0 ** min(max(self.failures - 1, 0), 16))
        floor_s = SLOW_FLOOR_S if slow else 0.0
        return max(floor_s, limit_s * chance)
