# SPDX-License-Identifier: AGPL-3.0-or-later
"""A second model, made of the shipped bundle: the same network with other names of classes, in files of other bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import onnx

from vision_line.devices.model.bundle import BUNDLE_FILE
from vision_line.devices.model.model import SHIPPED_BUNDLE


def write_renamed_bundle(folder: Path, names: Mapping[str, str]) -> Path:
    """Write a bundle called as its folder whose classes are the shipped ones, some of them with other `names`."""
    shutil.copytree(SHIPPED_BUNDLE, folder)
    path = folder / BUNDLE_FILE
    document = json.loads(path.read_text(encoding="utf-8"))
    document["name"] = folder.name
    document["classes"] = [names.get(name, name) for name in document["classes"]]
    for file in (document["model"], *document["model"]["forms"]):
        network = onnx.load(folder / file["file"])
        network.doc_string = folder.name
        content = network.SerializeToString()
        (folder / file["file"]).write_bytes(content)
        file["sha256"] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(document), encoding="utf-8")
    return folder
