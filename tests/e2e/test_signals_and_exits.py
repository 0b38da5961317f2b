# SPDX-License-Identifier: AGPL-3.0-or-later
"""How a run ends: exit codes, drains, a kill at any moment, and errors that name what is wrong."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

COMMAND = Path(sys.executable).parent / "vision-line"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_exits_130(make_run: Callable[[int], Any], number: signal.Signals) -> None:
    """What was in flight is recorded, open intervals end, the run has its end, the summary is written."""
    run = make_run(3)
    run.start()
    run.wait_for_detections()
    run.signal(number)

    assert run.wait(60) == 130, run.text()[-3000:]
    assert run.query("SELECT ended_utc IS NOT NULL FROM runs") == [(1,)]
    assert run.query("SELECT count(*) FROM events WHERE NOT ended") == [(0,)]
    for camera in run.summary()["cameras"]:
        assert camera["frames_arrived"] == camera["frames_inspected"] + sum(camera["frames_dropped"].values())


def _catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler of its own for the signal."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def test_sigterm_before_anything_is_open_exits_130(make_run: Callable[[int], Any]) -> None:
    """While the program is still loading it ends at once, quietly and with the documented code."""
    run = make_run(3)
    run.start()
    deadline = time.monotonic() + 30
    while not _catches(run.process.pid, signal.SIGTERM):
        assert run.process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    run.signal(signal.SIGTERM)

    assert run.wait(60) == 130, run.text()[-3000:]
    assert "Traceback" not in run.text()
    assert not run.records.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_cameras_and_device_are_opened_drains(
    make_run: Callable[[int], Any], number: signal.Signals
) -> None:
    """From the first record on, a signal ends the run whole: with its end, its ledger and its summary."""
    run = make_run(3)
    run.start()
    deadline = time.monotonic() + 60
    while not run.query("SELECT run FROM runs"):
        assert run.process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    run.signal(number)

    assert run.wait(60) == 130, run.text()[-3000:]
    assert "Traceback" not in run.text()
    assert run.query("SELECT ended_utc IS NOT NULL FROM runs") == [(1,)]
    assert run.query("SELECT count(*) FROM not_inspected WHERE ended_utc IS NULL") == [(0,)]
    assert run.summary()["error"] is None


def test_a_second_signal_does_not_wait(make_run: Callable[[int], Any]) -> None:
    """Two quick signals end the program at once, with its records committed."""
    run = make_run(3)
    run.start()
    run.wait_for_detections()
    started = time.monotonic()
    run.signal(signal.SIGINT)
    run.signal(signal.SIGINT)

    assert run.wait(60) == 130
    assert time.monotonic() - started < 30
    assert run.query("PRAGMA integrity_check") == [("ok",)]


def test_records_are_exported_while_the_line_runs(make_run: Callable[[int], Any]) -> None:
    """Export reads beside the writer, and what it wrote can be read."""
    run = make_run(3)
    run.start()
    run.wait_for_detections(5)
    target = run.folder / "detections.csv"
    done = subprocess.run(
        [COMMAND, "export", "--record", run.records, "--table", "detections", "-o", target],
        text=True,
        capture_output=True,
        check=False,
    )
    run.signal(signal.SIGINT)

    assert done.returncode == 0, done.stderr
    assert run.wait(60) == 130
    assert len(target.read_text(encoding="utf-8-sig").splitlines()) > 5


def command(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], cwd=cwd, text=True, capture_output=True, check=False, timeout=60)


def test_a_wrong_configuration_exits_2_with_every_problem(tmp_path: Path) -> None:
    """One line for each fault, no traceback."""
    (tmp_path / "bad.toml").write_text(
        'config_version = 1\n[[stream]]\nname = "a b"\nurl = "http://x"\n', encoding="utf-8"
    )
    for arguments in (("--streams", "bad.toml"), ("check", "bad.toml")):
        done = command(*arguments, cwd=tmp_path)

        assert done.returncode == 2
        assert "bad.toml:3: stream[a b].name" in done.stderr
        assert "bad.toml:4: stream[a b].url" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "nowhere.onnx"), "nowhere.onnx: not found"),
        (("--device", "cuda"), "cuda: "),
        (("--device", "toaster"), "expected one of auto, cpu"),
    ],
)
def test_an_unusable_model_or_device_exits_3(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """One clear sentence."""
    (tmp_path / "one.toml").write_text('config_version = 1\n[[stream]]\nname = "a"\nurl = "rtsp://127.0.0.1:1/x"\n')
    done = command("--streams", "one.toml", *arguments, cwd=tmp_path)

    assert done.returncode == 3
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_classes_in_thresholds_exit_2(tmp_path: Path) -> None:
    """A threshold for a class that the model does not have is a typing error, not a wish."""
    (tmp_path / "one.toml").write_text(
        'config_version = 1\n[[stream]]\nname = "a"\nurl = "rtsp://127.0.0.1:1/x"\nthresholds = { scrach = 0.5 }\n'
    )
    done = command("--streams", "one.toml", cwd=tmp_path)

    assert done.returncode == 2
    assert "thresholds.scrach" in done.stderr


def test_a_busy_port_exits_4(make_run: Callable[[int], Any]) -> None:
    """The simulator says which port."""
    run = make_run(1)
    with socket.create_server(("127.0.0.1", run.port)):
        assert run.run() == 4

    assert str(run.port) in run.text()
    assert "Traceback" not in run.text()


def test_two_runs_cannot_share_a_record_folder(make_run: Callable[[int], Any]) -> None:
    """The second is refused with exit code 4 and the first one's process."""
    first, second = make_run(1), make_run(1)
    first.start()
    first.wait_for_detections(0)
    assert second.run("--record", str(first.records)) == 4
    first.signal(signal.SIGTERM)

    assert first.wait(60) == 130
    assert "in use by another run" in second.text()


