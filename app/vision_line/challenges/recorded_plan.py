# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plan of challenges that the line follows, as it stands in the records: for who has no `challenge.toml`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from vision_line.challenges.challenge_targets import PLAN_KEY, ChallengeTarget
from vision_line.errors import RunError
from vision_line.records.configuration_journal import in_force_of
from vision_line.records.records import Records
from vision_line.records.schema import FILE_NAME, open_reader, translated


@dataclass(frozen=True, slots=True)
class RecordedPlan:
    """The plan that the line follows since it began last; without one nothing is challenged."""

    sha256: str = ""
    targets: tuple[ChallengeTarget, ...] = ()


_PLAN = TypeAdapter(RecordedPlan)


def read_plan(connection: Records) -> RecordedPlan:
    """Return the plan by the record file.

    Raises:
        RunError: its entry was changed.
        Error: the database's, as it comes.
    """
    found = in_force_of(connection, PLAN_KEY)
    try:
        return RecordedPlan() if found is None else _PLAN.validate_python(found)
    except ValidationError as exc:
        raise RunError("the plan of challenges in the records is not as the line enters it") from exc


def plan_of_records(directory: Path) -> RecordedPlan:
    """Return the plan by the records of a directory.

    Raises:
        RunError: they cannot be read.
    """
    with translated(directory / FILE_NAME, "reading"), closing(open_reader(directory)) as connection:
        return read_plan(connection)
