# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the audit trail makes of recorded keys and values."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords

from vision_line.desk.boxes import PresentBoxes, shown_of
from vision_line.desk.local_time import PlantClock, shown_by
from vision_line.desk.trail_words import entry_address, entry_title, fact_text
from vision_line.records.journal import Kind
from vision_line.records.schema import transaction

ENDED = {"run": "3", "started_utc": str(BEGAN_UTC), "ended_utc": str(BEGAN_UTC + 60), "end_cause": "stopped"}


@pytest.mark.parametrize(
    ("kind", "key", "facts", "title"),
    [
        ("configuration", "section/record", {}, "[record]"),
        ("configuration", "camera/cam01", {}, "cam01"),
        ("configuration", "model", {}, "model"),
        ("run", "7790eb", {"run": "3"}, "began, run 3"),
        ("run", "7790eb", {"run": "3", "form": "int8"}, "device is open, run 3"),
        ("run", "7790eb", ENDED, "ended (stopped), run 3"),
        ("seal", "", {"entries": "252"}, "252 entries"),
        ("removal", "events", {}, "events"),
    ],
)
def test_what_an_entry_is_about(kind: str, key: str, facts: dict[str, str], title: str) -> None:
    assert entry_title(kind, key, facts) == title


def test_where_an_entry_leads() -> None:
    """A camera to its page, a run that ended to what was inspected in it."""
    with shown_by(PlantClock(ZoneInfo("Europe/Berlin"))):
        assert entry_address("configuration", "camera/cam 1", {}) == "/cameras/cam%201"
        address = entry_address("run", "7790eb", ENDED)
        assert address == "/?since=2026-11-28T21%3A00%3A00%2B01%3A00&until=2026-11-28T21%3A01%3A00%2B01%3A00"
        for somebodys in ("1e300", "Infinity", "NaN", "yesterday"):
            assert entry_address("run", "7790eb", {**ENDED, "ended_utc": somebodys}) is None
        assert entry_address("run", "7790eb", {"run": "3"}) is None
        assert entry_address("configuration", "model", {}) is None


def test_where_an_entry_of_one_of_several_boxes_leads() -> None:
    """To that box alone, by the names that its cameras have there."""
    with shown_by(PlantClock(ZoneInfo("Europe/Berlin"))), shown_of(PresentBoxes({1: "hall-1"}, "hall-1")):
        assert entry_address("configuration", "camera/cam 1", {}) == "/cameras/hall-1%3Acam%201?box=hall-1"
        address = entry_address("run", "7790eb", ENDED)
        assert address is not None
        assert address.endswith("&box=hall-1")


@pytest.mark.parametrize(("days", "shown"), [(31, 31), (40, 32), (0, None), (-1, None)])
def test_a_long_run_leads_to_its_last_days(rows: DeskRecords, client: TestClient, days: int, shown: int | None) -> None:
    """As many as a page can be about."""
    rows.run(0, 60, "cam01")
    facts = {**ENDED, "ended_utc": str(BEGAN_UTC + 86_400 * days)}
    address = entry_address("run", "7790eb", facts)
    assert (address is None) is (shown is None)
    if address is not None and shown is not None:
        assert client.get(address).status_code == 200
        asked = dict(parse_qsl(urlsplit(address).query))
        since, until = (datetime.fromisoformat(asked[name]) for name in ("since", "until"))
        assert until - since == timedelta(days=shown)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("started_utc", str(BEGAN_UTC), "2026-11-28 21:00:00"),
        ("started_utc", "1e300", "1e300"),
        ("clock", '{"max_error_s": 16.0, "synchronised": false}', "max_error_s: 16.0, synchronised: no"),
        ("classes", '["open", "short"]', "open, short"),
        ("names", "[]", "none"),
        ("svg", "null", "not set"),
        ("version", "0.1.0", "0.1.0"),
    ],
)
def test_values_are_words(name: str, text: str, words: str) -> None:
    with shown_by(PlantClock(ZoneInfo("Europe/Berlin"))):
        assert fact_text(name, text) == words


@given(name=st.sampled_from(["ended_utc", "x"]), text=st.text() | st.floats().map(str) | st.integers().map(str))
def test_whatever_was_recorded_has_words(name: str, text: str) -> None:
    assert isinstance(fact_text(name, text), str)


def test_the_page_leads_to_the_camera(rows: DeskRecords, client: TestClient) -> None:
    with transaction(rows.connection):
        said = {"before": None, "after": {"dwell_s": 2.0, "roi": None}, "why": "start", "user": "anna"}
        rows.connection.journal.append(Kind.CONFIGURATION, "camera/cam01", said, 1)
    shown = client.get("/trail").text
    assert '<a href="/cameras/cam01">cam01</a>' in shown
    assert "not set" in shown
    assert 'href="/api/v1/trail"' in shown
