# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the desks of the boxes are: a file that names each, read when the desk of all boxes starts."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vision_line.central.database_url import is_near
from vision_line.config.table_values import NAME
from vision_line.errors import ConfigError


class BoxSettings(BaseModel):
    """A `[[box]]` of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=f"^{NAME.pattern}$")
    desk: str
    ca: Path | None = None
    allow_http: bool = False


class _BoxesFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    box: tuple[BoxSettings, ...] = ()


@dataclass(frozen=True, slots=True)
class BoxAddress:
    """A box's desk. `ca` is a file of certificates that its own is checked against, None: the machine's."""

    name: str
    url: str
    host: str
    port: int
    is_tls: bool
    ca: Path | None


def read_boxes(path: Path) -> Mapping[str, BoxAddress]:
    """Return the boxes of a file by name.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong.
    """
    try:
        found = _BoxesFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as exc:
        raise ConfigError(f"--boxes {path}: cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"--boxes {path}: {exc}") from exc
    except ValidationError as exc:
        problems = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in exc.errors())
        raise ConfigError(*(f"--boxes {path}: {problem}" for problem in problems)) from None
    boxes = [_address(path, one) for one in found.box]
    if len({one.name for one in boxes}) < len(boxes):
        raise ConfigError(f"--boxes {path}: two boxes have one name")
    return {one.name: one for one in boxes}


def _address(path: Path, box: BoxSettings) -> BoxAddress:
    where = f"--boxes {path}: box {box.name}: desk"
    try:
        parts = urlsplit(box.desk)
        host, port = parts.hostname or "", parts.port
    except ValueError as exc:
        raise ConfigError(f"{where}: {exc}") from None
    if parts.scheme not in ("https", "http") or not host or parts.path.strip("/") or parts.query or parts.username:
        raise ConfigError(f"{where}: expected https://HOST:PORT")
    is_tls = parts.scheme == "https"
    if not is_tls and not box.allow_http and not is_near(host):
        raise ConfigError(f"{where}: http shows the token to the network: use https, or say allow_http = true")
    ca = None if box.ca is None else path.parent / box.ca
    return BoxAddress(box.name, box.desk.rstrip("/"), host, port or (443 if is_tls else 80), is_tls, ca)
