# SPDX-License-Identifier: AGPL-3.0-or-later
"""The running simulator, seen from the program that starts it."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from vision_line.errors import RunError
from vision_line.simulator.clips import Clip
from vision_line.simulator.server import ClipOrder, ServerConfig

_READY_WITHIN_S = 20.0
_LEAVES_WITHIN_S = 3.0


class Simulator:
    """RTSP cameras served from a process of their own, as a context manager.

    The process ends with `close`, and by itself when this one dies: it holds our end of its stdin.
    """

    def __init__(self, clips: Sequence[Clip], port: int, sent_log: Path | None = None, host: str = "127.0.0.1") -> None:
        """Start the process and wait until it accepts connections; `port` 0 takes a free one.

        `sent_log` is overwritten with one JSON line for each frame sent to a client: camera, loop, index,
        clip_id, sent_utc_s, rtp_timestamp.

        Raises:
            RunError: the port is in use, a clip or the log cannot be opened, or the process does not start.
        """
        self.host = host
        self.port = port
        self._cameras = tuple(clip.camera for clip in clips)
        self._log = sent_log
        with ExitStack() as stack:
            self._stderr = stack.enter_context(tempfile.TemporaryFile())
            # Of a session of its own: Ctrl-C in the terminal is for the parent, which may still be draining.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "vision_line.simulator.server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=True,
            )
            stack.callback(self._stop)
            self.port = self._start(ServerConfig(host, port, _orders(clips), str(sent_log) if sent_log else None))
            self._resources = stack.pop_all()

    @property
    def urls(self) -> dict[str, str]:
        """URL of each camera by name."""
        return {name: f"rtsp://{self.host}:{self.port}/{name}" for name in self._cameras}

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    def fault(self) -> str | None:
        """Return what the server said last where it has ended by itself; None: it runs."""
        return None if self._process.poll() is None else self._last_words()

    def close(self) -> None:
        """End the process surely; may be called twice."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, order: ServerConfig) -> int:
        """Hand over the order; gives the port that the process listens on."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RunError("simulator: the server process has no pipes")
        try:
            self._process.stdin.write(f"{order.to_json()}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise RunError(f"simulator: the server process ended at once: {self._last_words()}") from error
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            answered = selector.select(_READY_WITHIN_S)
        line = self._process.stdout.readline() if answered else b""
        if not line:
            raise RunError(f"simulator: the server process does not answer: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RunError(f"simulator: cannot serve on {order.host}:{order.port}: {answer['error']}")
        return int(answer["port"])

    def _last_words(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "no message"

    def _stop(self) -> None:
        """Close stdin, which ends the process, and lose patience in two steps."""
        process = self._process
        for end in (self._close_stdin, process.terminate, process.kill):
            end()
            try:
                process.wait(_LEAVES_WITHIN_S)
            except subprocess.TimeoutExpired:
                continue
            break
        if process.stdout is not None:
            process.stdout.close()

    def _close_stdin(self) -> None:
        if self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                # The process went first; there is nothing to tell it.
                return


def _orders(clips: Sequence[Clip]) -> tuple[ClipOrder, ...]:
    return tuple(ClipOrder(clip.camera, clip.clip_id, clip.fps, str(clip.video.resolve())) for clip in clips)
