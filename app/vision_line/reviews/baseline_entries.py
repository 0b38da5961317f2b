# SPDX-License-Identifier: AGPL-3.0-or-later
"""Baselines of u charts as people approve and withdraw them: entries of kind `baseline`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, PositiveFloat

from vision_line.quality import Baseline, ChartKind, ControlLimits
from vision_line.records.side_journal import SideEntry
from vision_line.reviews.baseline_journal import BaselineJournal

KIND = "baseline"


@dataclass(frozen=True, slots=True)
class ChartScope:
    """Whose events are counted, by which period; "" is any. A camera or a station, not both."""

    period: str  # hour, shift or day
    camera: str = ""
    station: str = ""
    class_name: str = ""

    @property
    def key(self) -> str:
        """What the journal calls it, such as `hour/camera/cam01/open`; `*` is any."""
        kind, name = ("camera", self.camera) if self.camera else ("station", self.station)
        return "/".join((self.period, kind, *(quote(part, safe=" ") or "*" for part in (name, self.class_name))))

    @property
    def words(self) -> str:
        """What people call it."""
        of = f"camera {self.camera}" if self.camera else f"station {self.station}" if self.station else "all cameras"
        return f"{of}, {f'class {self.class_name}' if self.class_name else 'all classes'}"

    @property
    def asked(self) -> dict[str, str]:
        """The parameters that ask the desk for its chart."""
        together = "" if self.camera or self.station else "1"
        said = {"camera": self.camera, "station": self.station, "together": together, "class": self.class_name}
        said["period"] = self.period
        return {name: value for name, value in said.items() if value}

    @property
    def watched(self) -> ChartScope:
        """The same events whatever the period: what is silent."""
        return replace(self, period="")


@dataclass(frozen=True, slots=True)
class ExcludedPeriod:
    """A period that somebody left out of a baseline, and why."""

    since_utc: float
    until_utc: float
    reason: str


@dataclass(frozen=True, slots=True)
class ApprovedBaseline:
    """A baseline with what it was made of.

    `events` and `inspected_s` are those of the periods that were kept; `model_sha256` and `settings_sha256` are what
    was in force when its last period ended. `number` is that of its entry, 0 before it has one.
    """

    scope: ChartScope
    baseline: Baseline
    events: int
    inspected_s: float
    excluded: Sequence[ExcludedPeriod]
    model_sha256: str
    settings_sha256: str
    number: int = 0

    @property
    def inspected_share(self) -> float:
        """Inspected seconds a second of the baseline's time; of four cameras up to 4."""
        left_out_s = sum(one.until_utc - one.since_utc for one in self.excluded)
        length_s = self.baseline.last_utc - self.baseline.first_utc - left_out_s
        return self.inspected_s / length_s if length_s > 0 else 0.0


class _Said(BaseModel):
    """A baseline as a body of the journal has it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    period: str
    camera: str
    station: str
    class_name: str
    center: PositiveFloat
    sigma_z: PositiveFloat
    periods: int
    first_utc: float
    last_utc: float
    approved_utc: float
    events: int
    inspected_s: PositiveFloat
    excluded: tuple[ExcludedPeriod, ...]
    model_sha256: str
    settings_sha256: str


def _said(baseline: ApprovedBaseline) -> dict[str, object]:
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
        events=baseline.events,
        inspected_s=baseline.inspected_s,
        excluded=tuple(baseline.excluded),
        model_sha256=baseline.model_sha256,
        settings_sha256=baseline.settings_sha256,
    )
    return said.model_dump(mode="json")


def _read(entry: SideEntry) -> ApprovedBaseline:
    said = _Said.model_validate(entry.body["after"])
    return ApprovedBaseline(
        scope=ChartScope(said.period, said.camera, said.station, said.class_name),
        baseline=Baseline(
            limits=ControlLimits(ChartKind.RATE, said.center, said.sigma_z),
            periods=said.periods,
            first_utc=said.first_utc,
            last_utc=said.last_utc,
            approved_by=str(entry.body["by"]),
            approved_utc=said.approved_utc,
        ),
        events=said.events,
        inspected_s=said.inspected_s,
        excluded=said.excluded,
        model_sha256=said.model_sha256,
        settings_sha256=said.settings_sha256,
        number=entry.number,
    )


def _scope(baseline: ApprovedBaseline) -> ChartScope:
    return baseline.scope


_JOURNAL = BaselineJournal(KIND, _scope, _said, _read)

approve = _JOURNAL.approve
withdraw = _JOURNAL.withdraw
in_force = _JOURNAL.in_force
history = _JOURNAL.history
