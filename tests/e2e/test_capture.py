# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line capture` on the simulator's cameras: what it stores, what it says, how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.fakes.ports import free_port
from tests.fakes.waiting import wait_for

from vision_line.simulator.barcode import read_barcode
from vision_line.simulator.clips import ensure_clips

from .conftest import COMMAND

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def write_streams(path: Path, cameras: int, more: str = "") -> Path:
    """Write a configuration that serves and names `cameras` simulated cameras."""
    port = free_port()
    text = f"config_version = 1\n[simulator]\ncameras = {cameras}\nport = {port}\n"
    for number in range(1, cameras + 1):
        text += f'[[stream]]\nname = "cam{number:02d}"\nurl = "rtsp://127.0.0.1:{port}/cam{number:02d}"\n'
    path.write_text(text + more, encoding="utf-8")
    return path


@contextmanager
def started(streams: Path, output: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command; it does not outlive the block."""
    process = subprocess.Popen(
        [COMMAND, "capture", "--streams", streams, "-o", output, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def captured(streams: Path, output: Path, *options: str) -> tuple[int, str]:
    """Run the command to its end; return exit code and output."""
    with started(streams, output, *options) as process:
        text, _ = process.communicate(timeout=150)
        return process.returncode, text


def manifest(folder: Path) -> list[dict[str, Any]]:
    """Return the manifest's lines."""
    path = folder / "manifest.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def test_images_of_all_cameras_spread_over_the_time(tmp_path: Path) -> None:
    """Each is a lossless frame of its own camera, none twice, and the manifest names them all."""
    output = tmp_path / "images"

    code, text = captured(write_streams(tmp_path / "s.toml", 3), output, "--images", "9", "--duration", "9")

    assert code == 0, text
    lines = manifest(output)
    assert Counter(line["camera"] for line in lines) == {"cam01": 3, "cam02": 3, "cam03": 3}, text
    assert {path.name for path in output.glob("*.png")} == {line["file"] for line in lines}
    clips = {clip.camera: clip.clip_id for clip in ensure_clips(3, 1)}
    shown = set()
    for line in lines:
        pixels = cv2.imread(str(output / line["file"]), cv2.IMREAD_GRAYSCALE)
        assert pixels is not None
        assert pixels.shape == (line["height"], line["width"])
        barcode = read_barcode(np.asarray(pixels, np.uint8))
        assert barcode is not None
        assert barcode[0] == clips[line["camera"]]
        shown.add(barcode)
    assert len(shown) == 9
    times = [datetime.fromisoformat(line["captured_utc"]) for line in lines if line["camera"] == "cam01"]
    assert all((after - before).total_seconds() > 1.2 for before, after in pairwise(times))
    assert "up to 9 whole images of 3 cameras in 9 s, as png (lossless), at most 2000 MB" in text
    assert "9 of 9 images" in text


def test_a_dead_camera_is_named_and_the_others_are_captured(tmp_path: Path) -> None:
    """Its part is missing and said to be; the password is not."""
    dead = f'[[stream]]\nname = "dead"\nurl = "rtsp://user:secret@127.0.0.1:{free_port()}/x"\n'
    streams = write_streams(tmp_path / "s.toml", 1, dead)

    code, text = captured(streams, tmp_path / "out", "--images", "2", "--duration", "5", "--quality", "90")

    assert code == 0, text
    assert [line["encoding"] for line in manifest(tmp_path / "out")] == ["jpeg-90"]
    assert "dead: 0 stored, RECONNECTING" in text
    assert "REFUSED" in text
    assert "secret" not in text
    assert "1 of 2 images" in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_capture_keeps_what_it_has(number: signal.Signals, tmp_path: Path) -> None:
    """130, and a manifest that fits the images."""
    streams, output = write_streams(tmp_path / "s.toml", 1), tmp_path / "out"
    with started(streams, output, "--images", "1000", "--duration", "1000") as process:
        wait_for(lambda: manifest(output), "a first image")
        process.send_signal(number)
        text, _ = process.communicate(timeout=60)

    assert process.returncode == 130, text
    assert {path.name for path in output.glob("*.png")} == {line["file"] for line in manifest(output)}


def test_a_still_image_is_stored_once(tmp_path: Path) -> None:
    """A file that shows one board for ever, and one that is black."""
    for name, level in (("board", None), ("black", 0)):
        folder = tmp_path / name
        folder.mkdir()
        pixels = np.random.default_rng(1).integers(0, 255, (96, 128, 3)) if level is None else np.zeros((96, 128, 3))
        for number in range(60):
            cv2.imwrite(str(folder / f"{number:03d}.png"), pixels.astype(np.uint8))
    streams = tmp_path / "s.toml"
    streams.write_text(
        "config_version = 1\n"
        + "".join(f'[[stream]]\nname = "{n}"\nurl = "file:{tmp_path / n}"\n' for n in ("board", "black"))
    )

    code, text = captured(streams, tmp_path / "out", "--images", "10", "--duration", "4")

    assert code == 0, text
    assert [line["camera"] for line in manifest(tmp_path / "out")] == ["board"]
    assert "board: 1 stored" in text
    assert "skipped as near-duplicate" in text
    assert "black: 0 stored" in text
    assert "skipped as black or uniform" in text


def test_faults_have_their_exit_codes(tmp_path: Path) -> None:
    """2 before anything is opened, 4 where nothing came."""
    streams = tmp_path / "s.toml"
    streams.write_text(
        f'config_version = 1\n[[stream]]\nname = "dead"\nurl = "rtsp://127.0.0.1:{free_port()}/x"\n', encoding="utf-8"
    )
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("kept", encoding="utf-8")

    refused = captured(streams, full)
    missing = captured(tmp_path / "none.toml", tmp_path / "out")
    nothing = captured(streams, tmp_path / "out", "--duration", "2")

    assert (refused[0], missing[0], nothing[0]) == (2, 2, 4)
    assert "expected a new or an empty folder" in refused[1]
    assert [path.name for path in full.iterdir()] == ["mine.txt"]
    assert "no image was stored" in nothing[1]
    assert not list((tmp_path / "out").iterdir())
