# SPDX-License-Identifier: AGPL-3.0-or-later
"""The server's cameras as a real client sees them, and the life of its process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.fakes.waiting import wait_for

from vision_line.errors import RunError
from vision_line.simulator.barcode import read_barcode
from vision_line.simulator.clips import Clip
from vision_line.simulator.live import Simulator

FRAMES = 50
WANTED = 70  # more than a loop


def watch(url: str, transport: str, wanted: int = WANTED) -> list[tuple[int, int]]:
    """Read frames as a client does; gives (clip id, index) of each."""
    seen: list[tuple[int, int]] = []
    with av.open(url, options={"rtsp_transport": transport, "timeout": "10000000"}) as container:
        for frame in container.decode(video=0):
            grey = np.asarray(frame.to_ndarray(format="gray"), np.uint8)
            barcode = read_barcode(grey)
            assert barcode is not None
            seen.append(barcode)
            if len(seen) == wanted:
                break
    return seen


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_three_cameras_run_on_over_the_loop_boundary(barcode_clips: list[Clip], transport: str, tmp_path: Path) -> None:
    """Each client sees its own camera's frames in order, none missing; the log has each of them."""
    log = tmp_path / "sent.jsonl"
    with Simulator(barcode_clips, 0, log) as simulator, ThreadPoolExecutor(3) as pool:
        clients = {name: pool.submit(watch, url, transport) for name, url in simulator.urls.items()}
        seen = {name: client.result(timeout=60) for name, client in clients.items()}

    sent: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    for clip in barcode_clips:
        numbers = seen[clip.camera]
        assert {clip_id for clip_id, _ in numbers} == {clip.clip_id}
        assert {(b[1] - a[1]) % FRAMES for a, b in pairwise(numbers)} == {1}
        lines = [line for line in sent if line["camera"] == clip.camera]
        logged = [(line["clip_id"], line["index"]) for line in lines]
        first = logged.index(numbers[0])
        assert logged[first : first + WANTED] == numbers
        assert len({line["loop"] for line in lines}) >= 2
        ticks = {(b["rtp_timestamp"] - a["rtp_timestamp"]) % 2**32 for a, b in pairwise(lines)}
        assert ticks == {3600}
        assert sorted(line["sent_utc_s"] for line in lines) == [line["sent_utc_s"] for line in lines]


@pytest.mark.alone
def test_frames_come_at_the_camera_s_pace(barcode_clips: list[Clip], tmp_path: Path) -> None:
    """The rate over two seconds is 25 a second; no drift builds up."""
    log = tmp_path / "sent.jsonl"
    with Simulator(barcode_clips[:1], 0, log) as simulator:
        watch(simulator.urls["cam01"], "tcp")

    lines = [json.loads(line) for line in log.read_text().splitlines()][:WANTED]
    spans = [b["sent_utc_s"] - a["sent_utc_s"] for a, b in zip(lines, lines[50:], strict=False)]
    assert np.median(spans) == pytest.approx(2.0, abs=0.04)


def test_clients_of_one_camera_see_the_same_live_frame(barcode_clips: list[Clip]) -> None:
    """The second to come does not start the clip again."""
    with Simulator(barcode_clips[:1], 0) as simulator, ThreadPoolExecutor(2) as pool:
        url = simulator.urls["cam01"]
        early = pool.submit(watch, url, "tcp", 100)
        late = watch(url, "tcp", 30)
        numbers = early.result(timeout=60)

    assert late[0][1] % 25 == 0
    joined = "".join(f"<{index}>" for _, index in numbers)
    assert "".join(f"<{index}>" for _, index in late[:10]) in joined


def test_the_stream_says_how_its_colours_are_coded(barcode_clips: list[Clip]) -> None:
    """BT.601, limited range, from the VUI; sender reports give the camera's clock."""
    with (
        Simulator(barcode_clips[:1], 0) as simulator,
        av.open(simulator.urls["cam01"], options={"rtsp_transport": "tcp", "timeout": "10000000"}) as container,
    ):
        frame = next(container.decode(video=0))
        assert (int(frame.colorspace), int(frame.color_range)) == (6, 1)
        packet = next(container.demux(video=0))
        assert {"prft", "rtcp_sr"} & {str(data.data_type) for data in packet.iter_sidedata()}


