# SPDX-License-Identifier: AGPL-3.0-or-later
"""How late a frame comes: what it waited in queues between the camera and us, from two clocks that share no zero.

Only steps are compared. From one frame to the next, lateness grows by what passed on our clock and shrinks by what
passed on the camera's, and it is never less than none:

    behind = max(0, behind + our step - the camera's step)

which is arrival minus presentation time against its running minimum. The frames that came quickest say what "no
queue" is. Two things must not be taken for lateness, and lateness not for them:

* Clocks that run at different rates. Lateness decays by `DRIFT`, which is more than two good clocks differ by, and by
  `EDGE_DRIFT` at a frame whose first packet the reader had to wait for: some cameras write the timestamps of 25
  frames a second at 24.97. Timestamps that are slower still are found out by `Slowness`. A queue is something else:
  while there is one, here or on the way, nobody waits for the first packet of a frame. But a link that is a little
  too slow may look the same: so `Slowness` excuses some seconds in all, and nothing where sender reports tell the rate.
* A camera's clock that is set, wraps or stands still. Such a step says nothing. A period is put in its place, and the
  time for which the reader waited is left out: what was known of the queue stays known. A longer silence is not left
  out. Whether the camera paused or we were stopped, which fills a queue, cannot be known then; so it counts as late.

A connection's first frame has nothing to be compared with: it counts as punctual, and a backlog in front of it shows
as its frames are read, each of which came quicker than those before. `intake.Opening` waits for the end of that.
"""

from __future__ import annotations

import math

#: Shares of the time that passes; what two quartz clocks differ by, and what a camera's nominal frame rate does.
DRIFT = 100e-6
EDGE_DRIFT = 2000e-6
LONGEST_WAIT_S = 2.0
#: A reader that waited for this share of a period was at the end of the queue.
EDGE_SHARE = 0.25
#: Presentation times fall back by less than this where frames come in the order of decoding.
REORDER_S = 0.5
#: A step forward beyond what the queue explains by more than this is the clock's, not the queue's.
JUMP_S = 1.0
#: Where the clock does not tell, nothing was read for this much longer than a period: more than a path's jitter.
SILENCE_S = 1.0
#: After this many frames in a row without a later time the clock stands still, or there is none.
STANDS_AFTER = 8
#: Length of a span that shows the rate of the camera's clock, and the share of its frames that were waited for.
SPAN_S = 2.5
SPAN_EDGES = 0.8
MOST_SLOWNESS = 0.05
#: What the timestamps' slowness excuses in all, unless reports tell the rate; then it excuses nothing.
MOST_FORGIVEN_S = 3.0
#: For this long the UTC of sender reports agrees with the timestamps: at least two reports agree on their rate.
PROOF_S = 15.0
_LONGEST_STEP_S = 5.0  # what is longer may be a clock that is set
#: A frame that took less than this share of the camera's step comes more quickly than it was taken.
QUICK_SHARE = 0.9
#: What is forgotten of how much more quickly frames came: more than clocks differ by.
_FALL_DECAY = 0.02
#: A sender report that differs by a larger share from the timestamps shows a clock that was set, not its rate.
MOST_DEVIATION = 0.005
_DEVIATION_WEIGHT = 0.25
_REPORT_S = 1.0  # reports closer than this tell no rate
_PERIOD_CHANGE = 1.1  # from frame to frame at most


