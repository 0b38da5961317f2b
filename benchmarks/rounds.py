# SPDX-License-Identifier: AGPL-3.0-or-later
"""Interleaved rounds (A B B A ...) and medians of paired ratios: what holds on a machine whose speed drifts."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from vision_line.devices.proof.processor import this_processor

RESULTS = Path(__file__).parent / "results"
#: More do not fit a terminal.
MANY_COLUMNS = 9
_DRAWS = 10_000


@dataclass(frozen=True, slots=True)
class Rounds:
    """Values of each contender, one a round, rounds in order."""

    unit: str
    values: Mapping[str, list[float]]
    order: list[str]

    def median(self, name: str) -> float:
        """Return the median of a contender's rounds."""
        return statistics.median(self.values[name])

    def ratio(self, name: str, base: str) -> tuple[float, float, float]:
        """Return (lowest, median, highest) of `name` / `base`, paired round by round."""
        ratios = self._ratios(name, base)
        return min(ratios), statistics.median(ratios), max(ratios)

    def interval(self, name: str, base: str) -> tuple[float, float]:
        """Return between what the median of `name` / `base` lies in 95 of 100 such series: bootstrap over rounds."""
        drawn = np.random.default_rng(1).choice(self._ratios(name, base), (_DRAWS, len(self._ratios(name, base))))
        low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
        return float(low), float(high)

    def _ratios(self, name: str, base: str) -> list[float]:
        return [a / b for a, b in zip(self.values[name], self.values[base], strict=True) if b]


def interleave(contenders: Mapping[str, Callable[[], float]], pairs: int, unit: str) -> Rounds:
    """Run every contender `pairs` times: A B C, C B A, A B C, ... so that a drift hits all alike."""
    values: dict[str, list[float]] = {name: [] for name in contenders}
    order: list[str] = []
    console = Console(stderr=True)
    for number in range(pairs):
        names = list(contenders) if number % 2 == 0 else list(reversed(list(contenders)))
        for name in names:
            value = contenders[name]()
            values[name].append(value)
            order.append(name)
            console.print(f"round {number + 1}/{pairs} {name}: {value:.2f} {unit}", highlight=False)
    return Rounds(unit, values, order)


@dataclass(slots=True)
class Report:
    """A benchmark's result: written as JSON, shown as a table."""

    name: str
    facts: dict[str, object] = field(default_factory=dict)
    rows: list[dict[str, object]] = field(default_factory=list)

    def add(self, **columns: object) -> None:
        """Add a row."""
        self.rows.append(columns)

    def publish(self) -> None:
        """Write `results/NAME.json` and print the table."""
        path = RESULTS / f"{self.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"benchmark": self.name, "machine": machine(), **asdict(self)}
        path.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
        Console().print(_table(self.name, self.rows))
        for key, value in self.facts.items():
            lines = [f"  {_shown(inner)}  {name}" for name, inner in value.items()] if isinstance(value, dict) else []
            Console().print("\n".join((f"{key}:", *lines)) if lines else f"{key}: {_shown(value)}", highlight=False)


def add_rounds(report: Report, rounds: Rounds, base: str) -> None:
    """Add a row for each contender, with its ratio to `base`."""
    for name in rounds.values:
        low, middle, high = rounds.ratio(name, base)
        report.add(
            contender=name,
            median=f"{rounds.median(name):.1f} {rounds.unit}",
            ratio_to_base=f"{middle:.3f}",
            ratio_range=f"{low:.2f} - {high:.2f}",
            median_within="{:.3f} - {:.3f}".format(*rounds.interval(name, base)),
        )
    report.facts["rounds"] = {name: [round(v, 3) for v in values] for name, values in rounds.values.items()}


def machine() -> dict[str, object]:
    """Say what this was run on."""
    processor = this_processor()
    return {
        "cpu": processor.name or processor.machine,
        "instruction_set": processor.instruction_set,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }


def machine_folder() -> str:
    """Return the folder in which results of this kind of processor lie, beside those of others."""
    processor = this_processor()
    return folder_of(processor.name or processor.machine, processor.instruction_set)


def folder_of(cpu: str, instruction_set: str) -> str:
    """Return a folder's name for a processor, such as `intel-xeon-6130-avx-512-vnni`. Pure."""
    plain = re.sub(r"\((?:r|tm|c)\)|\bcpu\b|\bprocessor\b|@.*", " ", cpu.lower())
    return re.sub(r"[^a-z0-9]+", "-", f"{plain} {instruction_set.lower()}").strip("-")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of `values` lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _table(title: str, rows: Sequence[Mapping[str, object]]) -> Table:
    """Return the rows as a table; where they have many columns, each column is a line."""
    lines = [[column, *(_shown(row[column]) for row in rows)] for column in rows[0]]
    if len(lines) < MANY_COLUMNS:
        lines = list(map(list, zip(*lines, strict=True)))
    table = Table(*lines[0], title=title)
    for line in lines[1:]:
        table.add_row(*line)
    return table


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
