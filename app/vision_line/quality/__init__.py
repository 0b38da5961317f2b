# SPDX-License-Identifier: AGPL-3.0-or-later
"""The arithmetic of quality work: intervals, control charts, reviewed samples, challenge parts, shifts.

Pure: it imports numpy and the standard library alone.
`docs/quality.md` says which formula is used where, and its source.
"""

from vision_line.quality.answers import BoundedFigure, Refused
from vision_line.quality.baseline import Baseline
from vision_line.quality.challenge import (
    ChallengeLimits,
    ChallengeResult,
    ChallengeSchedule,
    ChallengeState,
    KnappZone,
    PartDetection,
    detection_by_part,
    miss_rate_shown,
    passes_needed,
)
from vision_line.quality.control_charts import ChartKind, ControlChart, ControlLimits, control_chart, fit_limits
from vision_line.quality.dispersion import (
    Dispersion,
    Spread,
    dispersion,
    excess_kurtosis,
    spread_of,
    suggested_limits,
)
from vision_line.quality.false_alarms import (
    beyond_limits_rate,
    beyond_share_limits_rate,
    expected_false_alarms,
    false_alarm_rate,
)
from vision_line.quality.intervals import (
    CONFIDENCE,
    binomial_at_most,
    clopper_pearson,
    garwood,
    poisson_at_least,
    poisson_at_most,
)
from vision_line.quality.kappa import Kappa, cohens_kappa
from vision_line.quality.nelson import DEFAULT_TESTS, NELSON_TESTS, NelsonSignal, NelsonTest, nelson_signals
from vision_line.quality.part_windows import PartPass, PartWindow, SeenEvent, match_parts
from vision_line.quality.review_estimates import ReviewEstimates, review_estimates
from vision_line.quality.review_queue import (
    BORDERLINE,
    QueuedReview,
    ReviewCandidate,
    ReviewPlan,
    is_reviewed_twice,
    review_queue,
)
from vision_line.quality.shifts import ShiftPlan, WorkShift, shift_plan
from vision_line.quality.silence import (
    EventShortage,
    event_shortage,
    expected_false_reject_silences,
    expected_false_silences,
    reject_shortage,
    silence_h,
    silent_parts,
)
from vision_line.quality.strata import ReviewedItem, Stratum, StratumKind, StratumSample, samples_of
from vision_line.quality.what_if import ScoredItem, ThresholdEffect, threshold_curve

__all__ = [
    "BORDERLINE",
    "CONFIDENCE",
    "DEFAULT_TESTS",
    "NELSON_TESTS",
    "Baseline",
    "BoundedFigure",
    "ChallengeLimits",
    "ChallengeResult",
    "ChallengeSchedule",
    "ChallengeState",
    "ChartKind",
    "ControlChart",
    "ControlLimits",
    "Dispersion",
    "EventShortage",
    "Kappa",
    "KnappZone",
    "NelsonSignal",
    "NelsonTest",
    "PartDetection",
    "PartPass",
    "PartWindow",
    "QueuedReview",
    "Refused",
    "ReviewCandidate",
    "ReviewEstimates",
    "ReviewPlan",
    "ReviewedItem",
    "ScoredItem",
    "SeenEvent",
    "ShiftPlan",
    "Spread",
    "Stratum",
    "StratumKind",
    "StratumSample",
    "ThresholdEffect",
    "WorkShift",
    "beyond_limits_rate",
    "beyond_share_limits_rate",
    "binomial_at_most",
    "clopper_pearson",
    "cohens_kappa",
    "control_chart",
    "detection_by_part",
    "dispersion",
    "event_shortage",
    "excess_kurtosis",
    "expected_false_alarms",
    "expected_false_reject_silences",
    "expected_false_silences",
    "false_alarm_rate",
    "fit_limits",
    "garwood",
    "is_reviewed_twice",
    "match_parts",
    "miss_rate_shown",
    "nelson_signals",
    "passes_needed",
    "poisson_at_least",
    "poisson_at_most",
    "reject_shortage",
    "review_estimates",
    "review_queue",
    "samples_of",
    "shift_plan",
    "silence_h",
    "silent_parts",
    "spread_of",
    "suggested_limits",
    "threshold_curve",
]
