# SPDX-License-Identifier: AGPL-3.0-or-later
"""The wait before a decoder that several cameras share: the exact mean for periodic streams with chance phases.

n cameras send a frame every T seconds, each at a phase of its own, evenly distributed; a frame takes the decoder D
seconds, in order of arrival (an N*D/D/1 queue). Let W be the work that waits at some moment, and m_n its mean. W falls
at the rate of 1 while there is any, and jumps by D at every arrival. In the steady state the mean change of W^2 / 2 is
zero: what it loses, on average m_n a second, equals what arrivals add, n / T times a second,

    m_n = (n / T) * mean of ((V + D)^2 - V^2) / 2 = (n / T) * (D * mean of V + D^2 / 2)

where V is the work that an arriving frame finds. Its own camera's frame before came a period ago and is done (n * D <
T), so V is the work of the n - 1 others at a moment that is a chance moment for them: its mean is m_(n-1). Hence
m_0 = 0 and m_n = (n * D / T) * (m_(n-1) + D / 2), and a frame of one of n cameras waits m_(n-1) on average. With many
cameras of little load each, this becomes the M/D/1 queue's load * D / (2 * (1 - load)).
"""

from __future__ import annotations

from math import inf


def mean_wait_s(cameras: int, period_s: float, decode_s: float) -> float:
    """Return how long a frame waits on average for a decoder with `cameras` on it; infinite beyond what it can do."""
    if cameras * decode_s >= period_s:
        return inf
    work_s = 0.0
    for others in range(1, cameras):
        work_s = others * decode_s / period_s * (work_s + decode_s / 2)
    return work_s
