# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which outputs of one file would publish below one topic of one broker. Pure.

What is retained there would be of the one that wrote last: it says `offline` of the line when one of the two ends, and
hides that one is away while the other is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from urllib.parse import urlsplit

from vision_line.config.output_settings import AnyOutput, MqttOutput
from vision_line.config.toml import Problem, TomlTable, dotted

_PORTS = {"mqtt": 1883, "mqtts": 8883}


def shared_topics(outputs: Iterable[AnyOutput], data: TomlTable) -> Iterator[Problem]:
    """Yield each pair of enabled outputs that share their topic, at one of the two; `data` is the file's."""
    found = [(("output", index, "topic"), each) for index, each in enumerate(outputs) if each.enabled]
    brokers = [(path, each) for path, each in found if each.type == "mqtt"]
    for (path, one), (other_path, other) in combinations(brokers, 2):
        if one.topic == other.topic and _broker(one) == _broker(other):
            yield path, f"found {one.topic!r}, where {dotted(other_path, data)} is at the same broker: expected another"


def _broker(output: MqttOutput) -> tuple[str, int | None] | str:
    """Return host and port, or the whole URL where a secret that is not filled in hides them."""
    url = output.url.get_secret_value()
    try:
        parts = urlsplit(url)
        return (parts.hostname, parts.port or _PORTS.get(parts.scheme)) if parts.hostname else url
    except ValueError:
        return url
