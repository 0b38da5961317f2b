# SPDX-License-Identifier: AGPL-3.0-or-later
"""The recipes of docs/outputs for the doors of lanes, as they stand: real processes, and no line."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.fakes.desk import CHEAP
from tests.fakes.io_module import Module
from tests.fakes.ports import free_port

from vision_line.desk.users.accounts import Accounts
from vision_line.desk.users.sessions import Role
from vision_line.lanes.lanes_protocol import LANES_SOCKET
from vision_line.reviews.passwords import PasswordHasher

PAGES = Path(__file__).parents[3] / "docs" / "outputs"
FENCE = 3 * chr(96)
PASSWORD = "correct horse battery"  # noqa: S105  nobody's
PROGRAM = (sys.executable, "-m", "vision_line")
STREAMS = """config_version = 1
[[stream]]
name = "line1-top"
url = "rtsp://127.0.0.1/1"
[[stream]]
name = "line1-side"
url = "rtsp://127.0.0.1/2"
"""
WAIT_S = 60


def block(page: str, language: str, number: int = 0) -> str:
    """Return a piece of code of a page in a language."""
    text = (PAGES / page).read_text(encoding="utf-8")
    blocks: list[str] = re.findall(rf"^{FENCE}{language}\n(.*?)^{FENCE}$", text, re.DOTALL | re.MULTILINE)
    return blocks[number]


@dataclass(frozen=True)
class Site:
    """A folder with `streams.toml`, and `vision-line lanes` that follows it."""

    folder: Path
    modbus: int

    @property
    def streams(self) -> Path:
        """The file."""
        return self.folder / "streams.toml"

    def said(self, program: str, *arguments: str, **environment: str) -> str:
        """Run a program of a page; return what it prints."""
        command = [sys.executable, "-c", program, *arguments]
        known = {**os.environ, **environment}
        done = subprocess.run(command, cwd=self.folder, env=known, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def running(arguments: Sequence[str], folder: Path, log: str) -> Iterator[None]:
    """Run a command of the program; what it says is in `log`."""
    with (folder / log).open("wb") as said:
        process = subprocess.Popen([*PROGRAM, *arguments], cwd=folder, stdout=said, stderr=said)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)
        sys.stderr.write((folder / log).read_text(encoding="utf-8"))  # pytest shows it where a test fails


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The lane of lanes.md, at the server of modbus.md."""
    made = Site(tmp_path_factory.mktemp("site"), free_port())
    modbus = block("modbus.md", "toml").replace("1502", str(made.modbus), 1)
    made.streams.write_text(STREAMS + block("lanes.md", "toml") + modbus, encoding="utf-8")
    with running(["lanes", "--streams", "streams.toml", "--record", "records"], made.folder, "lanes.txt"):
        ends_s = time.monotonic() + WAIT_S
        while not (made.folder / "records" / LANES_SOCKET).exists():
            assert time.monotonic() < ends_s
            time.sleep(0.05)
        yield made


def test_a_plc_triggers_a_part(site: Site) -> None:
    """Without a line it is not inspected."""
    said = site.said(block("modbus.md", "python"), "127.0.0.1", str(site.modbus), "17")

    assert said.splitlines() == ["map version 1", "verdict not inspected"]


def test_a_program_triggers_a_part_by_the_socket(site: Site) -> None:
    said = site.said(block("lanes.md", "python"))

    assert "'part_id': 'B-00017'" in said
    assert "'verdict': 'not_inspected'" in said


def test_a_program_triggers_a_part_by_http(site: Site) -> None:
    """It signs in at a desk, begins a lot, and finds the part in the list."""
    Accounts(site.folder / "records", PasswordHasher(CHEAP)).add("mes", Role.QUALITY, PASSWORD, by="test")
    address = f"127.0.0.1:{free_port()}"
    with running(["desk", "--record", "records", "--listen", address], site.folder, "desk.txt"):
        ends_s = time.monotonic() + WAIT_S
        while "sign in at" not in (site.folder / "desk.txt").read_text(encoding="utf-8"):
            assert time.monotonic() < ends_s
            time.sleep(0.05)
        program = block("http.md", "python")
        said = site.said(program, f"http://{address}", "mes", DESK_PASSWORD=PASSWORD).splitlines()

    assert said[0] == "lot L-4711"
    assert re.fullmatch(r"part \d+ of lane-1", said[1])
    assert said[2] == "verdict not_inspected"


async def test_an_output_of_a_module_lets_nothing_pass(site: Site) -> None:
    """It is switched by the file as it is now, and off: nothing can be accepted."""
    module = Module()
    await module.start()
    before = site.streams.read_text(encoding="utf-8")
    coil = block("modbus.md", "toml", 1).replace("192.168.10.50:502", f"127.0.0.1:{module.port}")
    try:
        site.streams.write_text(before + coil, encoding="utf-8")
        async with asyncio.timeout(WAIT_S):
            while len(module.writes) < 3:  # noqa: ASYNC110  another process writes
                await asyncio.sleep(0.05)
    finally:
        site.streams.write_text(before, encoding="utf-8")
        await module.stop()

    assert {(at, is_on) for at, is_on, _ in module.writes} == {(0, False)}
