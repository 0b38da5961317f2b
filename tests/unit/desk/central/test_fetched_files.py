# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images of the boxes at the centre: fetched by hash from a real server, checked, kept up to a limit."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.fakes.ports import free_port

from vision_line.desk.boxes import PresentBoxes, shown_of
from vision_line.desk.central.box_addresses import BoxAddress, read_boxes
from vision_line.desk.central.fetched_files import COPIES, LEFT_ALONE_S, FetchedFiles
from vision_line.desk.found.file_source import FileGoneError, RecordedFile, UnreachableBoxError
from vision_line.errors import ConfigError, RunError

TOKEN = "t" * 40
RUN = 2**40 + 1


@dataclass
class BoxDesk:
    """A server with some contents by their paths; `asked` are the requests that had the token."""

    contents: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    port: int = 0

    def put(self, content: bytes, sent: bytes | None = None) -> RecordedFile:
        """Have a content, of which something else may be sent."""
        digest = hashlib.sha256(content).hexdigest()
        self.contents[f"/fleet/files/{digest}"] = content if sent is None else sent
        return RecordedFile(RUN, "evidence", "evidence/1.jpg", digest, "the enlarged defect")


@pytest.fixture
def box() -> Iterator[BoxDesk]:
    """Yield a box's desk, as far as files are concerned."""
    desk = BoxDesk()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            content = desk.contents.get(self.path)
            if is_known:
                desk.asked.append(self.path)
            self.send_response(401 if not is_known else 404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        desk.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield desk
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def of_hall_1() -> Iterator[None]:
    with shown_of(PresentBoxes({1: "hall-1"})):
        yield


def fetched(directory: Path, port: int, token: str = TOKEN, **more: object) -> FetchedFiles:
    """Return the files of a box on a port of this machine."""
    address = BoxAddress("hall-1", f"http://127.0.0.1:{port}", "127.0.0.1", port, is_tls=False, ca=None)
    return FetchedFiles(directory, {"hall-1": address}, token, **more)  # type: ignore[arg-type]


def test_a_file_is_fetched_once(tmp_path: Path, box: BoxDesk) -> None:
    wanted, files = box.put(b"image"), fetched(tmp_path, box.port)
    for _ in range(3):
        with files.open(wanted) as file:
            assert file.read() == b"image"
    assert len(box.asked) == 1


def test_what_is_not_the_recorded_file_is_never_kept(tmp_path: Path, box: BoxDesk) -> None:
    """Whoever can answer for a box must not choose what the centre shows."""
    wanted, files = box.put(b"image", b"another image"), fetched(tmp_path, box.port)
    with pytest.raises(RunError, match="SHA-256 differs"):
        files.open(wanted)
    assert not [path for path in (tmp_path / COPIES).rglob("*") if path.is_file()]


def test_a_box_that_does_not_answer_is_named_and_left_alone_for_a_while(tmp_path: Path, box: BoxDesk) -> None:
    clock, port = [0.0], free_port()
    files = fetched(tmp_path, port, clock=lambda: clock[0])
    wanted = box.put(b"image")
    with pytest.raises(UnreachableBoxError, match="hall-1 has the enlarged defect, and cannot be reached"):
        files.open(wanted)
    files.boxes = fetched(tmp_path, box.port).boxes  # it is back
    with pytest.raises(UnreachableBoxError):
        files.open(wanted)
    clock[0] += LEFT_ALONE_S
    with files.open(wanted) as file:
        assert file.read() == b"image"


def test_another_token_is_said(tmp_path: Path, box: BoxDesk) -> None:
    with pytest.raises(UnreachableBoxError, match="its desk knows another token") as refused:
        fetched(tmp_path, box.port, "u" * 40).open(box.put(b"image"))
    assert "u" * 40 not in str(refused.value)


def test_a_file_that_the_box_removed_is_gone(tmp_path: Path, box: BoxDesk) -> None:
    wanted = box.put(b"image")
    box.contents.clear()
    with pytest.raises(FileGoneError, match="hall-1"):
        fetched(tmp_path, box.port).open(wanted)


def test_a_box_without_an_address_is_named(tmp_path: Path) -> None:
    wanted = RecordedFile(RUN, "evidence", "evidence/1.jpg", "0" * 64, "the untouched frame")
    with pytest.raises(UnreachableBoxError, match="does not know where the desk of hall-1 is"):
        FetchedFiles(tmp_path, {}, TOKEN).open(wanted)


@pytest.mark.parametrize("sha256", [None, "../../../etc/passwd", "0" * 63])
def test_only_a_hash_is_asked_for(tmp_path: Path, box: BoxDesk, sha256: str | None) -> None:
    with pytest.raises(FileGoneError):
        fetched(tmp_path, box.port).open(RecordedFile(RUN, "evidence", "evidence/1.jpg", sha256, "it"))
    assert not box.asked


def test_copies_stay_below_their_limit(tmp_path: Path, box: BoxDesk) -> None:
    """The ones that were used last stay."""
    files = fetched(tmp_path, box.port, kept_mb=0.0025)
    for content in (b"a" * 1000, b"b" * 1000, b"c" * 1000, b"d" * 1000):
        files.open(box.put(content)).close()
    left = [path for path in (tmp_path / COPIES).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in left) <= 2500
    assert hashlib.sha256(b"d" * 1000).hexdigest() in {path.name for path in left}


def test_the_token_is_in_no_representation(tmp_path: Path) -> None:
    assert TOKEN not in repr(FetchedFiles(tmp_path, {}, TOKEN))


def test_boxes_are_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "boxes.toml").write_text(
        '[[box]]\nname = "hall-1"\ndesk = "https://hall-1.plant.example:8443/"\nca = "plant.pem"\n'
        '[[box]]\nname = "hall-2"\ndesk = "http://10.0.0.2:8080"\nallow_http = true\n'
    )
    found = read_boxes(tmp_path / "boxes.toml")
    hall_1, hall_2 = found["hall-1"], found["hall-2"]
    assert (hall_1.host, hall_1.port, hall_1.is_tls, hall_1.ca) == (
        *("hall-1.plant.example", 8443, True),
        tmp_path / "plant.pem",
    )
    assert (hall_1.url, hall_2.is_tls) == ("https://hall-1.plant.example:8443", False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[box]]\nname = "a"\ndesk = "http://10.0.0.2"', "http shows the token"),
        ('[[box]]\nname = "a"\ndesk = "ftp://10.0.0.2"', "expected https://HOST:PORT"),
        ('[[box]]\nname = "a"\ndesk = "https://u:p@10.0.0.2"', "expected https://HOST:PORT"),
        ('[[box]]\nname = "a:b"\ndesk = "https://10.0.0.2"', "name"),
        ('[[box]]\nname = "a"\ndesk = "https://b"\nport = 1', "port"),
        ('[[box]]\nname = "a"\ndesk = "https://b"\n[[box]]\nname = "a"\ndesk = "https://c"', "two boxes"),
        ("[[box", "boxes.toml"),
    ],
)
def test_what_is_wrong_in_the_file_is_said(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "boxes.toml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_boxes(tmp_path / "boxes.toml")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_boxes(tmp_path / "none.toml")
