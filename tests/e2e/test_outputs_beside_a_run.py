# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line --streams ... --outputs`: a real line tells a real broker, and the outputs end with the run."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tests.e2e.conftest import LineRun
from tests.fakes.broker import Subscriber, running_broker
from tests.fakes.ports import free_port
from tests.fakes.waiting import wait_for

from vision_line.telemetry.output_status import known_outputs

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def is_running(record: Path) -> bool:
    """Whether a process of the outputs serves these records."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile
            continue
        if b"vision_line.cli.outputs_child" in words and str(record).encode() in words:
            return True
    return False


def is_up(port: int) -> bool:
    """Whether the line itself says that its output works."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/metrics")
        return 'vision_line_output_up{output="plant"} 1' in connection.getresponse().read().decode()


def statuses(subscriber: Subscriber) -> list[object]:
    """Return what the output said of itself so far."""
    return [one.content["state"] for one in subscriber.of("/status")]


def test_a_line_reports_to_a_broker(
    make_run: Callable[[int], LineRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events of simulated boards, states of the cameras, and that the line stopped. The line's metrics have it too.

    A password that changes meanwhile is taken at SIGHUP, which the run's process gets alone.
    """
    run, port = make_run(2), free_port()
    password = tmp_path / "secrets" / "MQTT_PASSWORD"
    password.parent.mkdir()
    password.write_text("before", "utf-8")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(password.parent))
    with running_broker(tmp_path / "broker") as broker:
        metrics = f'[metrics]\nlisten = "127.0.0.1:{port}"\n'
        url = f"mqtt://line:{{MQTT_PASSWORD}}@127.0.0.1:{broker.port}"
        output = f'[[output]]\ntype = "mqtt"\nname = "plant"\nurl = "{url}"\ntopic = "line"\n'
        run.streams.write_text(run.streams.read_text(encoding="utf-8") + metrics + output, encoding="utf-8")
        subscriber = Subscriber(broker.port)
        run.start("--outputs")
        event = subscriber.wait_for("/event", 1, 120)[0].content
        states = wait_for(
            lambda: [one for one in subscriber.of("/state") if one.content["state"] == "RUNNING"], "a camera runs"
        )
        wait_for(lambda: is_up(port), "the line knows of its output", 60)
        assert statuses(subscriber) == ["online"]
        password.write_text("after", "utf-8")
        run.signal(signal.SIGHUP)
        wait_for(lambda: statuses(subscriber) == ["online", "offline", "online"], "it connects by the new password", 60)
        run.signal(signal.SIGINT)
        run.wait()
        wait_for(lambda: not is_running(run.records), "the outputs end with the run", 30)
        status = statuses(subscriber)
        subscriber.close()
    (known,) = known_outputs(run.records)

    assert event["is_simulated"] is True
    assert event["verdict"] in {"accept", "warn", "reject"}
    assert event["latency_ms"] is not None
    assert len(str(event["model_sha256"])) == 64
    assert states[0].topic.startswith("line/cam0")
    assert status[0] == "online"
    assert status[-1] == "offline"
    assert known.lost == 0
