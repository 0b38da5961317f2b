# SPDX-License-Identifier: AGPL-3.0-or-later
"""A desk over an empty record file, asked within this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.fakes.desk import DeskUnderTest, desk_over
from tests.fakes.desk_records import DeskRecords, writing

from vision_line.records.schema import FILE_NAME, open_writer


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Return a record directory without a run."""
    with closing(open_writer(tmp_path / FILE_NAME)):
        return tmp_path


@pytest.fixture
def rows(records: Path) -> Iterator[DeskRecords]:
    """Yield what adds rows to the records."""
    with writing(records) as found:
        yield found


@pytest.fixture
def desk(records: Path) -> Iterator[DeskUnderTest]:
    """Yield a desk and a client that is signed in."""
    with desk_over(records) as found:
        found.sign_in()
        yield found


@pytest.fixture
def client(desk: DeskUnderTest) -> TestClient:
    """Return a client that is signed in."""
    return desk.client