def test_a_camera_that_does_not_exist_is_not_found(barcode_clips: list[Clip]) -> None:
    """404, as a real server answers."""
    with (
        Simulator(barcode_clips[:1], 0) as simulator,
        pytest.raises(av.HTTPNotFoundError),
    ):
        av.open(f"rtsp://127.0.0.1:{simulator.port}/cam99", options={"rtsp_transport": "tcp", "timeout": "10000000"})


def test_a_busy_port_is_a_clear_error(barcode_clips: list[Clip]) -> None:
    """The error names host and port; no process stays."""
    with Simulator(barcode_clips[:1], 0) as simulator, pytest.raises(RunError, match=rf"127.0.0.1:{simulator.port}"):
        Simulator(barcode_clips[:1], simulator.port)


def test_a_missing_clip_is_a_clear_error(barcode_clips: list[Clip], tmp_path: Path) -> None:
    """The error names camera and file."""
    clip = barcode_clips[0]
    gone = Clip(clip.camera, clip.clip_id, clip.fps, clip.frames, tmp_path / "gone.h264", clip.truth)

    with pytest.raises(RunError, match=r"cam01: .*gone\.h264"):
        Simulator([gone], 0)


def test_close_ends_the_process_and_may_be_called_twice(barcode_clips: list[Clip]) -> None:
    """Nothing of the simulator is left."""
    simulator = Simulator(barcode_clips, 0)
    pid = simulator.pid

    simulator.close()
    simulator.close()

    assert not Path(f"/proc/{pid}").exists()


def test_the_server_does_not_outlive_its_parent(barcode_clips: list[Clip]) -> None:
    """Even `kill -9` of the parent ends the cameras."""
    video = barcode_clips[0].video
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom vision_line.simulator.clips import Clip\n"
        "from vision_line.simulator.live import Simulator\n"
        f"clip = Clip('cam01', 1, 25, 50, Path({str(video)!r}), Path('x'))\n"
        "print(Simulator([clip], 0).pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)

    wait_for(lambda: not Path(f"/proc/{pid}").exists())


def ask(connection: socket.socket, request: str) -> str:
    """Send one request and read the answer's head."""
    connection.sendall(request.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(4096)
    return answer.decode()


def test_the_server_speaks_rtsp(barcode_clips: list[Clip]) -> None:
    """Each method is answered as RFC 2326 has it, wrong ones too."""
    with (
        Simulator(barcode_clips[:1], 0) as simulator,
        socket.create_connection(("127.0.0.1", simulator.port), timeout=60) as connection,
    ):
        url = simulator.urls["cam01"]
        assert "Public: OPTIONS, DESCRIBE" in ask(connection, f"OPTIONS {url} RTSP/1.0\nCSeq: 1")
        assert " 501 " in ask(connection, f"RECORD {url} RTSP/1.0\nCSeq: 2")
        assert " 454 " in ask(connection, f"PLAY {url} RTSP/1.0\nCSeq: 3\nSession: 1")
        assert " 461 " in ask(connection, f"SETUP {url}/track1 RTSP/1.0\nCSeq: 4\nTransport: RTP/AVP;multicast")
        transport = "RTP/AVP/TCP;unicast;interleaved=0-1"
        answer = ask(connection, f"SETUP {url}/track1 RTSP/1.0\nCSeq: 5\nTransport: {transport}")
        assert "CSeq: 5" in answer
        assert "interleaved=0-1" in answer
        session = answer.partition("Session: ")[2].partition(";")[0]
        assert " 200 OK" in ask(connection, f"GET_PARAMETER {url} RTSP/1.0\nCSeq: 6\nSession: {session}")
        assert " 200 OK" in ask(connection, f"TEARDOWN {url} RTSP/1.0\nCSeq: 7\nSession: {session}")
        assert connection.recv(1) == b""
