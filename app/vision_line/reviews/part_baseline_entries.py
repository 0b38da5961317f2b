# SPDX-License-Identifier: AGPL-3.0-or-later
"""Baselines of p charts as people approve and withdraw them: entries of kind `part_baseline`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from vision_line.quality import Baseline, ChartKind, ControlLimits
from vision_line.records.side_journal import SideEntry
from vision_line.reviews.baseline_entries import ExcludedPeriod
from vision_line.reviews.baseline_journal import BaselineJournal

KIND = "part_baseline"


@dataclass(frozen=True, slots=True)
class PartScope:
    """Whose parts are counted, by which period; "" is any recipe."""

    period: str  # hour, shift, day or lot
    lane: str
    recipe: str = ""

    @property
    def key(self) -> str:
        """What the journal calls it, such as `hour/lane/lane-1/big-boards`; `*` is any."""
        return "/".join((self.period, "lane", *(quote(part, safe=" ") or "*" for part in (self.lane, self.recipe))))

    @property
    def words(self) -> str:
        """What people call it."""
        return f"lane {self.lane}, {f'recipe {self.recipe}' if self.recipe else 'all recipes'}"

    @property
    def asked(self) -> dict[str, str]:
        """The parameters that ask the desk for its chart."""
        said = {"lane": self.lane, "recipe": self.recipe, "period": self.period}
        return {name: value for name, value in said.items() if value}

    @property
    def watched(self) -> PartScope:
        """The same parts whatever the period: what is silent."""
        return replace(self, period="")


@dataclass(frozen=True, slots=True)
class ApprovedPartBaseline:
    """A baseline with what it was made of.

    `rejected`, `inspected` and `not_inspected` are the parts of the periods that were kept; `model_sha256` and
    `settings_sha256` are what was in force when its last period ended. `number` is that of its entry, 0 before it has
    one.
    """

    scope: PartScope
    baseline: Baseline
    rejected: int
    inspected: int
    not_inspected: int
    excluded: Sequence[ExcludedPeriod]
    model_sha256: str
    settings_sha256: str
    number: int = 0

    @property
    def parts_per_s(self) -> float:
        """Inspected parts a second of the baseline's time."""
        left_out_s = sum(one.until_utc - one.since_utc for one in self.excluded)
        length_s = self.baseline.last_utc - self.baseline.first_utc - left_out_s
        return self.inspected / length_s if length_s > 0 else 0.0


class _Said(BaseModel):
    """A baseline as a body of the journal has it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    period: str
    lane: str
    recipe: str
    center: Annotated[float, Field(gt=0, lt=1)]
    sigma_z: PositiveFloat
    periods: int
    first_utc: float
    last_utc: float
    approved_utc: float
    rejected: PositiveInt
    inspected: PositiveInt
    not_inspected: int
    excluded: tuple[ExcludedPeriod, ...]
    model_sha256: str
    settings_sha256: str


def _said(baseline: ApprovedPartBaseline) -> dict[str, object]:
    """Return what the journal says of a baseline."""
    made = baseline.baseline
    said = _Said(
        **asdict(baseline.scope),
        center=made.limits.center,
        sigma_z=made.limits.sigma_z,
        periods=made.periods,
        first_utc=made.first_utc,
        last_utc=made.last_utc,
        approved_utc=made.approved_utc,
        rejected=baseline.rejected,
        inspected=baseline.inspected,
        not_inspected=baseline.not_inspected,
        excluded=tuple(baseline.excluded),
        model_sha256=baseline.model_sha256,
        settings_sha256=baseline.settings_sha256,
    )
    return said.model_dump(mode="json")


def _read(entry: SideEntry) -> ApprovedPartBaseline:
    said = _Said.model_validate(entry.body["after"])
    return ApprovedPartBaseline(
        scope=PartScope(said.period, said.lane, said.recipe),
        baseline=Baseline(
            limits=ControlLimits(ChartKind.SHARE, said.center, said.sigma_z),
            periods=said.periods,
            first_utc=said.first_utc,
            last_utc=said.last_utc,
            approved_by=str(entry.body["by"]),
            approved_utc=said.approved_utc,
        ),
        rejected=said.rejected,
        inspected=said.inspected,
        not_inspected=said.not_inspected,
        excluded=said.excluded,
        model_sha256=said.model_sha256,
        settings_sha256=said.settings_sha256,
        number=entry.number,
    )


def _scope(baseline: ApprovedPartBaseline) -> PartScope:
    return baseline.scope


_JOURNAL = BaselineJournal(KIND, _scope, _said, _read)

approve = _JOURNAL.approve
withdraw = _JOURNAL.withdraw
in_force = _JOURNAL.in_force
history = _JOURNAL.history
