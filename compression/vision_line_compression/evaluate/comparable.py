# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether two evaluations may be held against each other: the same images, the same rules."""

from __future__ import annotations

from vision_line.errors import ConfigError
from vision_line_compression.evaluate.results import Evaluation

#: Settings in which evaluations that are compared must agree; the operating threshold is each model's own.
_SHARED = ("score_floor", "nms_iou", "max_detections", "match_ious", "images")


def check_comparable(candidate: Evaluation, reference: Evaluation) -> None:
    """Refuse to compare evaluations of other images or by other rules.

    Raises:
        ConfigError: naming all that differs.
    """
    pairs = {"data.sha256": (candidate.data.sha256, reference.data.sha256)}
    for key in _SHARED:
        pairs[f"settings.{key}"] = (getattr(candidate.settings, key), getattr(reference.settings, key))
    names = f"{candidate.model.name} and {reference.model.name} cannot be compared"
    problems = [
        f"{names}: {key}: {found} and {expected}" for key, (found, expected) in pairs.items() if found != expected
    ]
    if problems:
        raise ConfigError(*problems)
