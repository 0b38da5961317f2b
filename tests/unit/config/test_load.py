# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reading streams.toml: defaults, secrets, and every problem at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.config.load import load_config
from vision_line.config.models import Config
from vision_line.errors import ConfigError

ROOT = Path(__file__).parents[3]


def write(folder: Path, text: str) -> Path:
    path = folder / "streams.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(folder: Path, text: str) -> list[str]:
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, environment={})
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def test_two_keys_make_a_camera(tmp_path: Path) -> None:
    """A name and a URL are enough; all else has a default."""
    loaded = load_config(
        write(tmp_path, 'config_version = 1\n[[stream]]\nname = "a"\nurl = "rtsp://host/x"\n'), environment={}
    )

    (stream,) = loaded.config.stream
    assert (stream.name, stream.transport, stream.is_live, stream.inspection_gap_s) == ("a", "tcp", True, 1.0)


def test_defaults_reach_every_camera_and_a_camera_overrides_them(tmp_path: Path) -> None:
    """`[defaults]` holds for each `[[stream]]` that does not say otherwise."""
    text = """config_version = 1
[defaults]
dwell_s = 6
transport = "udp"
[[stream]]
name = "a"
url = "rtsp://host/a"
[[stream]]
name = "b"
url = "rtsp://host/b"
dwell_s = 1
max_inspection_gap_ms = 250
"""
    first, second = load_config(write(tmp_path, text), environment={}).config.stream

    assert (first.dwell_s, first.transport, first.inspection_gap_s) == (6.0, "udp", 3.0)
    assert (second.dwell_s, second.transport, second.inspection_gap_s) == (1.0, "udp", 0.25)


def test_all_problems_are_reported_together_with_line_key_found_and_expected(tmp_path: Path) -> None:
    """One run of `check` shows everything that is wrong."""
    text = """config_version = 2
[defaults]
dwell_s = "x"
dwel_s = 1
[[stream]]
name = "a b"
url = "http://user:secret@host/x"
[[stream]]
name = "b"
url = "rtsp://{CAM_USER}@host/x"
roi = [[[0, 1], [2, 3], [0, 0]]]
[[stream]]
name = "b"
thresholds = { open = 3 }
"""
    found = problems_of(tmp_path, text)

    assert found == [
        "1: config_version: found 2, expected 1",
        "3: defaults.dwell_s: found 'x', expected a valid number",
        "4: defaults.dwel_s: unknown key, did you mean dwell_s?",
        "6: stream[a b].name: expected 1 to 64 letters, digits, '_', '.', '-', found 'a b'",
        "7: stream[a b].url: expected rtsp://, rtsps:// or file:, found http://",
        "10: stream[b].url: {CAM_USER} is neither an environment variable nor a secret file",
        "11: stream[b].roi[1][2][1]: found 2, expected less than or equal to 1",
        "11: stream[b].roi[1][2][2]: found 3, expected less than or equal to 1",
        "12: stream[b].url: is missing",
        "13: stream[b].name: 'b' is already the name of stream 2, expected unique names",
        "14: stream[b].thresholds.open: found 3, expected less than 1",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("config_version = 1\n", "1: stream: is missing"),
        ("config_version = 1\nstream = []\n", "2: stream: found [], list should have at least 1 item"),
        ("config_version = \n", "1: not valid TOML: Invalid value (column 18)"),
        ("config_version = 1\n\n[[stream]\n", "3: not valid TOML: "),
        ('config_version = 1\na = "\nb', "2: not valid TOML: "),
        ("config_version = 1\na = [1,\n2", "3: not valid TOML: "),
        ('[model]\ndevice = "simulated"\n', "2: model.device: found 'simulated'"),
        ('config_version = 1\n[[stream]]\nname = "a"\nurl = "rtsp://"\n', "4: stream[a].url: expected a host name"),
        ('config_version = 1\n[[stream]]\nname = "a"\nurl = "rtsp://h:99999/"\n', "expected rtsp://host[:port]/path"),
        ('config_version = 1\n[[stream]]\nname = "a"\nurl = 7\n', "4: stream[a].url: expected a string, found int"),
        ('config_version = 1\n[[stream]]\nname = "a"\nurl = "rtsp://h/"\nenabled = 1\n', "stream[a].enabled: found 1"),
    ],
)
def test_each_fault_has_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    """The message says where, what was found and what was expected."""
    assert any(said in problem for problem in problems_of(tmp_path, text))


@pytest.mark.parametrize(
    ("url", "opened"),
    [("file:videos/a.mp4", "file:{folder}/videos/a.mp4"), ("file:/a.mp4", "file:/a.mp4"), ("file:///a", "file:///a")],
)
def test_relative_file_urls_are_relative_to_the_configuration(tmp_path: Path, url: str, opened: str) -> None:
    """The working directory does not matter."""
    text = f'config_version = 1\n[[stream]]\nname = "a"\nurl = "{url}"\n'
    (stream,) = load_config(write(tmp_path, text), environment={}).config.stream

    assert stream.url.get_secret_value() == opened.format(folder=tmp_path)
    assert not stream.is_live


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    """No traceback for a wrong path."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file"):
        load_config(tmp_path / "nowhere.toml")


def test_secrets_come_from_the_environment_or_a_secret_file_and_are_never_shown(tmp_path: Path) -> None:
    """A password is usable, and in no repr, dump or display URL."""
    (tmp_path / "CAM_PASSWORD").write_text("p@ss/word\n", encoding="utf-8")
    text = 'config_version = 1\n[[stream]]\nname = "a"\nurl = "rtsp://{CAM_USER}:{CAM_PASSWORD}@host/x"\n'
    environment = {"CAM_USER": "eve", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    loaded = load_config(write(tmp_path, text), environment=environment)

    (stream,) = loaded.config.stream
    assert stream.url.get_secret_value() == "rtsp://eve:p%40ss%2Fword@host/x"
    assert stream.display_url == "rtsp://***@host/x"
    for shown in (repr(loaded), str(stream), stream.model_dump_json(), loaded.config.model_dump_json()):
        assert "ss%2F" not in shown
        assert "word" not in shown.replace("CAM_PASSWORD", "")


def test_the_repositorys_own_file_is_valid_and_names_16_cameras() -> None:
    """What `make demo` runs on."""
    config: Config = load_config(ROOT / "streams.toml").config

    assert len(config.enabled_streams) == 16
    assert config.simulator is not None
    assert all(str(config.simulator.port) in stream.display_url for stream in config.stream)


def test_only_the_first_cameras_are_left_enabled(tmp_path: Path) -> None:
    """Of those that are enabled in the file; it stays so when the file is read again."""
    camera = '[[stream]]\nname = "{}"\nurl = "rtsp://h/x"\n'
    path = tmp_path / "streams.toml"
    off = camera.format("b") + "enabled = false\n"
    path.write_text("config_version = 1\n" + camera.format("a") + off + camera.format("c") + camera.format("d"))
    loaded = load_config(path, first=2)

    assert loaded.first == 2
    assert [stream.name for stream in loaded.config.enabled_streams] == ["a", "c"]
    assert [stream.name for stream in load_config(path).config.enabled_streams] == ["a", "c", "d"]
