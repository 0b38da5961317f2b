# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line init` as people call it: with cameras of real sockets, at a terminal and without one."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest
from tests.fakes.onvif_device import Behaviour, FakeProfile, OnvifDevice
from tests.fakes.ports import free_port
from tests.fakes.rtsp.raw_server import PASSWORD, USER, RawCamera, RawServer, encode
from typer.testing import CliRunner

from vision_line.cli.main import cli
from vision_line.commissioning.discovery import PORT
from vision_line.config.load import load_config

COMMAND = [sys.executable, "-m", "vision_line"]
#: A machine that is slow and busy takes its time; nobody asserts how much.
PATIENCE_S = 90.0


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment without what would be taken for a login."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CAM") and name != "CREDENTIALS_DIRECTORY"
    }
    return kept | {"COLUMNS": "200"} | more


def init(folder: Path, *words: str, typed: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command in `folder` without a terminal; `typed` is its standard input."""
    return subprocess.run(
        [*COMMAND, "init", *words],
        cwd=folder,
        input=typed,
        text=True,
        capture_output=True,
        check=False,
        timeout=PATIENCE_S,
        env=environment(**more),
    )


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `vision-line check` on what was written, as its comments say."""
    return subprocess.run(
        [*COMMAND, "check", "streams.toml"],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
        timeout=PATIENCE_S,
        env=environment(CREDENTIALS_DIRECTORY=str(folder / "secrets")),
    )


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    """Cameras: a good one, one of H.265, one with rare keyframes, and one that wants a password."""
    good = encode()
    cameras = {
        "good": RawCamera(good),
        "hevc": RawCamera(encode("hevc"), codec="hevc"),
        "rare": RawCamera(encode(frames=400, group=400)),
        "locked": RawCamera(good, auth=("md5",)),
    }
    served = RawServer(cameras)
    yield served
    served.close()


@dataclass
class Written:
    """What one run on many cameras left."""

    folder: Path
    done: subprocess.CompletedProcess[str]

    @property
    def text(self) -> str:
        """The file."""
        return (self.folder / "streams.toml").read_text(encoding="utf-8")

    def about(self, name: str) -> str:
        """Return the remarks above a camera, and its table."""
        return next(part for part in self.text.split("\n\n") if f'name = "cam-127.0.0.1-{name}"' in part)


@pytest.fixture(scope="module")
def written(server: RawServer, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Run the command on all of them, on one with a wrong password, and on a port where nobody is."""
    folder = tmp_path_factory.mktemp("line")
    urls = [server.url("good"), server.url("hevc"), server.url("rare"), server.url("locked", f"{USER}:{PASSWORD}@")]
    urls += [server.url("locked", f"{USER}:wr%23ng@"), f"rtsp://127.0.0.1:{free_port()}/nobody", server.url("missing")]
    return Written(folder, init(folder, *urls, "--snapshots", "frames"))


def test_cameras_that_cannot_be_opened_are_exit_code_2(written: Written) -> None:
    """The file is there all the same, and says of each why."""
    assert written.done.returncode == 2, written.done.stderr
    assert (
        "cannot be opened yet: cam-127.0.0.1-locked-2, cam-127.0.0.1-nobody, cam-127.0.0.1-missing"
        in written.done.stdout
    )
    assert "TO DO: the camera does not take this user and password" in written.about("locked-2")
    assert "TO DO: nothing listens there" in written.about("nobody")
    assert "TO DO: the camera has no such path" in written.about("missing")


def test_a_good_camera_is_called_good(written: Written) -> None:
    """Codec, rate and keyframes; each of them measured."""
    about = written.about("good")
    assert "H.264, 192x108, 25.0 frames/s" in about
    assert "good: H.264" in about
    assert "good: a keyframe comes every 1.0 s, regularly" in about
    assert "good: it sends no clock" in about


def test_h265_is_known_from_h264(written: Written) -> None:
    """It works, and takes more of the processor."""
    assert "good: H.265 works" in written.about("hevc")


def test_rare_keyframes_are_to_be_changed(written: Written) -> None:
    """With the number to set."""
    about = written.about("rare")
    assert "TO DO: set the keyframe interval (I-frame interval, GOP) to 1 s, which is 25 frames" in about
    assert "no second keyframe came within" in about


def test_secrets_are_in_files_of_their_own(written: Written) -> None:
    """Not in the file, not on the screen; only the owner reads them, and version control leaves them out."""
    secrets = written.folder / "secrets"
    said = written.text + written.done.stdout + written.done.stderr
    assert PASSWORD not in said
    assert "wr#ng" not in said
    assert "wr%23ng" not in said
    assert {path.name: path.read_text(encoding="utf-8") for path in secrets.iterdir()} == {
        "CAM_USER": f"{USER}\n",
        "CAM_PASSWORD": f"{PASSWORD}\n",
        "CAM2_USER": f"{USER}\n",
        "CAM2_PASSWORD": "wr#ng\n",
        ".gitignore": "*\n",
    }
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o600}


def test_the_result_passes_check(written: Written) -> None:
    """With the secrets as the file says, and not without them."""
    done = check(written.folder)
    assert done.returncode == 0, done.stderr
    assert "valid, 7 of 7 cameras enabled" in done.stdout
    assert str(written.folder / "secrets") in written.text

    urls = [
        stream.url.get_secret_value()
        for stream in load_config(
            written.folder / "streams.toml", {"CREDENTIALS_DIRECTORY": str(written.folder / "secrets")}
        ).config.stream
    ]
    assert f"{USER}:{PASSWORD}@" in urls[3]
    assert f"{USER}:wr%23ng@" in urls[4]


def test_each_camera_that_runs_leaves_a_frame(written: Written) -> None:
    """As JPEG, under its name; the others leave none."""
    frames = {path.name: cv2.imread(str(path)) for path in (written.folder / "frames").iterdir()}

    assert sorted(frames) == [f"cam-127.0.0.1-{name}.jpg" for name in ("good", "hevc", "locked", "rare")]
    assert all(frame is not None and frame.shape == (108, 192, 3) for frame in frames.values())


def test_a_file_that_is_there_is_kept(server: RawServer, tmp_path: Path) -> None:
    """Until --force; a secret of the same name gets another number, and a frame is kept as well."""
    url = server.url("locked", f"{USER}:{PASSWORD}@")
    (tmp_path / "streams.toml").write_text("mine", encoding="utf-8")
    refused = init(tmp_path, url, "--no-probe")
    assert refused.returncode == 2
    assert "streams.toml is there already: name another file, or replace it with --force" in refused.stderr
    assert (tmp_path / "streams.toml").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "secrets").exists()

    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "CAM_PASSWORD").write_text("of another file", encoding="utf-8")
    assert init(tmp_path, "other.toml", url, "--no-probe").returncode == 0
    assert "{CAM2_USER}:{CAM2_PASSWORD}@" in (tmp_path / "other.toml").read_text(encoding="utf-8")
    assert (tmp_path / "secrets" / "CAM_PASSWORD").read_text(encoding="utf-8") == "of another file"

    assert init(tmp_path, url, "--no-probe", "--force").returncode == 0
    assert (tmp_path / "secrets" / "CAM_PASSWORD").read_text(encoding="utf-8") == f"{PASSWORD}\n"
    assert check(tmp_path).returncode == 0


def test_force_for_one_file_keeps_the_secrets_of_another(tmp_path: Path) -> None:
    """Lines in one folder share its secrets; a secret that the replaced file alone has is replaced with it."""
    for file, word in (("line1.toml", "one"), ("line2.toml", "two")):
        assert init(tmp_path, file, f"rtsp://u:{word}@127.0.0.1/1", "--no-probe").returncode == 0
    for word in ("three", "four"):
        done = init(tmp_path, "line2.toml", f"rtsp://u:{word}@127.0.0.1/1", "--no-probe", "--force")
        assert done.returncode == 0, done.stderr

    secrets = tmp_path / "secrets"
    assert "{CAM_USER}:{CAM_PASSWORD}@" in (tmp_path / "line1.toml").read_text()
    assert (secrets / "CAM_PASSWORD").read_text() == "one\n"
    assert "{CAM2_USER}:{CAM2_PASSWORD}@" in (tmp_path / "line2.toml").read_text()
    assert (secrets / "CAM2_PASSWORD").read_text() == "four\n"


def test_a_frame_that_is_there_is_kept(server: RawServer, tmp_path: Path) -> None:
    """It is found before anything is written."""
    (tmp_path / "cam-127.0.0.1.jpg").write_bytes(b"mine")
    done = init(tmp_path, server.url("good"), "--snapshots", ".")

    assert done.returncode == 2
    assert "cam-127.0.0.1.jpg is there already" in done.stderr
    assert not (tmp_path / "streams.toml").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "expected a camera's URL, --from FILE or --discover"),
        (("a.toml", "b.toml"), "expected one file to write"),
        (("rtsp://admin:hunter2/x@cam/1",), "URL 1 of 1: found an @ behind the host"),
        (("rtsp://cam:port/1",), "expected rtsp://host[:port]/path"),
        (("--from", "missing.txt"), "--from missing.txt: cannot be read"),
        (("--from", "-"), "expected a camera's URL, --from FILE or --discover"),
        (("rtsp://{NOT_SET}@cam/1",), "{NOT_SET} is neither an environment variable nor a secret file"),
        (("admin:hunter2@cam",), "expected FILE.toml, an rtsp://"),
        (("nowhere/streams.toml", "rtsp://cam/1"), "there is no folder"),
        (("10.0.0.5:99999",), "with a port of 1 to 65535, found '10.0.0.5:99999'"),
        (("10.0.0.5:0",), "with a port of 1 to 65535, found '10.0.0.5:0'"),
        (("http://[cam/onvif",), "expected host[:port] of an ONVIF camera"),
        (("http:///onvif",), "expected host[:port] of an ONVIF camera"),
    ],
)
def test_what_is_missing_or_wrong_is_exit_code_2(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """In one sentence and without a password; nothing is written. In this process: so many would take long to start."""
    without_logins = dict.fromkeys(os.environ.keys() - environment().keys())
    with contextlib.chdir(tmp_path):
        done = CliRunner().invoke(cli, ["init", *words, "--no-probe"], env=without_logins | {"COLUMNS": "200"})

    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert "hunter2" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_cameras_come_from_a_list(tmp_path: Path) -> None:
    """Of a file or the standard input; each once."""
    done = init(
        tmp_path,
        "--from",
        "-",
        "--no-probe",
        typed="# line 1\nrtsp://10.0.0.21/1\n\nrtsp://10.0.0.22/1\nrtsp://10.0.0.21/1\n",
    )

    assert done.returncode == 0, done.stderr
    assert [stream.name for stream in load_config(tmp_path / "streams.toml", {}).config.stream] == [
        "cam-10.0.0.21",
        "cam-10.0.0.22",
    ]
    assert "# not opened yet" in (tmp_path / "streams.toml").read_text(encoding="utf-8")


@pytest.fixture
def start_device(server: RawServer) -> Iterator[Callable[[int | None], OnvifDevice]]:
    """Start an ONVIF camera whose stream is the server's locked one."""
    devices: list[OnvifDevice] = []

    def start(discovery_port: int | None = None) -> OnvifDevice:
        profile = FakeProfile(f"rtsp://192.168.1.108:{server.port}/locked")
        devices.append(OnvifDevice(Behaviour({"P": profile}), discovery_port))
        return devices[-1]

    yield start
    for device in devices:
        device.close()


def test_an_onvif_camera_is_named_by_its_address(tmp_path: Path, start_device: Callable[..., OnvifDevice]) -> None:
    """Its login is taken from the environment, and stays there."""
    device = start_device()
    done = init(tmp_path, f"127.0.0.1:{device.port}", CAM_USER=USER, CAM_PASSWORD=PASSWORD)

    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "streams.toml").read_text(encoding="utf-8")
    assert 'url = "rtsp://{CAM_USER}:{CAM_PASSWORD}@127.0.0.1' in text
    assert PASSWORD not in text
    assert not (tmp_path / "secrets").exists()


def test_an_onvif_camera_without_a_login_is_left_out(
    tmp_path: Path, server: RawServer, start_device: Callable[..., OnvifDevice]
) -> None:
    """The rest is written, and the exit code says that something is missing."""
    device = start_device()
    done = init(tmp_path, f"127.0.0.1:{device.port}", server.url("good"))

    assert done.returncode == 2
    assert "asks for a user and a password" in done.stderr
    assert "CAM_USER and CAM_PASSWORD" in done.stderr
    assert [stream.name for stream in load_config(tmp_path / "streams.toml", {}).config.stream] == ["cam-127.0.0.1"]


class Terminal:
    """The command at a pseudo-terminal, with a person who waits for a question before they answer."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._master, slave = pty.openpty()
        self.shown = ""
        self._read_to = 0
        self.process = subprocess.Popen(
            [*COMMAND, "init", *words],
            cwd=folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(),
            start_new_session=True,
        )
        os.close(slave)

    def answer(self, question: str, answer: str) -> None:
        """Wait for the question, which comes after those before, and type."""
        self._wait(lambda: question in self.shown[self._read_to :], question)
        self._read_to = self.shown.index(question, self._read_to) + len(question)
        os.write(self._master, f"{answer}\n".encode())

    def end(self) -> int:
        """Wait for the end and return the exit code."""
        self._wait(lambda: self.process.poll() is not None, "its end")
        self._take()
        return self.process.wait()

    def close(self) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _wait(self, is_over: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not is_over():
            if time.monotonic() > deadline_s:
                pytest.fail(f"no {what!r} in:\n{self.shown}")
            self._take()

    def _take(self) -> None:
        while select.select([self._master], [], [], 0.05)[0]:
            try:
                data = os.read(self._master, 4096)
            except OSError:  # the other end is closed
                return
            self.shown += data.decode(errors="replace")


@pytest.fixture
def sit_at(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Start the command at a terminal: `sit_at(*words)`."""
    terminals: list[Terminal] = []

    def start(*words: str) -> Terminal:
        terminals.append(Terminal(tmp_path, *words))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def test_a_newcomer_is_asked_for_everything(
    tmp_path: Path, server: RawServer, start_device: Callable[..., OnvifDevice], sit_at: Callable[..., Terminal]
) -> None:
    """The camera on the network is found, one more is typed, and the password is not shown."""
    device = start_device(PORT)
    terminal = sit_at()
    terminal.answer("Which of them?", "999")
    listed = re.search(rf"(\d+)  127.0.0.1  Line cam {device.port} X1", terminal.shown)
    assert listed, terminal.shown
    terminal.answer("Which of them?", listed[1])
    terminal.answer("Camera:", server.url("good"))
    terminal.answer("Camera:", "")
    terminal.answer("User of 127.0.0.1", USER)
    terminal.answer("Password", "wrong")
    terminal.answer("User of 127.0.0.1", USER)
    terminal.answer("Password", PASSWORD)

    assert terminal.end() == 0, terminal.shown
    assert PASSWORD not in terminal.shown
    assert check(tmp_path).returncode == 0
    assert (tmp_path / "secrets" / "CAM_PASSWORD").read_text(encoding="utf-8") == f"{PASSWORD}\n"
    text = (tmp_path / "streams.toml").read_text(encoding="utf-8")
    assert "cam-127.0.0.1-locked" in text
    assert "cam-127.0.0.1-good" in text
    assert "cannot be opened" not in text


def test_a_wrong_login_can_be_corrected(tmp_path: Path, server: RawServer, sit_at: Callable[..., Terminal]) -> None:
    """Once for all cameras that shared it: they are opened again with the new one, and only that is kept."""
    terminal = sit_at(server.url("locked", f"{USER}:hunter2@"), server.url("locked/2", f"{USER}:hunter2@"))
    terminal.answer(f"User of rtsp://***@127.0.0.1:{server.port}/locked and 1 more", USER)
    terminal.answer("Password", PASSWORD)

    assert terminal.end() == 0, terminal.shown
    assert "hunter2" not in terminal.shown
    assert (tmp_path / "secrets" / "CAM_PASSWORD").read_text(encoding="utf-8") == f"{PASSWORD}\n"
    assert not (tmp_path / "secrets" / "CAM2_PASSWORD").exists()
    assert check(tmp_path).returncode == 0


def test_ctrl_c_ends_the_questions(tmp_path: Path, sit_at: Callable[..., Terminal]) -> None:
    """With its own exit code, and nothing written."""
    terminal = sit_at()
    terminal.answer("Camera:", "rtsp://10.0.0.1/1")
    terminal._wait(lambda: terminal.shown.count("Camera:") == 2, "second question")
    os.killpg(terminal.process.pid, signal.SIGINT)

    assert terminal.end() == 130, terminal.shown
    assert "Traceback" not in terminal.shown
    assert not list(tmp_path.iterdir())
