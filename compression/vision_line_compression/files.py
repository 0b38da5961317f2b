# SPDX-License-Identifier: AGPL-3.0-or-later
"""Files that are there whole or not at all, and what is in them: JSON by models, and hashes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer

from vision_line.documented import Documented
from vision_line.errors import ConfigError, RunError


class FrozenModel(Documented, BaseModel):
    """Settings or results: immutable, without unknown keys, described by its attributes' docstrings."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class GrowingModel(FrozenModel):
    """Settings that gained keys after results were named by their hash: `later` are not written at their default.

    So what was made by a recipe that does not name such a key is found again, under the hash that it always had.
    """

    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_defaults_of_later(self, written: SerializerFunctionWrapHandler) -> dict[str, object]:
        fields = type(self).model_fields
        return {
            key: value
            for key, value in written(self).items()
            if key not in self.later or getattr(self, key) != fields[key].get_default(call_default_factory=True)
        }


class Document(FrozenModel):
    """What is kept as a file of its own, in JSON."""

    def write(self, path: Path) -> None:
        """Write it to `path`, whole or not at all."""
        write_whole(path, f"{self.model_dump_json(indent=1)}\n".encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            ConfigError: missing, or not of this kind: every fault.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as exc:
            raise ConfigError(f"{path}: cannot be read: {exc.strerror}, expected a {cls.__name__}") from exc
        except ValidationError as exc:
            raise ConfigError(*(f"{path}: {fault}" for fault in faults_of(exc))) from exc


def faults_of(error: ValidationError) -> list[str]:
    """Return what a model found wrong, each as `key: what`."""
    return [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it is there whole or not at all.

    Raises:
        RunError: it cannot be written: a full disk does not name the file itself.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as exc:
        raise RunError(f"{path}: cannot be written: {exc.strerror}") from exc


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
