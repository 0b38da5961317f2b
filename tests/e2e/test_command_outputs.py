# SPDX-License-Identifier: AGPL-3.0-or-later
"""Outputs that cannot be written, and readers that go away: a clear sentence and a documented exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.fakes.ports import free_port
from tests.fakes.waiting import wait_for
from typer.testing import CliRunner

from vision_line.cli.main import cli
from vision_line.config.models import RecordSettings
from vision_line.records.entries import CameraRecord, RunRecord
from vision_line.records.log import SqliteLog
from vision_line_compression.cli import cli as compress_cli

pytestmark = pytest.mark.e2e

COMMAND = Path(sys.executable).parent / "vision-line"
STREAMS = 'config_version = 1\n[[stream]]\nname = "a"\nurl = "rtsp://127.0.0.1:1/x"\n'


def command(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], cwd=cwd, text=True, capture_output=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("extra", "arguments", "said"),
    [
        ("", ("--summary", "nowhere/run.json"), "--summary nowhere/run.json: cannot be written: there is no folder /"),
        ("", ("--summary", "."), "--summary .: is a folder"),
        ("", ("--overlay", "/dev/null/x"), "--overlay /dev/null/x: cannot be written: Not a directory"),
        ('[dashboard]\nsvg = "/dev/null/x.svg"\n', (), "dashboard.svg: /dev/null/x.svg: cannot be written: Not a dir"),
    ],
)
def test_outputs_of_a_run_are_looked_at_before_it(
    tmp_path: Path, extra: str, arguments: tuple[str, ...], said: str
) -> None:
    """Nothing is inspected for hours whose totals cannot be written: exit code 2 at once."""
    (tmp_path / "one.toml").write_text(STREAMS + extra)
    done = command("--streams", "one.toml", "--duration", "1", *arguments, cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize("option", ["--dataset", "--sent-log"])
def test_outputs_of_the_simulator_are_looked_at_before_it(tmp_path: Path, option: str) -> None:
    """The same for its training set and its log."""
    done = command("simulate", option, "/dev/null/x", cwd=tmp_path)

    assert done.returncode == 2
    assert f"{option} /dev/null/x: cannot be written: Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("schema",), ("doctor",), ("check", "one.toml"), ("--help",)])
def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """As of a program that SIGPIPE ended: 141, and not a word."""
    (tmp_path / "one.toml").write_text(STREAMS)
    done = closed_output(*arguments, cwd=tmp_path)

    assert done.returncode == 141, done.stderr
    assert done.stderr == ""


def test_a_run_goes_on_when_its_reader_goes_away(make_run: Callable[[int], Any]) -> None:
    """Status lines that nobody reads end no inspection: the exit code and the summary are those of the run."""
    run = make_run(1)
    done = closed_output(
        *("--streams", run.streams, "--summary", run.summary_path, "--headless", "--duration", "2"), cwd=run.folder
    )

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert run.summary()["cameras"][0]["frames_arrived"] > 0


def test_a_run_on_simulated_cameras_says_what_to_do_next(make_run: Callable[[int], Any]) -> None:
    """Its last sentence names the command for cameras of one's own, and the page about it."""
    run = make_run(1)
    assert run.run("--duration", "0.5") == 0, run.text()

    last = " ".join(run.text().splitlines()[-2:])
    assert "`vision-line init`" in last
    page, _, heading = last.partition("(docs/")[2].rstrip(").").partition("#")
    assert f"## {heading.replace('-', ' ')}" in (Path(__file__).parents[2] / "docs" / page).read_text().lower()


def test_a_run_goes_on_while_nobody_reads_what_it_says(make_run: Callable[[int], Any]) -> None:
    """With both its outputs in a pipe that is full it inspects, records, and ends at a signal."""
    run = make_run(1)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    run.process = subprocess.Popen(
        [COMMAND, "--streams", run.streams, "--headless"], cwd=run.folder, stdout=writer, stderr=writer
    )
    wait_for(lambda: run.query("SELECT 1 FROM states WHERE state = 'RUNNING'"), "the camera's state in the ledger")
    run.signal(signal.SIGTERM)

    assert run.wait() == 130
    assert run.query("SELECT count(*) FROM runs WHERE ended_utc IS NOT NULL") == [(1,)]
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("redirection", [">&-", "> /dev/full", "> /dev/full 2> /dev/full", "<&- >&- 2>&-"])
def test_a_run_goes_on_without_standard_streams(tmp_path: Path, redirection: str) -> None:
    """Closed by a supervisor, or on a full disk: all is inspected and recorded, and the exit code is the run's."""
    write_video(tmp_path / "a.mp4", 10)
    (tmp_path / "one.toml").write_text(
        f'config_version = 1\n[[stream]]\nname = "a"\nurl = "file:{tmp_path}/a.mp4"\npaced = false\n'
    )
    script = f"exec {COMMAND} --streams one.toml --headless --summary run.json {redirection}"
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, check=False, timeout=120)

    assert done.returncode == 0
    summary = json.loads((tmp_path / "run.json").read_text())
    assert (summary["totals"]["frames_inspected"], summary["error"]) == (10, None)
    assert (tmp_path / "records" / "records.sqlite").read_bytes().startswith(b"SQLite format 3")


