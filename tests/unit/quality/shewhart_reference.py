# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes shewhart_reference.json: what the package `shewhart` says about invented counts.

The package needs pandas, SciPy and matplotlib (400 MB), so its answers are kept and it is not installed for the tests.
To make them again: `pip install shewhart==0.1.1`, then `python tests/unit/quality/shewhart_reference.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

TARGET = Path(__file__).with_suffix(".json")
CHARTS = ("u_chart", "laney_u", "p_chart", "laney_p")


def invented(kind: str) -> tuple[list[int], list[float]]:
    """Return counts and areas of 60 periods that vary more than chance alone would make them."""
    rng = np.random.default_rng(7)
    areas = rng.integers(50, 900, 60).astype(float) if kind == "p" else np.round(rng.uniform(0.2, 8.0, 60), 2)
    shares = 0.04 * rng.gamma(20.0, 1 / 20.0, 60)
    counts = rng.binomial(areas.astype(int), shares) if kind == "p" else rng.poisson(300 * shares * areas)
    return counts.tolist(), areas.tolist()


def limits(shewhart: Any, kind: str, name: str) -> dict[str, Any]:
    """Return centre line, sigma z and the limits of one chart."""
    counts, areas = invented(kind)
    found = getattr(shewhart, name)(counts, size=areas, rules="none")
    return {
        "kind": kind,
        "laney": "laney" in name,
        "counts": counts,
        "areas": areas,
        "center": found.stats[f"{kind}_center"],
        "sigma_z": found.stats.get("sigma_z", 1.0),
        "lower": found.table["lcl"].tolist(),
        "upper": found.table["ucl"].tolist(),
    }


def points() -> list[float]:
    """Return 400 points with waves, quiet stretches, steps and trends in them."""
    rng = np.random.default_rng(11)
    at = np.arange(400)
    z = rng.normal(0.0, 1.0, 400) * (at // 100 % 2 * 0.7 + 0.3) + at % 90 / 60
    z += np.where(at % 2 == 0, 1.3, -1.3) * (at // 50 % 2)
    z[60:69] = np.linspace(-2.5, 2.5, 9)
    z[330:336] = np.linspace(1.0, -1.0, 6)
    return [round(float(value), 3) for value in z]


def flagged(rules: Any, test: int) -> list[int]:
    """Return which points one of Nelson's tests flags."""
    return sorted({point for run in rules.RULES[f"nelson_{test}"].fn(np.array(points())) for point in run})


if __name__ == "__main__":
    import shewhart
    from shewhart import _rules

    answers = {
        "made_with": f"shewhart {shewhart.__version__}",
        "charts": [limits(shewhart, name[-1] if "laney" in name else name[0], name) for name in CHARTS],
        "z": points(),
        "flagged": {test: flagged(_rules, test) for test in range(1, 9)},
    }
    TARGET.write_text(json.dumps(answers) + "\n", encoding="utf-8")