def test_missing_cameras_do_not_keep_the_others_from_being_inspected(make_run: Callable[[int], Any]) -> None:
    """A camera that is not there is reported with its code and logged as not inspected."""
    run = make_run(2)
    run.write_streams(run.names, extra='[[stream]]\nname = "gone"\nurl = "rtsp://eve:secret@127.0.0.1:1/x"\n')
    assert run.run("--duration", "8") == 0, run.text()[-3000:]

    states = {camera["name"]: camera for camera in run.summary()["cameras"]}
    assert states["gone"]["frames_inspected"] == 0
    assert states["cam01"]["frames_inspected"] > 20
    causes = {cause for (cause,) in run.query("SELECT cause FROM not_inspected WHERE camera = 'cam01'")}
    assert causes <= {"camera:CONNECTING", "device:STARTING"}
    assert ("camera:REFUSED",) in run.query("SELECT cause FROM not_inspected WHERE camera = 'gone'")
    assert "secret" not in run.text()
    assert b"secret" not in (run.records / "records.sqlite").read_bytes()


def test_a_run_that_inspected_nothing_exits_4(tmp_path: Path) -> None:
    """One sentence with every camera and its cause; the same is in the summary, and the ledger has its interval."""
    (tmp_path / "dead.toml").write_text(
        'config_version = 1\n[[stream]]\nname = "a"\nurl = "rtsp://127.0.0.1:1/x"\n'
        '[[stream]]\nname = "b"\nurl = "rtsp://127.0.0.1:1/y"\n'
    )
    done = command("--streams", "dead.toml", "--headless", "--duration", "3", "--summary", "s.json", cwd=tmp_path)

    assert done.returncode == 4, done.stderr
    assert "nothing was inspected: a (camera:REFUSED), b (camera:REFUSED)" in done.stderr
    assert "nothing was inspected" in json.loads((tmp_path / "s.json").read_text())["error"]


def test_the_record_file_is_one_that_any_sqlite_opens(make_run: Callable[[int], Any]) -> None:
    """Nothing but SQLite is needed to read it."""
    run = make_run(1)
    assert run.run("--duration", "4") == 0, run.text()[-3000:]

    with sqlite3.connect(run.records / "records.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    connection.close()
