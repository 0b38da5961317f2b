# SPDX-License-Identifier: AGPL-3.0-or-later
"""`[metrics] listen`: what a monitoring system and an orchestrator get of a run of the command."""

from __future__ import annotations

import http.client
import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.fakes.desk_records import BEGAN_UTC, writing
from tests.fakes.ports import free_port
from tests.fakes.waiting import wait_for

from vision_line.feed.feed_client import FeedClient
from vision_line.quality import Baseline, ChartKind, ControlLimits
from vision_line.reviews import baseline_entries
from vision_line.reviews.baseline_entries import ApprovedBaseline, ChartScope
from vision_line.reviews.reviews_file import writing as reviewing

pytestmark = pytest.mark.e2e

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]
_SECRET = "geheim-7421"  # noqa: S105  nobody's
_LONG_AGO_S = -1e9


def ask(port: int, path: str) -> tuple[int, str]:
    """Return status and body; 0 while nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    except (ConnectionError, http.client.RemoteDisconnected):
        return 0, ""
    finally:
        connection.close()


def scrape(port: int) -> Series:
    status, text = ask(port, "/metrics")
    assert _SECRET not in text
    families = text_string_to_metric_families(text) if status == 200 else []
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def of(series: Series, name: str, **labels: str) -> float | None:
    return series.get((f"vision_line_{name}", frozenset(labels.items())))


def counters(series: Series) -> Series:
    return {key: value for key, value in series.items() if key[0].endswith(("_total", "_bucket", "_count"))}


def silent_before(records: Path) -> None:
    """Leave a baseline of 12 events an hour, and two hours of inspection in which nothing came, in another century."""
    records.mkdir()
    with writing(records) as rows:
        rows.run(_LONG_AGO_S, _LONG_AGO_S + 7200, "gone")
    until_utc = BEGAN_UTC + _LONG_AGO_S
    made = Baseline(
        ControlLimits(ChartKind.RATE, 12.0),
        24,
        until_utc - 86_400,
        until_utc,
        approved_by="anna",
        approved_utc=until_utc,
    )
    with reviewing(records) as connection:
        of = ApprovedBaseline(ChartScope("hour", "gone"), made, 288, 86_400.0, (), "1" * 64, "")
        baseline_entries.approve(connection, of)


def test_a_run_is_watched_from_its_first_to_its_last_moment(make_run: Callable[[int], Any]) -> None:
    """A dead camera has its series at once, a removed one says so, no counter falls or exceeds the summary.

    What was silent before the run began is an alarm of it.
    """
    run, port = make_run(2), free_port()
    silent_before(run.records)
    dead = f'[[stream]]\nname = "dead"\nurl = "rtsp://user:{_SECRET}@127.0.0.1:{free_port()}/x"\n'
    metrics = f'[metrics]\nlisten = "127.0.0.1:{port}"\n'
    run.write_streams(run.names, extra=dead + metrics)
    run.start()
    first = wait_for(lambda: scrape(port), f"the first scrape; output: {run.text()[-2000:]}")
    assert of(first, "camera_up", camera="dead") == 0
    assert of(first, "frames_total", camera="dead", outcome="inspected") == 0

    wait_for(lambda: ask(port, "/readyz")[0] == 200, "the run is ready")
    ready, healthy = json.loads(ask(port, "/readyz")[1]), json.loads(ask(port, "/healthz")[1])
    assert (ready["inspects"], ready["reasons"]) == (True, [])
    assert ready["not_inspected"]["dead"] == "camera:REFUSED"
    assert healthy == {"works": True, "reasons": [], "not_inspected": {}}

    low = "camera gone, all classes"
    wait_for(lambda: of(scrape(port), "suspiciously_low", baseline=low), "the alarm of a silent detector")
    assert (of(scrape(port), "silence_expected_events", baseline=low) or 0) > 20
    with FeedClient(run.records) as feed:
        feed.want(snapshots=True)
        snapshot = next(message.header for message in feed if message.kind == "snapshot")
    assert f"suspiciously low, look at camera, lamp and product: {low}" in snapshot["alarms"]

    run.write_streams(["cam01"], extra=dead + metrics.replace("127.0.0.1", "[::1]"))
    wait_for(lambda: of(scrape(port), "camera_info", camera="cam02", state="REMOVED", code=""), "cam02 is removed")
    wait_for(lambda: "changes of [metrics] need a restart" in run.text(), "the reload names [metrics]")
    refused = {"camera": "dead", "cause": "camera:REFUSED"}
    wait_for(lambda: of(scrape(port), "not_inspected_seconds_total", **refused), "the ledger knows of the dead camera")
    last = scrape(port)
    refused_s = last["vision_line_not_inspected_seconds_total", frozenset(refused.items())]
    assert of(last, "camera_expected", camera="cam02") == 0
    assert of(last, "camera_expected", camera="dead") == 1
    fallen = [key for key, value in counters(first).items() if last[key] < value]
    assert not fallen

    run.signal(signal.SIGTERM)
    assert run.wait() == 130
    cameras = {camera["name"]: camera for camera in run.summary()["cameras"]}
    for name, camera in cameras.items():
        inspected = of(last, "frames_total", camera=name, outcome="inspected") or 0
        assert inspected <= camera["frames_inspected"] <= inspected + (0 if name == "cam02" else 500)
        assert 0 < (of(last, "inspection_due_seconds_total", camera=name) or 0) <= camera["inspection_due_s"] + 0.001
    # No result comes late of a camera that sends nothing, so nothing of its time was taken back.
    assert 0 < refused_s <= cameras["dead"]["not_inspected_s"]["camera:REFUSED"]
    assert _SECRET not in run.text()


def test_a_port_in_use_ends_the_start_with_its_address(make_run: Callable[[int], Any]) -> None:
    """Exit code 4, and one line that says what to do something about."""
    run = make_run(1)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        run.write_streams(run.names, extra=f'[metrics]\nlisten = "127.0.0.1:{port}"\n')

        assert run.run() == 4
    assert f"metrics.listen: cannot listen on 127.0.0.1:{port}: Address already in use" in run.text()
    assert "Traceback" not in run.text()
