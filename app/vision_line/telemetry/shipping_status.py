# SPDX-License-Identifier: AGPL-3.0-or-later
"""How far the records are in the database of many boxes, as `vision-line ship` notes it once a second.

To the line, its dashboard and its metrics that process is one more output, called `central`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vision_line.errors import RunError
from vision_line.telemetry.output_status import KnownOutput, OutputState

FILE_NAME = "shipping.json"
#: What the shipper is called among the outputs.
CENTRAL = "central"
#: A clock that is further off makes it hard to say what happened first in a plant, in seconds.
CLOCK_LIMIT_S = 1.0


@dataclass(frozen=True, slots=True)
class ShippingStatus:
    """How shipping is; `state` as of an output.

    `places` has the number of the entry up to which a journal is in the database, by the journal's name. `shipped` and
    `lost` count entries since the process began. `clock_offset_s` is how far the box's clock is ahead of that of the
    database.
    """

    node: str
    state: OutputState
    places: Mapping[str, int] = field(hash=False)
    shipped: int
    lost: int
    clock_offset_s: float | None

    @property
    def as_output(self) -> KnownOutput:
        """The same as an output."""
        return KnownOutput(
            name=CENTRAL,
            places=self.places,
            lost=self.lost,
            sent=self.shipped,
            repeated=0,
            state=self.state,
            clock_offset_s=self.clock_offset_s,
        )

    def write(self, directory: Path) -> None:
        """Note it in `directory`; a reader sees all of it or what was there before.

        Raises:
            RunError: it cannot be written.
        """
        path = directory / FILE_NAME
        draft = path.with_name(f".{FILE_NAME}.new")
        try:
            draft.write_text(json.dumps(asdict(self)), encoding="utf-8")
            draft.replace(path)
        except OSError as exc:
            raise RunError(f"{path}: cannot be written: {exc.strerror}") from exc


def read_shipping_status(directory: Path) -> ShippingStatus | None:
    """Return what was noted last in `directory`, None: nothing has been.

    Raises:
        RunError: it cannot be read, or is none of ours.
    """
    path = directory / FILE_NAME
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return ShippingStatus(**{**said, "state": OutputState(**said["state"])})
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise RunError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (ValueError, TypeError, KeyError) as exc:
        raise RunError(f"{path}: expected what vision-line ship writes, found otherwise") from exc
