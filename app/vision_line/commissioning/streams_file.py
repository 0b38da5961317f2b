# SPDX-License-Identifier: AGPL-3.0-or-later
"""The text of a new `streams.toml`, with comments for whoever reads it next. Pure.

Its few keys are written here; a library that keeps comments of files that are read, as tomlkit does, would do no more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from vision_line.config.models import StreamSettings
from vision_line.words import one_line

_HEAD = """\
# The cameras of `vision-line --streams {name}`. A run reads this file again when it changes.
# `vision-line check {name} --probe` reports its problems and opens every camera; `vision-line schema` has all keys.
"""
_SECRETS = """\
#
# Each {{NAME}} in a URL is a secret that is not in this file. It is the environment variable of that name, or the file
# of that name in the folder $CREDENTIALS_DIRECTORY or in /run/secrets:
#   export CREDENTIALS_DIRECTORY={folder}
# As a service: `LoadCredential=NAME:...` for each of {names} (docs/deploy.md).
"""
_SETTINGS = """\

config_version = 1

# Without a model of yours the shipped one runs, which knows the drawn boards of the demo only.
# [model]
# path = "best.onnx" # a bundle folder or an ONNX file

[defaults]
dwell_s = {dwell_s} # how long a part stays in view, at the least: measure it at your line
"""


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One camera: its name, its URL without secrets, and lines about it that stand above it as comments."""

    name: str
    url: str
    remarks: tuple[str, ...] = ()


def streams_text(file_name: str, entries: Sequence[StreamEntry], secret_names: Sequence[str], folder: str) -> str:
    """Return the file. `secret_names` are in its URLs; `folder` is where their files are."""
    dwell_s = StreamSettings().dwell_s
    text = _HEAD.format(name=one_line(file_name))
    if secret_names:
        text += _SECRETS.format(folder=one_line(folder), names=", ".join(secret_names))
    return text + _SETTINGS.format(dwell_s=dwell_s) + "".join(map(_entry, entries))


def _entry(entry: StreamEntry) -> str:
    lines = ["", *(f"# {one_line(remark)}".rstrip() for remark in entry.remarks)]
    lines += ["[[stream]]", f"name = {toml_string(entry.name)}", f"url = {toml_string(entry.url)}"]
    return "\n".join(lines) + "\n"


def toml_string(text: str) -> str:
    """Return `text` as a basic string of TOML 1.0: as in JSON, save that DEL is written out as well."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
