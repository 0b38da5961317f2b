# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run is made of, opened and checked before its life begins."""

from __future__ import annotations

from dataclasses import dataclass

from vision_line.config.load import LoadedConfig
from vision_line.devices.model.model import Model
from vision_line.errors import ConfigError
from vision_line.ingest.file_search import slow_files
from vision_line.inspection.detection_filter import unknown_classes
from vision_line.records.log import SqliteLog
from vision_line.records.overlay_video import OverlayWriter
from vision_line.runtime.options import RunOptions
from vision_line.telemetry.http_endpoint import HttpEndpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSetup:
    """What a run is made of; who opened it closes it."""

    options: RunOptions
    loaded: LoadedConfig
    model: Model
    device_name: str
    log: SqliteLog
    overlay: OverlayWriter | None
    endpoint: HttpEndpoint | None  # for metrics and health; None: none is configured
    reminders: tuple[str, ...]  # what was accepted at the start and an operator may not want

    def check(self, loaded: LoadedConfig) -> None:
        """Refuse a configuration that is valid by itself and cannot be used in this run.

        Raises:
            ConfigError: each problem named.
        """
        check_usable(loaded, self.model)


def check_usable(loaded: LoadedConfig, model: Model) -> None:
    """Refuse thresholds for classes that the model does not have, then files with too few frames a second.

    Raises:
        ConfigError: each one named.
    """
    streams = loaded.config.enabled_streams
    if problems := unknown_classes(streams, model.classes) or slow_files(streams):
        raise ConfigError(*(f"{loaded.path}: {problem}" for problem in problems))