class CameraClock:
    """The presentation times of one connection's frames, at the rate that the camera's sender reports give them."""

    def __init__(self) -> None:
        self._newest_s: float | None = None
        self._standing = 0  # frames since the clock last moved on
        self._rate = 1.0
        self._report: tuple[float, float] | None = None  # presentation time and offset of the newest report's first use
        self._proof: tuple[float, float] | None = None  # both of the frame at which the span under way began
        self.is_proven = False  # the reports tell the timestamps' rate

    def step_s(self, pts_s: float | None, camera_utc: float | None) -> float | None:
        """Return how far the clock went since the frame before; None where it does not tell."""
        if pts_s is None or not math.isfinite(pts_s):
            return self._stand()
        if camera_utc is not None:
            self._follow_report(pts_s, camera_utc - pts_s)
            self._prove(pts_s, camera_utc - pts_s)
        newest_s = self._newest_s
        if newest_s is None:
            self._newest_s = pts_s
            return 0.0
        if newest_s - REORDER_S <= pts_s <= newest_s:
            return self._stand()
        stood, self._standing = self._standing >= STANDS_AFTER, 0
        self._newest_s = pts_s
        return None if stood or pts_s < newest_s else (pts_s - newest_s) * self._rate

    def _stand(self) -> float | None:
        self._standing += 1
        return 0.0 if self._standing < STANDS_AFTER else None

    def _follow_report(self, pts_s: float, offset_s: float) -> None:
        """Learn from how the camera's UTC runs against its timestamps; both are of the same moment in a report."""
        if self._report is None:
            self._report = pts_s, offset_s
            return
        since_s, before_s = self._report
        if abs(offset_s - before_s) < 1e-6 and pts_s >= since_s:
            return  # the same report still
        self._report = pts_s, offset_s
        if pts_s - since_s < _REPORT_S:
            return
        deviation = (offset_s - before_s) / (pts_s - since_s)
        if abs(deviation) <= MOST_DEVIATION:
            self._rate += _DEVIATION_WEIGHT * (1.0 + deviation - self._rate)

    def _prove(self, pts_s: float, offset_s: float) -> None:
        """Note once that the camera's UTC runs with its timestamps; a clock that is set later shows no other rate."""
        began_s, before_s = self._proof or (pts_s, offset_s)
        step_s = 0.0 if self._newest_s is None else pts_s - self._newest_s
        if self._proof is None or not -REORDER_S <= step_s <= _LONGEST_STEP_S:
            self._proof = pts_s, offset_s
        elif pts_s - began_s >= PROOF_S:
            self.is_proven = self.is_proven or abs(offset_s - before_s) <= MOST_DEVIATION * (pts_s - began_s)
            self._proof = pts_s, offset_s


