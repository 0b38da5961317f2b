# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line outputs` as a process: killed, asked, replayed; pipes; and the recipes of docs/outputs as they stand."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import pytest
from tests.fakes.bench_line import running_lanes, running_line
from tests.fakes.broker import Broker, Subscriber, running_broker
from tests.fakes.ports import free_port
from tests.fakes.web_receiver import receiving
from tests.integration.outputs.conftest import COMMAND, Line, serving
from typer.testing import CliRunner, Result

from vision_line.cli.check_outputs import output_troubles
from vision_line.cli.main import cli
from vision_line.errors import ExitCode
from vision_line.telemetry.output_status import known_outputs

DOCS = Path(__file__).parents[3] / "docs" / "outputs"
PLANT = """[[output]]
type = "mqtt"
name = "plant"
url = "mqtt://127.0.0.1:{port}"
topic = "acme"
since = "all"
"""


def outputs(*arguments: str | Path) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(cli, ["outputs", *map(str, arguments)])


def lines_of(line: Line, *arguments: str) -> list[dict[str, object]]:
    done = outputs("--record", line.directory, "--events", "-", "--once", *arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    return [json.loads(text) for text in done.stdout.splitlines()]


def served(line: Line) -> AbstractContextManager[subprocess.Popen[str]]:
    return serving(line.streams, line.directory)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path / "broker") as made:
        yield made


@pytest.fixture
def subscriber(broker: Broker) -> Iterator[Subscriber]:
    made = Subscriber(broker.port)
    yield made
    made.close()


def test_a_killed_process_repeats_little_and_loses_nothing(line: Line, broker: Broker, subscriber: Subscriber) -> None:
    """Twice at most what was on its way; a second process beside it is refused; an ordered end is one."""
    line.configure(PLANT.format(port=broker.port))
    wanted = [line.event() for _ in range(60)]
    with served(line) as killed:
        subscriber.wait_for("cam1/event", 1)
        killed.kill()
    wanted += [line.event() for _ in range(20)]
    with served(line) as process:
        events = subscriber.wait_for("cam1/event", 80)
        beside = outputs("--streams", line.streams, "--record", line.directory)
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    ids = [str(event.content["event_id"]) for event in events]
    (state,) = json.loads(outputs("status", "--record", line.directory, "--json").stdout)

    assert list(dict.fromkeys(ids)) == wanted
    assert len(ids) - len(wanted) <= 20
    assert code == ExitCode.INTERRUPTED
    assert beside.exit_code == ExitCode.FAILED
    assert "in use by another vision-line outputs" in beside.stderr
    assert (state["name"], state["lost"], state["behind"]) == ("plant", 0, 0)


def test_a_part_by_mqtt_is_decided_and_its_verdict_comes_back(
    tmp_path: Path, broker: Broker, subscriber: Subscriber
) -> None:
    """Through both processes: the outputs give the trigger to the lanes, and tell what those entered."""
    streams = tmp_path / "outputs.toml"
    streams.write_text(PLANT.format(port=broker.port) + "accept_commands = true\n", encoding="utf-8")
    with serving(streams, tmp_path):
        subscriber.wait_for("acme/status", 1)
        subscriber.publish("acme/cmd/part", '{"lane": "l1"}')
        (alone,) = subscriber.wait_for("cmd/part/result", 1)
        with running_line(tmp_path), running_lanes(tmp_path):
            subscriber.received.clear()
            subscriber.publish("acme/cmd/part", '{"lane": "l1", "part_id": "B-1", "number": 17}')
            (answer,) = subscriber.wait_for("cmd/part/result", 1)
            (part,) = subscriber.wait_for("l1/part", 1)

    assert alone.content["accepted"] is False
    assert (answer.content["accepted"], answer.content["sequence"]) == (True, 1)
    assert [part.content[name] for name in ("lane", "sequence", "part_id", "trigger")] == ["l1", 1, "B-1", 17]
    assert part.content["verdict"] in {"accept", "not_inspected"}  # the lane may not have seen its line yet


def test_replay_sends_again(line: Line, broker: Broker, subscriber: Subscriber) -> None:
    """Also while it runs; a changed file is followed."""
    line.configure(PLANT.format(port=broker.port) + 'kinds = ["event"]\n')
    wanted = [line.event() for _ in range(10)]
    with served(line):
        subscriber.wait_for("cam1/event", 10)
        asked = outputs("replay", "plant", "--since", "1h", "--record", line.directory)
        assert asked.exit_code == 0
        deadline_s = time.monotonic() + 90
        while len(subscriber.of("cam1/event")) < 20 and time.monotonic() < deadline_s:
            time.sleep(0.05)
        line.configure(PLANT.format(port=broker.port).replace("acme", "other") + 'kinds = ["event"]\n')
        while not subscriber.of("other/cam1/event"):
            assert time.monotonic() < deadline_s + 90
            line.event()
            time.sleep(0.1)
    unknown = outputs("replay", "no", "--since", "1h", "--record", line.directory)

    assert asked.exit_code == 0
    assert [event.content["event_id"] for event in subscriber.of("acme/cam1/event")][:20] == wanted[:10] * 2
    assert unknown.exit_code == ExitCode.CONFIG
    assert "there are plant" in unknown.stderr


def test_events_by_a_pipe(line: Line) -> None:
    """From a moment, an id, or all that is kept; filtered; nothing is remembered."""
    for number in range(6):
        line.event("cam2" if number % 2 else "cam1", verdict="warn" if number == 5 else "reject")
    found = lines_of(line, "--since", "all", "--kind", "event")
    behind = lines_of(line, "--since", str(found[2]["id"]), "--kind", "event")
    filtered = lines_of(line, "--since", "all", "--kind", "event", "--camera", "cam2", "--verdict", "reject")

    assert [event["event_id"] for event in found] == [f"event {number}" for number in range(1, 7)]
    assert behind == [{**event, "sent": again["sent"]} for event, again in zip(found[3:], behind, strict=True)]
    assert [event["event_id"] for event in filtered] == ["event 2", "event 4"]
    assert not lines_of(line)
    assert len(lines_of(line, "--since", "1h", "--kind", "event")) == 6


