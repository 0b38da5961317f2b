# SPDX-License-Identifier: AGPL-3.0-or-later
"""When something that happens at a steady rate is next due."""

from __future__ import annotations


def next_turn(planned_s: float, now_s: float, period_s: float) -> float:
    """Return when a camera that is inspected every `period_s`, planned for `planned_s` and inspected now, is next due.

    Counted from the planned moment: from now, each round's delay would lower the rate for good. A camera that missed
    its turn, or had none yet, does not catch up: its next frame would come at once.
    """
    due_s = planned_s + period_s
    return due_s if due_s > now_s else now_s + period_s
