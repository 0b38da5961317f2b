# SPDX-License-Identifier: AGPL-3.0-or-later
"""The outputs' part of `vision-line check`: what `vision-line outputs` would refuse, and with --probe what fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

from vision_line.config.output_load import LoadedOutputs, load_outputs
from vision_line.config.output_settings import AnyOutput, shown_address
from vision_line.errors import ConfigError
from vision_line.outputs.message_sink import SinkError
from vision_line.outputs.output_probe import probe_output
from vision_line.outputs.sinks import check_installed


def output_troubles(streams: Path, *, probe: bool) -> list[str]:
    """Return what is wrong with the outputs of a file; with `probe` a test message is sent to each."""
    try:
        loaded = load_outputs(streams)
        for settings in loaded.enabled.values():
            check_installed(settings)
    except ConfigError as exc:
        return list(exc.problems)
    return asyncio.run(_probed(loaded)) if probe else []


async def _probed(loaded: LoadedOutputs) -> list[str]:
    outputs = loaded.enabled.values()
    found = await asyncio.gather(*(_trouble(settings, loaded.record) for settings in outputs))
    return [trouble for trouble in found if trouble]


async def _trouble(settings: AnyOutput, directory: Path) -> str:
    try:
        await probe_output(settings, directory)
    except SinkError as exc:
        return f"output {settings.name!r} at {shown_address(settings)}: {exc}"
    return ""
