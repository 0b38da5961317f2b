# SPDX-License-Identifier: AGPL-3.0-or-later
"""Families as text are those of Prometheus' own client."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from vision_line.telemetry.latency_histogram import BUCKETS, Counts, counts_up_to, sum_of
from vision_line.telemetry.series_text import Labels, SeriesText

NAME, MEANING, LABELS = "vision_line_x", "What it is", ("camera", "class")
BOUNDS_S = (0.1, 0.5, 2.0)
#: A line end of another kind than the line feed is one to Python's parser of the text, and none to Prometheus.
NAMES = st.tuples(
    *(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]) | st.just("\n")) for _ in LABELS)
)
VALUES = st.dictionaries(NAMES, st.booleans() | st.integers(0, 2**53) | st.floats(allow_nan=False), max_size=5)


class One(Collector):
    """A single family."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> list[Metric]:
        """Return it."""
        return [self._family]


def read(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


def by_the_client(
    family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[Labels, float]
) -> CounterMetricFamily | GaugeMetricFamily:
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


@given(VALUES, VALUES)
def test_counters_and_gauges_are_the_clients(values: Mapping[Labels, float], later: Mapping[Labels, float]) -> None:
    """Whatever a class is called; also those that were written before."""
    series = SeriesText()
    for now in (values, later):
        counter = by_the_client(CounterMetricFamily(NAME, MEANING, labels=LABELS), now)
        gauge = by_the_client(GaugeMetricFamily(NAME, MEANING, labels=LABELS), now)
        assert read(series.counter(NAME, MEANING, LABELS, now)) == read(generate_latest(One(counter)).decode())
        assert read(series.gauge(NAME, MEANING, LABELS, now)) == read(generate_latest(One(gauge)).decode())


def test_histograms_are_the_clients() -> None:
    """Several cameras, one without a value; and one without labels."""
    drawn = np.random.default_rng(1)
    of_cameras: dict[Labels, Counts] = {("a",): drawn.integers(0, 9, BUCKETS), ("b",): np.zeros(BUCKETS, np.int64)}
    of_a_run: dict[Labels, Counts] = {(): drawn.integers(0, 9, BUCKETS)}
    for labels, values in ((("camera",), of_cameras), ((), of_a_run)):
        family = HistogramMetricFamily(NAME, MEANING, labels=labels)
        for found, counts in values.items():
            ((*below, total),) = counts_up_to([counts], BOUNDS_S)
            buckets = [*zip(map(str, BOUNDS_S), map(float, below), strict=True), ("+Inf", float(total))]
            family.add_metric(found, buckets, sum_of(counts))
        expected = read(generate_latest(One(family)).decode())
        assert read(SeriesText().histogram(NAME, MEANING, labels, values, BOUNDS_S)) == expected


def test_a_run_without_cameras_has_its_families() -> None:
    """They are named, and empty."""
    (family,) = read(SeriesText().histogram(NAME, MEANING, LABELS, {}, BOUNDS_S))
    assert (family.name, family.type, family.samples) == (NAME, "histogram", [])
