# SPDX-License-Identifier: AGPL-3.0-or-later
"""Two outputs below one topic of one broker: refused by whoever reads them, as each would set the other's status."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.config.load import load_config
from vision_line.config.output_load import load_outputs
from vision_line.errors import ConfigError

CAMERA = 'config_version = 1\n[[stream]]\nname = "a"\nurl = "rtsp://host/x"\n'
SECRETS = {"USER": "anna", "OTHER": "bert"}


def output(name: str, url: str = "mqtt://broker", topic: str = "acme/line-1", more: str = "") -> str:
    return f'[[output]]\ntype = "mqtt"\nname = "{name}"\nurl = "{url}"\ntopic = "{topic}"\n{more}'


@pytest.mark.parametrize("url", ["mqtt://broker", "mqtt://{OTHER}:x@BROKER:1883", "mqtt://{USER}:x@broker"])
def test_one_topic_is_one_outputs(tmp_path: Path, url: str) -> None:
    path = tmp_path / "streams.toml"
    path.write_text(CAMERA + output("plant") + output("second", url), encoding="utf-8")
    said = f"{path}:9: output[plant].topic: found 'acme/line-1', where output[second].topic is at the same broker"
    for load in (load_config, load_outputs):
        with pytest.raises(ConfigError) as caught:
            load(path, SECRETS)
        assert caught.value.problems == (f"{said}: expected another",)


@pytest.mark.parametrize(
    "second",
    [
        output("second", topic="acme/line-2"),
        output("second", "mqtt://other"),
        output("second", "mqtt://broker:1884"),
        output("second", more="enabled = false\n"),
    ],
)
def test_what_meets_nowhere_is_taken(tmp_path: Path, second: str) -> None:
    path = tmp_path / "streams.toml"
    path.write_text(CAMERA + output("plant") + second, encoding="utf-8")

    assert len(load_config(path, SECRETS).config.output) == len(load_outputs(path, SECRETS).outputs) == 2
