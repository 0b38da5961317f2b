# SPDX-License-Identifier: AGPL-3.0-or-later
"""Families of many series in Prometheus' text format, version 0.0.4.

The client's own writer sorts, checks and escapes the labels of each series at each scrape: with 64 cameras twice the
work of all the rest. They do not change, so here the text before each value is made once and kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vision_line.telemetry.latency_histogram import Counts, counts_up_to, sum_of

#: The values of a series' labels.
Labels = tuple[str, ...]

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class SeriesText:
    """Remembers the text of every series that it wrote: cameras, causes and classes are few. One thread at a time."""

    def __init__(self) -> None:
        self._heads: dict[tuple[str, Labels], str] = {}

    def counter(self, name: str, meaning: str, labels: Sequence[str], values: Mapping[Labels, float]) -> str:
        """Return a counter; its name gets `_total`."""
        return self._family(f"{name}_total", "counter", meaning, labels, values)

    def gauge(self, name: str, meaning: str, labels: Sequence[str], values: Mapping[Labels, float]) -> str:
        """Return a gauge."""
        return self._family(name, "gauge", meaning, labels, values)

    def histogram(
        self, name: str, meaning: str, labels: Sequence[str], values: Mapping[Labels, Counts], bounds_s: Sequence[float]
    ) -> str:
        """Return a histogram with the upper bounds `bounds_s`, rising, in seconds."""
        with_bounds = (*labels, "le")
        lines = [_title(name, "histogram", meaning)]
        for (found, counts), below in zip(values.items(), counts_up_to([*values.values()], bounds_s), strict=True):
            for bound, number in zip((*bounds_s, "+Inf"), below, strict=True):
                lines.append(f"{self._head(f'{name}_bucket', with_bounds, (*found, str(bound)))}{number}\n")
            lines.append(f"{self._head(f'{name}_count', labels, found)}{below[-1]}\n")
            lines.append(f"{self._head(f'{name}_sum', labels, found)}{sum_of(counts)}\n")
        return "".join(lines)

    def _family(self, name: str, kind: str, meaning: str, labels: Sequence[str], values: Mapping[Labels, float]) -> str:
        return "".join([_title(name, kind, meaning), *self._lines(name, labels, values)])

    def _lines(self, name: str, labels: Sequence[str], values: Mapping[Labels, float]) -> Iterator[str]:
        for found, value in values.items():
            yield f"{self._head(name, labels, found)}{+value}\n"  # the sign makes a number of a truth

    def _head(self, name: str, labels: Sequence[str], values: Labels) -> str:
        head = self._heads.get((name, values))
        if head is None:
            head = self._heads[name, values] = f"{name}{_braces(labels, values)} "
        return head


def _braces(labels: Sequence[str], values: Labels) -> str:
    pairs = (f'{label}="{value.translate(_ESCAPES)}"' for label, value in zip(labels, values, strict=True))
    return f"{{{','.join(pairs)}}}" if labels else ""


def _title(name: str, kind: str, meaning: str) -> str:
    return f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n"
