# SPDX-License-Identifier: AGPL-3.0-or-later
"""How old each frame was when its result was there, and which results count. Pure.

A frame's age counts from when its camera sent it: the server's pipeline sends frame `n` at its start plus n / fps, by
the same monotonic clock of the machine as the results. A server that is late makes frames old for everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmarks.peers.job import Result
from benchmarks.rounds import percentile

#: A result that comes later is of no use for the line, whoever it is from.
MOST_AGE_S = 0.5
#: No frame is younger than nothing: beyond rounding, the starts do not belong to these results.
_CLOCK_ERROR_S = 0.005


@dataclass(frozen=True, slots=True)
class Inspected:
    """The results of one window: `fresh` frames count, each once; the others are told apart."""

    fresh: int
    late: int
    repeated: int
    unstamped: int
    cameras: int  # with a fresh frame
    p50_ms: float
    p99_ms: float

    @property
    def results(self) -> int:
        """All results."""
        return self.fresh + self.late + self.repeated + self.unstamped


def count_inspected(results: Iterable[Result], starts_s: Mapping[int, float], fps: float) -> Inspected:
    """Count results by what they are worth; percentiles are of all stamped frames, the late ones too.

    Raises:
        ValueError: a frame was inspected before it was sent, so the starts are not those of these cameras.
    """
    ages_s: dict[tuple[int, int], float] = {}
    repeated = unstamped = 0
    for result in sorted(results):
        if result.number is None:
            unstamped += 1
        elif (frame := (result.camera, result.number)) in ages_s:
            repeated += 1
        else:
            ages_s[frame] = result.at_s - starts_s[result.camera] - result.number / fps
    if any(age_s < -_CLOCK_ERROR_S for age_s in ages_s.values()):
        raise ValueError(f"frames were inspected before they were sent: {min(ages_s.values()):.3f} s")
    fresh = {frame for frame, age_s in ages_s.items() if age_s <= MOST_AGE_S}
    ms = [1000 * age_s for age_s in ages_s.values()] or [float("nan")]
    return Inspected(
        fresh=len(fresh),
        late=len(ages_s) - len(fresh),
        repeated=repeated,
        unstamped=unstamped,
        cameras=len({camera for camera, _ in fresh}),
        p50_ms=percentile(ms, 0.50),
        p99_ms=percentile(ms, 0.99),
    )
