# SPDX-License-Identifier: AGPL-3.0-or-later
"""A process beside the run: what it logs, that it reads again, when it is started again, and what is shown then."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from vision_line.cli import child_process
from vision_line.cli.child_process import ChildProcess

SAYS = """import sys
print("2026-11-29T04:00:00.123Z INFO    lanes: the line is there", file=sys.stderr)
print("2026-11-29T04:00:01.123Z ERROR   lanes: a reject was found too late", file=sys.stderr)
print("Segmentation fault", file=sys.stderr)
"""


def test_lines_keep_their_level_and_have_one_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    news: list[str] = []
    child = ChildProcess("lanes", [sys.executable, "-c", SAYS], news.append)
    child._thread.join(20)
    child.close()
    said = [(record.levelname, record.getMessage()) for record in caplog.records][:3]
    assert said == [
        ("INFO", "lanes: lanes: the line is there"),
        ("ERROR", "lanes: lanes: a reject was found too late"),
        ("WARNING", "lanes: Segmentation fault"),
    ]
    assert news == ["the lanes has ended (exit code 0); the line goes on without it"]


def once(is_so: Callable[[], bool]) -> None:
    """Wait until it is so."""
    deadline_s = time.monotonic() + 40
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


#: Listens as the outputs and the lanes do, once a file says that it may.
LISTENS = """import asyncio, sys, time
from pathlib import Path
from vision_line.runtime.signals import Stop, caught_signals
print("began", flush=True)
while not Path(sys.argv[1]).exists():
    time.sleep(0.01)
async def serve():
    stop = Stop()
    with caught_signals(stop, lambda: print("reads again", flush=True)):
        print("listens", flush=True)
        await stop.requested.wait()
asyncio.run(serve())
"""


def test_a_reload_reaches_a_process_also_while_it_starts(tmp_path: Path) -> None:
    """One that does not listen yet is not killed by it, and reads again once it does."""
    news: list[str] = []
    may_listen = tmp_path / "may listen"
    with closing(ChildProcess("lanes", [sys.executable, "-c", LISTENS, str(may_listen)], news.append)) as child:
        once(lambda: "began" in news)
        child.reload()
        may_listen.touch()
        once(lambda: len(news) == 3)
        assert sorted(news) == ["began", "listens", "reads again"]
        child.reload()
        once(lambda: len(news) == 4)
    assert news[3:] == ["reads again"]


#: Ends with the code that a file holds, if there is one; else it serves.
ENDS = """import sys, time
from pathlib import Path
if Path(sys.argv[1]).exists():
    raise SystemExit(int(Path(sys.argv[1]).read_text()))
print("serves", flush=True)
while not Path(sys.argv[2]).exists():
    time.sleep(0.01)
Path(sys.argv[2]).unlink()
raise SystemExit(4)
"""


def test_what_was_right_when_the_run_began_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is wrong when the process must be started again, and then is mended; until it runs that is shown."""
    monkeypatch.setattr(child_process, "LONGEST_WAIT_S", 0.2)
    monkeypatch.setattr(child_process, "_SETTLED_S", 0.0)
    code, die = tmp_path / "code", tmp_path / "die"
    news: list[str] = []
    command = [sys.executable, "-c", ENDS, str(code), str(die)]
    with closing(ChildProcess("lanes", command, news.append, first_wait_s=0.05)) as child:
        once(lambda: "serves" in news)
        assert child.trouble == ""
        code.write_text("2", "utf-8")
        die.touch()
        once(lambda: len(news) >= 4)
        once(lambda: child.trouble == "the lanes does not run (exit code 2)")
        assert news[1:4] == [
            "the lanes has failed (exit code 4) and is started again in 0.05 s",
            *["the lanes has failed (exit code 2) and is started again in 0.2 s"] * 2,
        ]
        code.unlink()
        once(lambda: news.count("serves") == 2)
        once(lambda: child.trouble == "")


def test_one_that_was_never_right_stays_ended_and_that_is_shown(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.write_text("2", "utf-8")
    news: list[str] = []
    with closing(ChildProcess("lanes", [sys.executable, "-c", ENDS, str(code)], news.append)) as child:
        once(lambda: not child._thread.is_alive())
        assert child.trouble == "the lanes does not run (exit code 2)"
    assert news == ["the lanes has ended (exit code 2); the line goes on without it"]


def test_one_that_fails_again_and_again_is_in_trouble_all_the_time(tmp_path: Path) -> None:
    """Also in the moments in which it has just been started."""
    code, die = tmp_path / "code", tmp_path / "die"
    news: list[str] = []
    command = [sys.executable, "-c", ENDS, str(code), str(die)]
    with closing(ChildProcess("lanes", command, news.append, first_wait_s=0.05)) as child:
        once(lambda: "serves" in news)
        die.touch()
        once(lambda: news.count("serves") == 2)
        assert child.trouble == "the lanes does not run (exit code 4)"
