# SPDX-License-Identifier: AGPL-3.0-or-later
"""Parts as a lane enters them."""

from __future__ import annotations

from typing import Any

from vision_line.parts.part import PartCause, PartRecord, PartVerdict


def make_part(sequence: int = 1, at_utc: float = 100.0, **changed: Any) -> PartRecord:
    """Return a part that was accepted, but for what is `changed`."""
    facts: dict[str, Any] = {
        "lane": "a",
        "sequence": sequence,
        "part_id": f"P-{sequence}",
        "lot": "",
        "recipe": "",
        "trigger": sequence,
        "triggered_utc": at_utc,
        "window_utc": (at_utc + 0.1, at_utc + 0.4),
        "deadline_utc": at_utc + 1.0,
        "decided_utc": at_utc + 0.5,
        "verdict": PartVerdict.ACCEPT,
        "cause": PartCause.NONE,
        "inspections": {"cam01": 4, "cam02": 3},
        "events": (),
        "sent_after_ms": 500.0,
        "run_id": "run",
        "is_simulated": False,
    }
    return PartRecord(**(facts | changed))
