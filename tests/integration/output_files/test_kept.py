# SPDX-License-Identifier: AGPL-3.0-or-later
"""No output replaces the records, what a command reads, or another output; nothing is written before that is known."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from tests.fakes.tiny_model import build_tiny_model
from typer.testing import CliRunner

from vision_line.cli.main import cli
from vision_line.devices.model.model import SHIPPED_BUNDLE
from vision_line.records.schema import FILE_NAME, open_writer
from vision_line.runtime.protected_files import ProtectedFile, is_same, kept_records, overwritten

STREAMS = """config_version = 1
[[stream]]
name = "a"
url = "rtsps://127.0.0.1:1/x"
tls_ca_file = "ca.pem"
[[stream]]
name = "b"
url = "file:images"
[[stream]]
name = "c"
url = "file:c.mp4"
"""
FILES = ("images/1.png", "c.mp4", "ca.pem", "rec/evidence/day/e1.jpg", "rec/lock", "rec/vision-line.log")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with records, sources, a model, and links to them."""
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    Path("o.toml").write_text(STREAMS)
    open_writer(Path("rec") / FILE_NAME).close()
    Path("tiny.onnx").write_bytes(build_tiny_model())
    shutil.copytree(SHIPPED_BUNDLE, "bundle")
    Path("link").symlink_to("rec/records.sqlite")
    Path("folder").symlink_to("rec")
    Path("x_images").symlink_to("rec/evidence")
    os.link("rec/records.sqlite", "hard")
    os.link("rec/evidence/day/e1.jpg", "hard.jpg")
    return tmp_path


def contents() -> dict[str, str]:
    """Return what lies in the working directory."""
    files = [path for path in Path().rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def refused(*arguments: str) -> str:
    """Run a command that must be refused and leave all as it is; return what it said."""
    before = contents()
    done = CliRunner().invoke(cli, arguments)
    assert (done.exit_code, contents()) == (2, before), done.output
    return done.stderr


RECORDS = [
    ("rec/records.sqlite", "the record file"),
    ("rec/parts.sqlite-wal", "the parts"),
    ("rec/../rec/records.sqlite", "the record file"),
    ("link", "the record file"),
    ("folder/records.sqlite", "the record file"),
    ("hard", "the record file"),
    ("rec/records.sqlite-wal", "the record file"),
    ("rec/records.sqlite-shm", "the record file"),
    ("rec/records.sqlite-journal", "the record file"),
    ("rec/evidence/day/e1.jpg", "the evidence"),
    ("folder/evidence/day/new", "the evidence"),
    ("hard.jpg", "the evidence"),
    ("rec/lock", "the records' lock"),
    ("rec/vision-line.log", "the log"),
]
READ = [
    ("o.toml", "the streams file"),
    ("tiny.onnx", "the model"),
    ("images/1.png", "stream[b].url"),
    ("c.mp4", "stream[c].url"),
    ("ca.pem", "stream[a].tls_ca_file"),
]


@pytest.mark.parametrize(("path", "what"), RECORDS)
def test_no_export_replaces_the_records(path: str, what: str) -> None:
    """Whatever the path or link that leads to them."""
    said = refused("export", "--record", "rec", "--table", "events", "-o", path)
    assert said == f"vision-line: -o {path}: would replace {what}, expected another path\n"


def test_no_images_of_an_export_go_among_the_evidence() -> None:
    """COCO's folder beside the file may be a link."""
    assert "-o x_images: would replace the evidence" in refused(
        "export", "--record", "rec", "--format", "coco", "-o", "x.json"
    ).replace(str(Path.cwd()) + "/", "")


@pytest.mark.parametrize(("path", "what"), RECORDS + READ)
def test_no_summary_replaces_what_the_run_records_or_reads(path: str, what: str) -> None:
    """It is refused before a camera is opened."""
    said = refused(
        "--streams", "o.toml", "--record", "rec", "--model", "tiny.onnx", "--duration", "1", "--summary", path
    )
    assert f"--summary {path}: would replace {what}, expected another path" in said


def test_each_output_of_a_run_has_a_path_of_its_own() -> None:
    """Also where it is not there yet."""
    Path("o.toml").write_text(f'{STREAMS}[dashboard]\nsvg = "rec/../new"\n')
    run = ("--streams", "o.toml", "--duration", "1")
    assert "dashboard.svg: rec/../new: would replace --summary new, expected" in refused(*run, "--summary", "new")
    assert "dashboard.svg: rec/../new: would replace --overlay new, expected" in refused(*run, "--overlay", "new")


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "proof.npz", "engines/new"])
def test_no_report_replaces_a_bundles_files(name: str) -> None:
    """Other files may lie beside them."""
    Path("bundle/engines").mkdir()
    asked = ("selftest", "--device", "cpu", "--quick", "--model", "bundle", "--json", f"bundle/{name}")
    assert f"--json bundle/{name}: would replace the model, expected another path" in refused(*asked)


