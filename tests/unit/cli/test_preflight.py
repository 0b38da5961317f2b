# SPDX-License-Identifier: AGPL-3.0-or-later
"""`check` finds what a run would refuse at its start, all at once, each with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.app.program import RunOptions
from vision_line.cli.checking import check_file
from vision_line.devices.model import open_model

CAMERA = '[[stream]]\nname = "{name}"\nurl = "rtsp://127.0.0.1:1/x"\n'


def check(
    folder: Path, text: str, capsys: pytest.CaptureFixture[str], model: Path | None = None, device: str | None = None
) -> tuple[int, list[str]]:
    """Check a configuration with records below `folder`; return the exit code and what was said of it on stderr."""
    path = folder / "streams.toml"
    path.write_text(f"config_version = 1\n{text}", encoding="utf-8")
    code = check_file(RunOptions(path, model=model, device=device), probe=False)
    return code, [line.replace(f"{path}:", "") for line in capsys.readouterr().err.splitlines()]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_good_configuration_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said, and nothing is made."""
    assert check(tmp_path, CAMERA.format(name="a"), capsys) == (0, [])
    assert [path.name for path in tmp_path.iterdir()] == ["streams.toml"]


def test_all_problems_are_found_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Classes, device, files and outputs, with their lines; a disabled camera is not looked at."""
    (tmp_path / "in-the-way").touch()
    text = (
        '[model]\ndevice = "cuda:7"\n'
        '[record]\ndirectory = "in-the-way/records"\n'
        '[dashboard]\nsvg = "nowhere/last.svg"\n'
        "[defaults]\nreject_thresholds = { shrot = 0.5 }\n"
        + CAMERA.format(name="a")
        + "thresholds = { open = 0.5, scrach = 0.5 }\n"
        + '[[stream]]\nname = "b"\nurl = "file:gone.mp4"\n'
        + '[[stream]]\nname = "c"\nurl = "file:empty/*.png"\n'
        + '[[stream]]\nname = "d"\nurl = "file:gone.mp4"\nenabled = false\n'
    )
    code, said = check(tmp_path, text, capsys)
    known = ", ".join(open_model(None).classes)

    assert code == 2
    assert said == [
        f"13: stream[a].thresholds.scrach: no class of the model, expected one of {known}",
        f"9: defaults.reject_thresholds.shrot: no class of the model, expected one of {known}",
        *[line for line in said if line.startswith("3: model.device: ")],
        f"16: stream[b].url: camera 'b': NOT_FOUND: no file '{tmp_path}/gone.mp4'",
        f"19: stream[c].url: camera 'c': NOT_FOUND: no pictures at '{tmp_path}/empty/*.png'",
        "5: record.directory: in-the-way/records: cannot be written: Not a directory",
        "7: dashboard.svg: nowhere/last.svg: cannot be written: No such file or directory",
    ]
    assert len(said) == 7


def test_a_missing_model_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file's model and the command line's, which goes before it."""
    text = '[model]\npath = "none"\n' + CAMERA.format(name="a")
    wanted = "not found, expected a bundle folder or an ONNX file"

    assert check(tmp_path, text, capsys) == (2, [f"3: model.path: {tmp_path}/none: {wanted}"])
    assert check(tmp_path, text, capsys, model=Path("other.onnx")) == (2, [f"--model: other.onnx: {wanted}"])
    assert check(tmp_path, text, capsys, model=open_model(None).path.parent) == (0, [])


def test_an_unknown_device_of_the_command_line_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named as the option that it is."""
    code, said = check(tmp_path, CAMERA.format(name="a"), capsys, device="toaster")

    assert code == 2
    assert said[0].startswith("--device: ")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("inspect_fps = 1.0\ndwell_s = 2.0\n", ["5: stream[a].inspect_fps"]),
        ("inspect_fps = 0.5\nmax_inspection_gap_ms = 1500\n", ["5: stream[a].inspect_fps"]),
        ("inspect_fps = 1.1\ndwell_s = 2.0\n", []),
        ("inspect_fps = 0.5\nmax_inspection_gap_ms = 2500\n", []),
    ],
)
def test_inspections_rarer_than_the_allowed_gap_are_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: str, said: list[str]
) -> None:
    """Such a camera is logged as not inspected all the time: that is said, and is no error."""
    code, lines = check(tmp_path, CAMERA.format(name="a") + keys, capsys)

    assert code == 0
    assert [line.split(": an inspection every")[0] for line in lines] == [f"warning: {place}" for place in said]


def test_an_inherited_warning_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sixteen cameras with one `[defaults]` have one problem."""
    text = "[defaults]\ninspect_fps = 0.5\n" + "".join(CAMERA.format(name=f"cam{n}") for n in range(16))
    _, lines = check(tmp_path, text, capsys)

    assert len(lines) == 1
    assert lines[0].startswith("warning: 3: defaults.inspect_fps: an inspection every 2 s")
