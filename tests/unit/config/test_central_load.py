# SPDX-License-Identifier: AGPL-3.0-or-later
"""`[central]` of a streams.toml, read by who ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.config.central_load import central_secret_names, load_central
from vision_line.config.load import load_config
from vision_line.errors import ConfigError

CAMERA = '[[stream]]\nname = "a"\nurl = "rtsp://10.0.0.1/1"\n'


def written(folder: Path, text: str) -> Path:
    """Write a file."""
    path = folder / "streams.toml"
    path.write_text(f"config_version = 1\n{text}", encoding="utf-8")
    return path


def test_its_secret_is_filled_in_for_who_ships_alone(tmp_path: Path) -> None:
    """The line checks the table, and knows no password."""
    path = written(tmp_path, f'[central]\ndatabase = "postgresql://b:{{PW}}@db/x"\nnode = "box1"\n{CAMERA}')

    loaded = load_central(path, {"PW": "p@ss"})

    assert loaded.settings is not None
    assert loaded.settings.database.get_secret_value() == "postgresql://b:p%40ss@db/x"
    assert "p%40ss" not in repr(loaded)
    assert central_secret_names(path) == {"PW", "CREDENTIALS_DIRECTORY"}
    assert load_config(path).config.enabled_outputs == ("central",)


def test_nothing_else_has_to_be_right(tmp_path: Path) -> None:
    """A camera that is wrong does not end the shipper; a file without the table has nowhere to ship."""
    assert load_central(written(tmp_path, '[record]\ndirectory = "r"\n[[stream]]\nnam = 1\n')).settings is None
    assert load_central(written(tmp_path, '[record]\ndirectory = "r"\n')).record == Path("r")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('database = "mysql://a:secret5@b/c"\nnode = "box1"', "central.database: expected postgresql://"),
        ('database = "postgresql://a@b/c"', "central.node"),
        ('database = "postgresql://a@b/c"\nnode = "box 1"', "central.node: expected 1 to 64"),
        ('database = "postgresql://a:{NOT_THERE}@b/c"\nnode = "x"', "NOT_THERE"),
        ('database = "postgresql://a@b/c"\nnode = "x"\nspeed = 1', "central.speed"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, table: str, said: str) -> None:
    """With its key, and without what may be a password."""
    with pytest.raises(ConfigError, match=said.replace("[", r"\[")) as caught:
        load_central(written(tmp_path, f"[central]\n{table}\n"), {})

    assert "secret5" not in str(caught.value)


def test_no_output_is_called_central(tmp_path: Path) -> None:
    """Two would be told apart by nobody."""
    output = '[[output]]\nname = "central"\ntype = "mqtt"\nurl = "mqtt://127.0.0.1"\ntopic = "t"\n'
    with pytest.raises(ConfigError, match="expected another name"):
        load_config(written(tmp_path, output + CAMERA))
