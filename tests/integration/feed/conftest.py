# SPDX-License-Identifier: AGPL-3.0-or-later
"""A feed that is served in a folder, by its own thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.feeds import FACTS

from vision_line.feed.feed_server import FeedServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FeedServer]:
    """Serve in the test's folder."""
    feed = FeedServer(FACTS)
    feed.open(tmp_path)
    yield feed
    feed.close()
