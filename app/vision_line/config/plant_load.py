# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read `plant.toml`: checked as `streams.toml` is, and what several boxes need to know besides.

A secret that is not on this box is no error: the box cannot inspect that camera, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from pydantic import ValidationError

from vision_line.config.load import PLACEHOLDER, LoadedConfig, checked_config, fill_placeholders
from vision_line.config.plant_settings import FleetSettings, PlantCamera
from vision_line.config.toml import Problem, TomlFile, TomlTable, problems_of

#: Stands for the URL of a camera whose secret is not here.
_UNKNOWN_URL = "rtsp://unset/"


@dataclass(frozen=True, slots=True)
class LoadedPlant:
    """A valid plant: the cameras as any box has them, what they need of boxes, and what this box lacks."""

    loaded: LoadedConfig
    cameras: Mapping[str, PlantCamera]  # the enabled ones
    fleet: FleetSettings
    secrets: Mapping[str, tuple[str, ...]]  # by enabled camera: the names of the secrets in its URL
    without_secret: Mapping[str, str]  # cameras whose URL cannot be filled in here, and for want of what, as `{NAME}`s

    def of_box(self, names: frozenset[str]) -> LoadedConfig:
        """Return the configuration of a box that is to inspect the cameras `names`: no other one is enabled."""
        off = {"enabled": False}
        streams = [
            stream if stream.name in names - self.without_secret.keys() else stream.model_copy(update=off)
            for stream in self.loaded.config.stream
        ]
        return replace(self.loaded, config=self.loaded.config.model_copy(update={"stream": streams}))


def is_plant(data: TomlTable) -> bool:
    """Return whether a file has what only a `plant.toml` has."""
    streams = data.get("stream")
    tables = streams if isinstance(streams, list) else []
    return "fleet" in data or any(isinstance(one, dict) and PlantCamera.model_fields.keys() & one for one in tables)


def checked_plant(file: TomlFile, environment: Mapping[str, str]) -> LoadedPlant:
    """Check what `file` says, which need not be on the disk; `environment` as of `load_config`.

    Raises:
        ConfigError: all problems, each as `file:line: key: what was found, what was expected`.
    """
    own = set(PlantCamera.model_fields)
    data: TomlTable = {key: value for key, value in file.data.items() if key != "fleet"}
    tables = data.get("stream")
    streams = tables if isinstance(tables, list) else []
    data["stream"] = [
        {key: value for key, value in one.items() if key not in own} if isinstance(one, dict) else one
        for one in streams
    ]
    if not isinstance(tables, list):
        del data["stream"]
    problems: list[Problem] = [*_of_one_box(file.data)]
    settings, faults = _fleet(file.data)
    problems += faults
    cameras: dict[str, PlantCamera] = {}
    secrets, without = dict[str, tuple[str, ...]](), dict[str, str]()
    for index, one in enumerate(data.get("stream") or []):  # type: ignore[arg-type]
        whole = streams[index]
        if not isinstance(one, dict) or not isinstance(whole, dict):
            continue
        name = str(one.get("name", ""))
        try:
            cameras[name] = PlantCamera.model_validate({key: whole[key] for key in own & whole.keys()})
        except ValidationError as exc:
            problems += [(("stream", index, *path), words) for path, words in problems_of(exc, PlantCamera)]
        url = one.get("url")
        if isinstance(url, str):
            problems += [(("stream", index, "url"), words) for words in _wrong_url(url, settings)]
            secrets[name] = tuple(dict.fromkeys(PLACEHOLDER.findall(url)))
            if missing := [word for word in secrets[name] if fill_placeholders(f"{{{word}}}", environment)[1]]:
                without[name] = ", ".join(f"{{{word}}}" for word in missing)
                one["url"] = _UNKNOWN_URL if url.startswith("{") else PLACEHOLDER.sub("unset", url)
    if problems:
        raise file.error(problems)
    loaded = checked_config(TomlFile(file.path, file.text, data), environment)
    enabled = {stream.name for stream in loaded.config.enabled_streams}
    return LoadedPlant(
        loaded,
        {name: one for name, one in cameras.items() if name in enabled},
        settings,
        {name: words for name, words in secrets.items() if name in enabled},
        {name: words for name, words in without.items() if name in enabled},
    )


def _fleet(data: TomlTable) -> tuple[FleetSettings, list[Problem]]:
    try:
        return FleetSettings.model_validate(data.get("fleet", {})), []
    except ValidationError as exc:
        return FleetSettings(), [(("fleet", *path), words) for path, words in problems_of(exc, FleetSettings)]


def _of_one_box(data: TomlTable) -> Iterator[Problem]:
    """Yield what only one box can have."""
    if "simulator" in data:
        yield ("simulator",), "a plant has no simulator: `vision-line simulate` serves its cameras to every box"


def _wrong_url(url: str, settings: FleetSettings) -> Iterator[str]:
    if url.lower().startswith("file:"):
        yield "expected rtsp:// or rtsps://: a file is on one box"
        return
    if not settings.camera_networks or url.startswith("{"):
        return
    try:
        address = ip_address(urlsplit(PLACEHOLDER.sub("unset", url)).hostname or "")
    except ValueError:
        yield "expected an IP address, because fleet.camera_networks says where cameras may be"
        return
    networks = [ip_network(network) for network in settings.camera_networks]
    if not any(address in network for network in networks):
        yield f"expected an address in one of {', '.join(map(str, networks))}, as fleet.camera_networks says"
