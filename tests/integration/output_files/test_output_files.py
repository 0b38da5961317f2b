# SPDX-License-Identifier: AGPL-3.0-or-later
"""Files that a user names: replaced when whole, links kept, devices and pipes written through, refusals in one line."""

from __future__ import annotations

import os
import pty
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from vision_line import output_files
from vision_line.errors import ConfigError, RunError
from vision_line.output_files import open_output, output_problem, write_output


def test_a_file_is_replaced_when_it_is_whole(tmp_path: Path) -> None:
    """Until then, and where the writing fails, the old one is there; nothing is left beside it."""
    path = tmp_path / "out.json"
    path.write_text("old")
    path.chmod(0o640)
    with pytest.raises(LookupError), open_output(path) as file:
        fail_after(file)
    assert path.read_text() == "old"

    with open_output(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def fail_after(file: BinaryIO) -> None:
    file.write(b"half")
    raise LookupError


@pytest.mark.parametrize("target", ["there.json", "not-yet.json"])
def test_a_link_stays_and_its_target_is_written(tmp_path: Path, target: str) -> None:
    """Also a link to a link, and one whose target is not there yet."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "there.json").write_text("old")
    (tmp_path / "middle").symlink_to(Path("data", target))
    link = tmp_path / "link"
    link.symlink_to("middle")
    write_output(link, "new")

    assert link.is_symlink()
    assert (tmp_path / "data" / target).read_text() == "new"
    assert not (tmp_path / "data" / target).is_symlink()


def test_a_device_is_written_through(tmp_path: Path) -> None:
    """A terminal is a device as /dev/null is; through a link too, and it is one afterwards."""
    master, slave = pty.openpty()
    link = tmp_path / "link"
    link.symlink_to(os.ttyname(slave))
    write_output(link, "words")

    assert os.read(master, 100) == b"words"
    assert stat.S_ISCHR(link.stat().st_mode)
    assert link.is_symlink()
    os.close(master)
    os.close(slave)


def test_a_fifo_is_written_through(tmp_path: Path) -> None:
    """Its reader gets the bytes, and it stays a FIFO."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()))
    reader.start()
    write_output(fifo, "words" * 50_000)
    reader.join()

    assert read == ["words" * 50_000]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_fifo_without_a_reader_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose summary goes there ends all the same."""
    monkeypatch.setattr(output_files, "READER_WAIT_S", 0.05)
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(RunError, match=r"--summary .*fifo: cannot be written: nobody read it"):
        write_output(tmp_path / "fifo", "words", "--summary")


def test_a_socket_is_written_through(tmp_path: Path) -> None:
    """As to a collector that listens there."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        write_output(tmp_path / "socket", "words")
        connection, _ = server.accept()
        with connection:
            assert connection.recv(100) == b"words"


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_is_written_into_and_not_replaced(tmp_path: Path, name: str) -> None:
    """Where it is a file, what was in it stays, and what others write there comes after."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    program = (
        "import sys\nfrom pathlib import Path\nfrom vision_line.output_files import write_output\n"
        f"print('before')\nwrite_output(Path({name!r}), 'words\\n')\nprint('after')"
    )
    with (tmp_path / "out").open("w") as file:
        file.write("first\n")
        file.flush()
        subprocess.run([sys.executable, "-c", program], stdout=file, check=True, cwd=tmp_path)

    assert (tmp_path / "out").read_text() == "first\nbefore\nwords\nafter\n"


def test_a_descriptor_of_our_own_is_no_output(tmp_path: Path) -> None:
    """The number of a database that the program has open is not one that a user gave."""
    with (tmp_path / "database").open("w") as file, pytest.raises(RunError, match="Bad file descriptor"):
        write_output(Path(f"/dev/fd/{file.fileno()}"), "words")
    assert (tmp_path / "database").read_text() == ""


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """As an option that is wrong."""
    with pytest.raises(ConfigError, match="is a folder"):
        write_output(tmp_path, "words")
    assert "is a folder" in output_problem(tmp_path)


@pytest.mark.parametrize(
    ("mount", "said"),
    [("size=64k,ro", "Read-only file system"), ("size=64k", "No space left on device")],
    ids=["read-only", "full"],
)
def test_a_disk_that_refuses_is_one_sentence(tmp_path: Path, mount: str, said: str) -> None:
    """The first error is told, and nothing stays behind."""
    program = (
        "from pathlib import Path\nfrom vision_line.errors import RunError\n"
        "from vision_line.output_files import write_output\n"
        f"place = Path({str(tmp_path)!r})\n"
        "try:\n    write_output(place / 'x.csv', 'x' * 100_000)\n"
        "except RunError as exc:\n    print(exc, list(place.iterdir()))\n"
    )
    script = f'mount -t tmpfs -o {mount} none {tmp_path} && exec {sys.executable} -c "$PROGRAM"'
    private = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    done = subprocess.run(
        [*private, "sh", "-c", script],
        env={**os.environ, "PROGRAM": program},
        text=True,
        capture_output=True,
        check=False,
    )

    assert done.stdout == f"{tmp_path}/x.csv: cannot be written: {said} []\n", done.stderr


def test_a_file_of_ours_in_a_folder_of_others_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that takes no new file does not keep us from a file that does; for root none refuses."""
    path = tmp_path / "out.csv"
    path.write_text("a longer text")
    open_ = os.open

    def refuse(name: str, flags: int, *rest: int) -> int:
        if flags & os.O_CREAT and flags & os.O_EXCL:
            raise PermissionError(13, "Permission denied")
        return open_(name, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    write_output(path, "new")
    assert path.read_text() == "new"
    with pytest.raises(RunError, match="Permission denied"):
        write_output(tmp_path / "other.csv", "new")