@pytest.mark.parametrize("redirection", [">&-", "> /dev/full"])
def test_the_simulator_serves_without_a_standard_output(tmp_path: Path, redirection: str) -> None:
    """What it says where it serves is not what it is for."""
    script = f"exec {COMMAND} simulate --cameras 1 --port {free_port()} --duration 0.2 {redirection}"
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, text=True, stderr=subprocess.PIPE, check=False, timeout=60
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("redirection", ["> /dev/full", ">&-"])
def test_an_output_that_cannot_be_written_is_one_sentence(tmp_path: Path, redirection: str) -> None:
    """What was asked for was not delivered: exit code 4."""
    done = subprocess.run(
        ["sh", "-c", f"{COMMAND} schema {redirection}"], text=True, capture_output=True, check=False, timeout=60
    )

    assert done.returncode == 4
    assert done.stderr.startswith("vision-line: the standard output cannot be written: ")
    assert len(done.stderr.splitlines()) == 1


def write_video(path: Path, frames: int) -> None:
    """Write a short video of a moving step."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 320, 240
        for number in range(frames):
            pixels = np.full((240, 320, 3), 40, np.uint8)
            pixels[:, number * 20 :] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode())


def closed_output(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command with a standard output that is closed at the other end."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [COMMAND, *arguments], cwd=cwd, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=120
        )
    finally:
        os.close(writer)


def test_an_export_without_records_is_a_wrong_option(tmp_path: Path) -> None:
    """The default folder that is not there, too."""
    done = command("export", cwd=tmp_path)

    assert done.returncode == 2
    assert "there is no folder records: run it where the line ran, or name the folder with --record" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "2h", "--since", "3h"), "--since': given 2 times, expected once"),
        (("--since", "2h", "--until", "3h"), "--since: no moment is at or after it and before --until"),
        (("-o", "a.csv", "--output", "b.csv"), "'-o' / '--output': given 2 times, expected once"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """Which of both was meant is not guessed."""
    done = command("export", *arguments, cwd=recorded(tmp_path))

    assert done.returncode == 2
    assert said in " ".join(done.stderr.replace("│", "").split())
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_every_command_refuses_an_option_given_twice(tmp_path: Path) -> None:
    """The main job and its neighbours too; a flag twice is no contradiction."""
    here = CliRunner()
    (twice,) = {
        here.invoke(of, words).exit_code
        for of, words in (
            (cli, ["--streams", "a.toml", "--streams", "b.toml"]),
            (cli, ["doctor", "--record", "a", "--record", "b"]),
            (compress_cli, ["eval", "m.onnx", "--data", "a.yaml", "--data", "b.yaml"]),
        )
    }
    flags = command("doctor", "--json", "--json", cwd=tmp_path)

    assert twice == 2
    assert json.loads(flags.stdout)


def test_a_repeated_camera_means_all_of_them(tmp_path: Path) -> None:
    """Into the standard output, where nothing else is written; no file of its name appears."""
    folder = recorded(tmp_path)
    done = command(
        *("export", "--table", "cameras", "--format", "jsonl", "--camera", "a", "--camera", "b", "-o", "-"), cwd=folder
    )

    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["camera"] for line in done.stdout.splitlines()] == ["a", "b"]
    assert "-: 2 rows" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["records"]


def test_parquet_goes_into_a_pipe_and_coco_does_not(tmp_path: Path) -> None:
    """Parquet is written from its beginning to its end; COCO has images beside its file."""
    folder = recorded(tmp_path)
    parquet = subprocess.run(
        [COMMAND, "export", "--table", "cameras", "--format", "parquet", "-o", "-"],
        cwd=folder,
        capture_output=True,
        check=True,
    )
    coco = command("export", "--format", "coco", "-o", "/dev/null", cwd=folder)

    assert pq.read_table(BytesIO(parquet.stdout)).num_rows == 3
    assert (coco.returncode, Path("/dev/null").is_char_device()) == (2, True)
    assert "expected a file" in coco.stderr


def test_an_export_whose_reader_went_away(tmp_path: Path) -> None:
    """As of every output that is piped."""
    done = closed_output("export", "--table", "cameras", "-o", "-", cwd=recorded(tmp_path))

    assert done.returncode == 141, done.stderr
    assert "Traceback" not in done.stderr


def recorded(folder: Path) -> Path:
    """Make records of three cameras in `folder`; return it."""
    cameras = tuple(CameraRecord(name, "", "", "rtsp://127.0.0.1:1/x") for name in "abc")
    run = RunRecord("0", 0.0, "", "m", "", "int8", "cpu", "h", cameras)
    SqliteLog(folder / "records", run, RecordSettings(min_free_mb=1), ["open"]).close()
    return folder