@pytest.mark.parametrize(
    "arguments",
    [("--overlay", "records/evidence"), ("--overlay", "link-to-records"), ("--overlay", "records/evidence/x")],
)
def test_no_video_goes_among_the_evidence(arguments: tuple[str, ...]) -> None:
    """Nor into the folder of a camera whose name is that of the evidence's."""
    Path("link-to-records").symlink_to("records")
    Path("records").mkdir()
    Path("o.toml").write_text(STREAMS.replace('"a"', '"evidence"'))
    said = refused("--streams", "o.toml", "--duration", "1", *arguments)
    assert said == f"vision-line: {' '.join(arguments)}: would replace the evidence, expected another path\n"


def test_no_capture_goes_among_the_evidence() -> None:
    """A new folder there would be one of the evidence's."""
    Path("rec").rename("records")
    said = refused("capture", "--streams", "o.toml", "-o", "records/evidence/new", "--duration", "1")
    assert "-o records/evidence/new: would replace the evidence, expected another path" in said


def test_other_files_are_written_as_ever() -> None:
    """Beside the records, through a link of one's own, and devices as often as one likes."""
    Path("mine").symlink_to("rec/events.csv")
    kept = list(kept_records(Path("rec")))
    null = Path("/dev/null")
    assert overwritten([("-o", Path("mine")), ("a", null), ("b", null), ("c", Path("-")), ("d", None)], kept) == []
    assert CliRunner().invoke(cli, ["export", "--record", "rec", "-o", "mine"]).exit_code == 0
    assert Path("rec/events.csv").is_file()


def test_a_path_is_compared_where_it_is_not_there_yet(place: Path) -> None:
    """By the folder that it will be in."""
    assert is_same(place / "no" / "x", place / "no" / "x")
    assert not is_same(place / "no" / "x", place / "other" / "x")
    assert overwritten([("-o folder/new", Path("folder/new"))], [ProtectedFile(Path("rec/new"), "it")]) != []


def test_a_loop_of_links_is_refused() -> None:
    """In a sentence."""
    Path("loop").symlink_to("loop")
    said = refused("--streams", "o.toml", "--duration", "1", "--summary", "loop")
    assert said == "vision-line: --summary loop: cannot be written: Too many levels of symbolic links\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "--record", "rec", "-o", "new/folder/x"),
        ("export", "--record", "rec", "--format", "coco", "-o", "new/folder/x"),
        ("--streams", "o.toml", "--summary", "new/folder/x"),
        ("selftest", "--json", "new/folder/x"),
        ("simulate", "--sent-log", "new/folder/x"),
    ],
)
def test_the_folder_of_a_file_is_not_made(place: Path, arguments: tuple[str, ...]) -> None:
    """A mistyped folder would be made and forgotten: every command refuses it in the same words."""
    assert f"new/folder/x: cannot be written: there is no folder {place}/new/folder\n" in refused(*arguments)
    assert not Path("new").exists()