class Slowness:
    """By how much a camera's timestamps run too slow, from spans in which its frames were waited for.

    While the path lies idle before each frame nothing can gather on it, so what grows then is the clocks' difference.
    The quickest frames of two spans running are compared, for they bear the least of the path's jitter; which ones
    these are depends on the rate that is believed so far, and so better from span to span. A delay that comes once
    and stays looks like a rate once; so the smaller of two rates running is believed.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._measured = 0.0  # the newest rate, believed or not
        self._at_s = (0.0, 0.0)  # the newest frame by our clock and by the camera's; steps that tell nothing left out
        self._began_s = 0.0  # the span under way, by the camera's clock
        self._quickest_s = self._at_s
        self._before_s: tuple[float, float] | None = None  # the quickest frame of the span before
        self._frames = self._edges = 0

    def saw(self, elapsed_s: float, step_s: float | None, *, at_edge: bool) -> float:
        """Note a frame's steps on our clock and on the camera's; return the share to add to the latter."""
        if step_s is None:
            self._before_s = None
            self._begin()
            return self._now
        self._at_s = self._at_s[0] + elapsed_s, self._at_s[1] + step_s
        self._frames += 1
        self._edges += at_edge
        if self._later_s(self._quickest_s, self._at_s) <= 0.0:
            self._quickest_s = self._at_s
        if self._at_s[1] - self._began_s >= SPAN_S:
            self._end()
        return self._now

    def _begin(self) -> None:
        self._began_s = self._at_s[1]
        self._quickest_s = self._at_s
        self._frames = self._edges = 0

    def _end(self) -> None:
        idle = self._edges >= SPAN_EDGES * self._frames
        if idle and self._before_s is not None:
            apart_s = max(SPAN_S, self._quickest_s[1] - self._before_s[1])
            share = self._now + self._later_s(self._before_s, self._quickest_s) / apart_s
            self._now = min(max(0.0, min(share, self._measured)), MOST_SLOWNESS)
            self._measured = share
        self._before_s = self._quickest_s if idle else None
        self._begin()

    def _later_s(self, one_s: tuple[float, float], other_s: tuple[float, float]) -> float:
        """Return by how much the other frame came later, at the rate that is believed."""
        return other_s[0] - one_s[0] - (other_s[1] - one_s[1]) * (1.0 + self._now)


class FrameAge:
    """One connection's lateness. Pure: used by the camera's thread, once a frame."""

    def __init__(self) -> None:
        self.behind_s = 0.0
        self.period_s: float | None = None  # between two frames by the camera's clock
        self.is_quick = False  # the newest frame came more quickly than it was taken
        self.fell_s = 0.0  # by how much frames came sooner of late than those that counted as punctual
        self.at_edge = False  # the newest frame was waited for, so nothing was queued in front of it
        self._clock = CameraClock()
        self._slowness = Slowness()
        self._arrived_s: float | None = None
        self._busy_s = 0.0  # of a time that no frame has shown yet
        self._knows_edge = False
        self._excused_s = 0.0  # how late, as far as slowness does not explain it
        self._whole_s = 0.0  # how late if the timestamps are right

    def saw(
        self,
        arrived_s: float,
        busy_s: float,
        pts_s: float | None,
        camera_utc: float | None = None,
        began_s: float | None = None,
    ) -> float:
        """Return how late the next frame came, in seconds.

        Args:
            arrived_s: when it had been read, monotonic.
            busy_s: for how long of the time since the frame before the reader did other things than read.
            pts_s: its presentation time.
            camera_utc: the camera's UTC of the same moment, by its newest sender report; None: there is none.
            began_s: when its first packet had been read; None: as `arrived_s`.
        """
        step_s = self._clock.step_s(pts_s, camera_utc)
        if self._arrived_s is None:
            self._arrived_s = arrived_s
            return 0.0
        elapsed_s = max(0.0, arrived_s - self._arrived_s)
        # What is read at once arrives at once, and is worked through before the next read.
        self._busy_s += busy_s
        busy_s = min(self._busy_s, elapsed_s)
        self._busy_s -= busy_s
        self._note_edge((arrived_s if began_s is None else began_s) - self._arrived_s - busy_s)
        self._arrived_s = arrived_s
        if step_s is not None and self._is_jump(step_s, elapsed_s):
            step_s = None
        slowness = self._slowness.saw(elapsed_s, step_s, at_edge=self.at_edge)
        if step_s is not None:
            grown_s = elapsed_s - step_s
            self._learn_period(step_s)
        else:
            grown_s = self._untold_s(elapsed_s, busy_s)
        # A process that is stopped while it waits has not waited for all that time.
        decay_s = elapsed_s * DRIFT + (min(elapsed_s, LONGEST_WAIT_S) * EDGE_DRIFT if self.at_edge else 0.0)
        self._note_pace(elapsed_s, step_s, grown_s)
        excuse_s = 0.0 if step_s is None else step_s * slowness
        self._excused_s = max(0.0, self._excused_s + grown_s - excuse_s - decay_s)
        self._whole_s = max(0.0, self._whole_s + grown_s - decay_s)
        self.behind_s = self._whole_s if self._clock.is_proven else self._bounded_s()
        return self.behind_s

    def _bounded_s(self) -> float:
        return max(self._excused_s, self._whole_s - MOST_FORGIVEN_S)

    def _note_pace(self, elapsed_s: float, step_s: float | None, grown_s: float) -> None:
        """Learn whether frames come more quickly than they were taken: then there was a queue before the first."""
        self.is_quick = step_s is not None and elapsed_s < QUICK_SHARE * step_s
        sooner_s = max(0.0, -(self._whole_s + grown_s)) if step_s is not None else 0.0
        self.fell_s = max(0.0, self.fell_s + sooner_s - _FALL_DECAY * elapsed_s)

    def _untold_s(self, elapsed_s: float, busy_s: float) -> float:
        """Return by how much lateness grew over a step that the camera's clock does not tell."""
        if self.period_s is not None and elapsed_s - self.period_s > SILENCE_S:
            return elapsed_s - self.period_s
        if busy_s <= elapsed_s / 2:  # the camera's pace is the pace at which frames are waited for
            self._learn_period(elapsed_s)
        return 0.0 if self.period_s is None else busy_s - self.period_s

    def _is_jump(self, step_s: float, elapsed_s: float) -> bool:
        """Whether the clock went further than a queue can account for that was once seen empty."""
        return self._knows_edge and step_s > self.behind_s + elapsed_s + JUMP_S

    def _note_edge(self, waited_s: float) -> None:
        self.at_edge = self.period_s is not None and waited_s >= EDGE_SHARE * self.period_s
        self._knows_edge = self._knows_edge or self.at_edge

    def _learn_period(self, step_s: float) -> None:
        if step_s <= 0.0:
            return
        period_s = step_s if self.period_s is None else self.period_s
        self.period_s = min(max(step_s, period_s / _PERIOD_CHANGE), period_s * _PERIOD_CHANGE)