def test_a_reader_that_went_away_ends_it(line: Line) -> None:
    """With the exit code of a closed output."""
    for _ in range(400):
        line.event()
    command = [*COMMAND, "--record", str(line.directory), "--events", "-", "--since", "all"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        for _ in range(400):
            line.event()
        code = process.wait(60)

    assert code == ExitCode.OUTPUT_CLOSED


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "expected --streams FILE"),
        (("--events", "file.txt"), "expected -, the standard output"),
        (("--events", "-", "--kind", "nothing"), "--kind"),
        (("--events", "-", "--since", "yesterday"), "--since: expected all, the ids that were seen last"),
        (("--events", "-", "--record", "/no/such/folder"), "there is no folder"),
    ],
)
def test_wrong_options_say_what_is_expected(line: Line, arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2, one sentence."""
    done = outputs("--record", line.directory, *arguments) if "--record" not in arguments else outputs(*arguments)

    assert done.exit_code == ExitCode.CONFIG
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_check_sends_a_test_message(line: Line, broker: Broker) -> None:
    """`check --probe` says which output does not work; without it nothing is sent."""
    with receiving() as server:
        hook = f'[[output]]\ntype = "webhook"\nname = "mes"\nurl = "{server.url}"\nsource = "/x"\n'
        port = free_port()
        gone = PLANT.format(port=port).replace('"plant"', '"gone"')
        line.configure(PLANT.format(port=broker.port) + hook + gone)

        assert output_troubles(line.streams, probe=False) == []
        assert not server.posted
        (trouble,) = output_troubles(line.streams, probe=True)
        assert trouble.startswith(f"output 'gone' at mqtt://127.0.0.1:{port}: UNREACHABLE")
        assert server.posted[0].events[0]["type"] == "vision-line.probe.v1"


def recipe(page: str, kind: str) -> str:
    """Return the first block of a kind in a page, "": one for a shell."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return next(block for found, block in blocks if found == kind)


@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="needs mosquitto-clients")
def test_the_recipe_of_mqtt(line: Line, broker: Broker) -> None:
    """The configuration and the subscriber as they stand, but for the port."""
    line.configure(recipe("mqtt.md", "toml").replace(":1883", f":{broker.port}"))
    assert output_troubles(line.streams, probe=True) == []
    *_, subscribe = recipe("mqtt.md", "").splitlines()
    command = [*shlex.split(subscribe), "-p", str(broker.port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as subscriber:
        assert subscriber.stdout is not None
        with served(line):
            until_said(subscriber.stdout, "vision/status", '"online"')
            wanted = line.event()
            said = until_said(subscriber.stdout, "vision/cam1/event", "")
        subscriber.terminate()
        subscriber.stdout.read()

    assert json.loads(said)["event_id"] == wanted


def until_said(lines: IO[str], topic: str, words: str) -> str:
    """Return the payload of the first message on a topic that has these words."""
    for line in lines:
        found, _, payload = line.partition(" ")
        if found.endswith(topic) and words in payload:
            return payload
    raise AssertionError(topic)


def test_the_recipe_of_a_webhook(line: Line, tmp_path: Path) -> None:
    """Its receiver runs as it stands, but for the port."""
    port = str(free_port())
    program = tmp_path / "receiver.py"
    program.write_text(recipe("webhook.md", "python").replace("8090", port), encoding="utf-8")
    line.configure(recipe("webhook.md", "toml").replace("8090", port))
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as receiver:
        with served(line):
            assert receiver.stdout is not None
            while not known_outputs(line.directory):
                time.sleep(0.05)
            line.event()
            said = receiver.stdout.readline()
        receiver.kill()

    assert said == "vision-line.event.v1 cam1 reject\n"


def test_the_recipe_of_opc_ua(line: Line, tmp_path: Path) -> None:
    """Its client runs as it stands, but for the port."""
    port = str(free_port())
    program = tmp_path / "client.py"
    program.write_text(recipe("opc-ua.md", "python").replace("4840", port), encoding="utf-8")
    line.configure(recipe("opc-ua.md", "toml").replace("4840", port))
    with served(line):
        while not any(output.state and output.state.state == "connected" for output in known_outputs(line.directory)):
            time.sleep(0.05)
        assert output_troubles(line.streams, probe=False) == []
        with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == "subscribed\n"
            line.event()
            said = client.stdout.readline()
            client.kill()

    assert said == "cam1 reject NotOK\n"


def test_the_recipe_of_json_lines(line: Line) -> None:
    """Its program runs as it stands, but for the way to the command and the records."""
    line.event()
    _, *arguments = shlex.split(recipe("json-lines.md", ""))
    assert arguments[:3] == ["outputs", "--record", "records"]
    (event,) = outputs(*arguments[1:2], line.directory, *arguments[3:]).stdout.splitlines()
    assert json.loads(event)["phase"] == "end"
    program = (
        recipe("json-lines.md", "python").replace('"vision-line"', "*command_line").replace('"records"', "records")
    )
    prelude = f"command_line = {[sys.executable, '-m', 'vision_line']!r}\nrecords = {str(line.directory)!r}\n"
    done = subprocess.run([sys.executable, "-c", prelude + program], text=True, capture_output=True, check=True)

    assert "vision-line.event/1 cam1" in done.stdout
