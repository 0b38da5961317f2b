# SPDX-License-Identifier: AGPL-3.0-or-later
"""`plant.toml`: what it has beyond `streams.toml`, and what no plant can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.config.plant_load import LoadedPlant, checked_plant
from vision_line.config.toml import read_toml
from vision_line.errors import ConfigError

CAMERA = '[[stream]]\nname = "cap"\nurl = "rtsp://{USER}:{WORD}@10.0.0.21/one"\n'


def loaded(folder: Path, text: str, environment: dict[str, str] | None = None) -> LoadedPlant:
    """Read a plant of this text, line 1 of which is the version."""
    path = folder / "plant.toml"
    path.write_text(f"config_version = 1\n{text}", encoding="utf-8")
    return checked_plant(read_toml(path), {"USER": "u", "WORD": "p"} if environment is None else environment)


def test_keys_of_plants_beside_those_of_streams(tmp_path: Path) -> None:
    """The rest is as any box reads it, with secrets filled in."""
    plant = loaded(
        tmp_path,
        f'[fleet]\ncamera_networks = ["10.0.0.0/16"]\n{CAMERA}priority = 3\nsessions = 1\nreachable_from = ["hall"]\n'
        'pin = "box1"\ndwell_s = 3.0\n[[stream]]\nname = "off"\nenabled = false\nurl = "rtsp://10.0.0.22/"\n',
    )
    one = plant.cameras["cap"]

    assert (one.priority, one.sessions, one.reachable_from, one.pin) == (3, 1, ["hall"], "box1")
    assert list(plant.cameras) == ["cap"]
    stream = plant.loaded.config.enabled_streams[0]
    assert stream.url.get_secret_value() == "rtsp://u:p@10.0.0.21/one"
    assert stream.dwell_s == 3.0


def test_a_box_has_only_its_own_cameras_enabled(tmp_path: Path) -> None:
    """The others stay in the configuration, for lanes and recipes name them."""
    plant = loaded(tmp_path, f'{CAMERA}[[stream]]\nname = "two"\nurl = "rtsp://10.0.0.22/"\n')

    assert [one.name for one in plant.of_box(frozenset({"two"})).config.enabled_streams] == ["two"]
    assert plant.of_box(frozenset()).config.enabled_streams == ()
    assert len(plant.of_box(frozenset()).config.stream) == 2


@pytest.mark.parametrize("url", ["rtsp://{USER}:{WORD}@10.0.0.21/one", "{WORD}"])
def test_a_camera_whose_secret_is_not_here_is_not_for_this_box(tmp_path: Path, url: str) -> None:
    """Whatever the plan says; it is no error."""
    plant = loaded(tmp_path, f'[[stream]]\nname = "cap"\nurl = "{url}"\n', {"USER": "u"})

    assert plant.without_secret == {"cap": "{WORD}"}
    assert plant.of_box(frozenset({"cap"})).config.enabled_streams == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{CAMERA}sessions = 0\n", "plant.toml:5: stream[cap].sessions: found 0"),
        (f'{CAMERA}pin = "a.b"\n', "plant.toml:5: stream[cap].pin: expected the name of a box"),
        ('[[stream]]\nname = "cap"\nurl = "file:videos/a.mp4"\n', "plant.toml:4: stream[cap].url: expected rtsp://"),
        (
            f'[fleet]\ncamera_networks = ["10.1.0.0/16"]\n{CAMERA}',
            "plant.toml:6: stream[cap].url: expected an address in one of 10.1.0.0/16",
        ),
        (
            '[fleet]\ncamera_networks = ["10.1.0.0/16"]\n[[stream]]\nname = "cap"\nurl = "rtsp://camera.plant/"\n',
            "plant.toml:6: stream[cap].url: expected an IP address",
        ),
        ('[fleet]\ncamera_networks = ["plant"]\n' + CAMERA, "plant.toml:3: fleet.camera_networks: expected a network"),
        (f"[fleet]\nspeed = 1\n{CAMERA}", "plant.toml:3: fleet.speed: "),
        (f"[simulator]\ncameras = 2\n{CAMERA}", "plant.toml:2: simulator: a plant has no simulator"),
        (f"{CAMERA}dwel_s = 1.0\n", "plant.toml:5: stream[cap].dwel_s: "),
    ],
)
def test_what_is_wrong_has_its_line(tmp_path: Path, text: str, message: str) -> None:
    """As in `streams.toml`; a password is in no message."""
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, text)

    assert message in str(error.value)
    assert "u:p" not in str(error.value)
