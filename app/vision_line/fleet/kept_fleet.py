# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a node keeps on its own disk, so that a restart without the store goes on: the configuration and the plan."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from vision_line.errors import ConfigError
from vision_line.fleet.fleet_plan import FleetPlan, Stored
from vision_line.output_files import write_output


class _Kept(Stored):
    """The file."""

    config: str
    """The signed configuration as the store had it, in base64."""
    plan: FleetPlan
    """The plan that was obeyed last."""


@dataclass(frozen=True, slots=True)
class KeptFleet:
    """The file `path`."""

    path: Path

    def write(self, config: bytes, plan: FleetPlan) -> None:
        """Keep a configuration and a plan.

        Raises:
            RunError: the file cannot be written.
        """
        kept = _Kept(config=b64encode(config).decode("ascii"), plan=plan)
        write_output(self.path, kept.model_dump_json(exclude_defaults=True), "")

    def read(self) -> tuple[bytes, FleetPlan] | None:
        """Return what was kept, None where nothing was.

        Raises:
            ConfigError: the file cannot be read.
        """
        try:
            kept = _Kept.model_validate_json(self.path.read_bytes())
            return b64decode(kept.config, validate=True), kept.plan
        except FileNotFoundError:
            return None
        except (OSError, ValueError, ValidationError) as exc:
            raise ConfigError(f"{self.path}: cannot be read: remove it, if the fleet's store is there") from exc
