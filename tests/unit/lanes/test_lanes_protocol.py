# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is said on the lanes' socket."""

from __future__ import annotations

import pytest

from vision_line.errors import ConfigError
from vision_line.lanes.lanes_protocol import PartRequest, read_request
from vision_line.lanes.plc_door import Trigger


def test_a_part_is_read_with_what_it_says_and_nothing_else() -> None:
    request = read_request({"kind": "part", "lane": "l1", "part_id": "B-1", "number": 7, "at_s": 5})
    assert isinstance(request, PartRequest)
    assert request.trigger(9.0) == Trigger("l1", 5.0, 7, "B-1")


def test_a_part_without_a_moment_begins_now() -> None:
    request = read_request({"kind": "part", "lane": "l1"})
    assert isinstance(request, PartRequest)
    assert request.trigger(9.0).at_s == 9.0


@pytest.mark.parametrize(
    "header",
    [
        {"kind": "part"},
        {"kind": "part", "lane": "l1", "number": -1},
        {"kind": "part", "lane": "l1", "number": True},
        {"kind": "part", "lane": "l1", "at_s": float("inf")},
        {"kind": "part", "lane": "l1", "verdict": "accept"},
        {"kind": "encoder", "lane": "l1", "count": 2**32},
        {"kind": "accept", "lane": "l1"},
        {"kind": "enable", "lane": "l1", "is_enabled": "yes"},
    ],
)
def test_anything_else_is_refused_in_words(header: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        read_request(header)
