# SPDX-License-Identifier: AGPL-3.0-or-later
"""The process of the desk beside a run: what is heard of it, when it is started again, and that it ends."""

from __future__ import annotations

import io
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vision_line.cli.child_process import ChildProcess
from vision_line.cli.desk import OPEN_ONCE, is_journal
from vision_line.cli.desk_process import SaidNews, checked_address, without_link
from vision_line.errors import ConfigError

LINK = f"{OPEN_ONCE}: http://127.0.0.1:8080/enter?token=secret"


class Started:
    """What was started, and what was heard of it."""

    def __init__(self) -> None:
        self.news: list[str] = []
        self.process: ChildProcess | None = None

    def __call__(self, program: str, *arguments: str) -> None:
        """Start a Python program in the desk's place."""
        command = [sys.executable, "-c", program, *arguments]
        self.process = ChildProcess("desk", command, self.news.append, first_wait_s=0.05, end_s=2.0)

    def hear(self, number: int) -> list[str]:
        """Return the news once there are so many."""
        deadline_s = time.monotonic() + 30
        while len(self.news) < number:
            assert time.monotonic() < deadline_s, self.news
            time.sleep(0.01)
        return self.news

    def close(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.close()


@pytest.fixture
def start() -> Iterator[Started]:
    """Yield what starts a program in the desk's place."""
    started = Started()
    yield started
    started.close()


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_what_it_says_is_news_and_what_it_logs_is_logged(start: Started, caplog: pytest.LogCaptureFixture) -> None:
    """Apart: what it says may hold a link that signs in."""
    caplog.set_level(logging.INFO)
    start(f"import sys; print('complaint', file=sys.stderr); print('{LINK}', flush=True); sys.stdin.read()")
    assert start.hear(1) == [LINK]
    start.close()
    assert "desk: complaint" in caplog.text
    assert "token" not in caplog.text


@pytest.mark.parametrize("code", [0, 2, 130])
def test_an_end_that_was_meant_is_said_and_final(start: Started, code: int) -> None:
    start(f"raise SystemExit({code})")
    assert start.hear(1) == [f"the desk has ended (exit code {code}); the line goes on without it"]
    time.sleep(0.3)
    assert len(start.news) == 1


def test_one_that_fails_is_started_again_ever_more_seldom(start: Started) -> None:
    start("import os; os.kill(os.getpid(), 9)")
    waits = [0.05, 0.1, 0.2]
    assert start.hear(3)[:3] == [f"the desk has failed (exit code -9) and is started again in {s:g} s" for s in waits]


def test_one_that_cannot_be_started_is_said(caplog: pytest.LogCaptureFixture) -> None:
    news: list[str] = []
    process = ChildProcess("desk", ["/nowhere/desk"], news.append, first_wait_s=60.0)
    while not news:
        time.sleep(0.01)
    process.close()
    assert "No such file or directory" in news[0]
    assert "No such file or directory" in caplog.text


@pytest.mark.parametrize("stubborn", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN);"])
def test_it_ends_with_the_run(start: Started, stubborn: str) -> None:
    """One that does not listen is killed."""
    start(f"import os, signal, time; {stubborn} print(os.getpid(), flush=True); time.sleep(600)")
    pid = int(start.hear(1)[0])
    start.close()
    assert not is_running(pid)
    assert len(start.news) == 1


def test_it_does_not_get_the_cameras_secrets(start: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CAM_PASSWORD", "HOME_CAM_PASSWORD", "TZ_CAM", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/plant.pem")  # whom the machine trusts is no secret
    start("import os; print(os.environ, flush=True); input()")
    heard = start.hear(1)[0]
    assert "secret" not in heard
    assert "Asia/Tokyo" in heard
    assert "/etc/plant.pem" in heard


def test_ctrl_c_is_for_the_run(start: Started) -> None:
    """A terminal sends it to the whole group of processes: the desk is in another one."""
    start("import os; print(os.getpgid(0), flush=True); input()")
    assert int(start.hear(1)[0]) != os.getpgid(0)


def test_a_link_is_shown_on_a_terminal_alone() -> None:
    output = io.StringIO()
    said = SaidNews(output)
    for sentence in (LINK, "sign in at http://127.0.0.1:8080"):
        said.put(sentence)
    assert "secret" not in output.getvalue()
    assert "the desk is at http://127.0.0.1:8080;" in output.getvalue()
    assert output.getvalue().endswith("\nsign in at http://127.0.0.1:8080\n")


def test_a_sentence_without_a_link_stays() -> None:
    assert without_link("the desk has failed (exit code 4): no link") == "the desk has failed (exit code 4): no link"


@pytest.mark.parametrize(
    ("listen", "problem"), [("0.0.0.0:8080", "of this machine alone"), ("8080", "--desk-listen: found '8080'")]
)
def test_an_address_for_others_is_refused(listen: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        checked_address(listen)


def test_a_missing_extra_is_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vision_line.cli.desk.find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(ConfigError, match=r"needs uvicorn: run pip install '\.\[desk\]'"):
        checked_address("127.0.0.1:8080")


def test_the_journal_of_systemd_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a log: no link belongs there."""
    with (tmp_path / "journal").open("w") as journal, (tmp_path / "other").open("w") as other:
        status = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert is_journal(journal)
        assert not is_journal(other)
        assert not is_journal(io.StringIO())
