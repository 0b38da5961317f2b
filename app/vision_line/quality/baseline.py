# SPDX-License-Identifier: AGPL-3.0-or-later
"""A baseline: control limits that a person approved, frozen, with their age.

Limits that move with the data follow a slow drift and never call it. So they are fitted once from periods of the past
(phase I), approved, and used unchanged from then on (phase II): W. H. Woodall, Journal of Quality Technology 32
(2000) 341.
"""

from __future__ import annotations

from dataclasses import dataclass

from vision_line.quality.control_charts import ControlLimits


@dataclass(frozen=True, slots=True)
class Baseline:
    """Approved limits. Times are seconds since the Unix epoch."""

    limits: ControlLimits
    periods: int  # points that they were fitted from
    first_utc: float  # start of the first of these periods
    last_utc: float  # end of the last
    approved_by: str
    approved_utc: float

    def __post_init__(self) -> None:
        """Refuse what nobody approved, or what was approved before it was there."""
        if not self.approved_by.strip():
            raise ValueError("a baseline needs the name of who approved it")
        if not self.first_utc < self.last_utc <= self.approved_utc:
            raise ValueError("a baseline's periods come one after the other, and before it is approved")

    def age_s(self, now_utc: float) -> float:
        """Return how long ago its last period ended, in seconds: what has changed since then is not in it."""
        return now_utc - self.last_utc
