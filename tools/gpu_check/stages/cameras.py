# SPDX-License-Identifier: AGPL-3.0-or-later
"""The program itself: RTSP cameras on loopback, full HD at 25 frames/s, decoded and inspected on the GPU."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
from tools.gpu_check.findings import Findings, is_rehearsal
from tools.gpu_check.subjects import FULL_HD

from vision_line.selftest.videos import draw_images

CAMERAS, SECONDS = "GPU_CHECK_CAMERAS", "GPU_CHECK_SECONDS"
_ENDING_S = 90.0
_LIVE = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "slices=1:sliced-threads=0:keyint=25:bframes=0"}


@dataclass(frozen=True, slots=True)
class Site:
    """Cameras that are served: their addresses, a folder, and a streams.toml in it."""

    folder: Path
    streams: Path
    urls: list[str]


def run(findings: Findings) -> None:
    """Inspect for a while, and keep what the summary says."""
    count, seconds = int(os.environ.get(CAMERAS, "16")), float(os.environ.get(SECONDS, "25"))
    size_wh = (320, 192) if is_rehearsal() else FULL_HD
    with tempfile.TemporaryDirectory() as name, served(Path(name), count, size_wh) as site:
        inspect(findings, site, seconds)


def inspect(findings: Findings, site: Site, seconds: float) -> None:
    """Let the program inspect the cameras, and keep what its summary says."""
    summary = site.folder / "summary.json"
    command = [sys.executable, "-m", "vision_line", "--streams", str(site.streams), "--headless"]
    command += ["--device", "cpu" if is_rehearsal() else "cuda:0", "--duration", f"{seconds:g}"]
    command += ["--summary", str(summary), "--record", str(site.folder / "records")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + _ENDING_S, check=False)
    findings.note("exit_code", done.returncode)
    findings.note("said", (done.stdout + done.stderr)[-4000:])
    if not summary.exists():
        findings.fault(f"no summary; exit code {done.returncode}")
        return
    said = json.loads(summary.read_text(encoding="utf-8"))
    for key in ("device", "model", "totals", "process", "device_loads", "cpu"):
        if key in said:
            findings.note(key, said[key])
    if done.returncode:
        findings.fault(f"exit code {done.returncode}")


@contextmanager
def served(folder: Path, count: int, size_wh: tuple[int, int], model: Path | None = None) -> Iterator[Site]:
    """Serve so many cameras, to be inspected by `model`, None: the shipped one."""
    clip = folder / "clip.h264"
    clip.write_bytes(_clip(size_wh))
    names = [f"camera{number:02d}" for number in range(1, count + 1)]
    clips = [{"camera": name, "clip_id": index, "fps": 25, "video": str(clip)} for index, name in enumerate(names)]
    command = [sys.executable, "-m", "vision_line.simulator.server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        if server.stdin is None or server.stdout is None:
            raise RuntimeError("the cameras' server has no pipes")
        server.stdin.write(json.dumps({"host": "127.0.0.1", "port": 0, "sent_log": None, "clips": clips}) + "\n")
        server.stdin.flush()
        port = json.loads(server.stdout.readline())["port"]
        streams = folder / "streams.toml"
        urls = [f"rtsp://127.0.0.1:{port}/{name}" for name in names]
        chosen = [] if model is None else [f'[model]\npath = "{model.absolute()}"']
        lines = [f'[[stream]]\nname = "{name}"\nurl = "{url}"' for name, url in zip(names, urls, strict=True)]
        streams.write_text("\n".join(["config_version = 1", *chosen, *lines, ""]), encoding="utf-8")
        yield Site(folder, streams, urls)
        server.stdin.close()


def _clip(size_wh: tuple[int, int]) -> bytes:
    memory = io.BytesIO()
    with av.open(memory, "w", format="h264") as writer:
        stream = writer.add_stream("libx264", rate=25)
        stream.width, stream.height = size_wh
        stream.pix_fmt = "yuv420p"
        stream.options = dict(_LIVE)
        stream.codec_context.gop_size = 25
        stream.codec_context.thread_count = 1
        for image in draw_images(size_wh, 50):
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p")))
        writer.mux(stream.encode(None))
    return memory.getvalue()
